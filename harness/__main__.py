"""`python -m harness` is `backbench`."""

from harness.cli import main

main()
