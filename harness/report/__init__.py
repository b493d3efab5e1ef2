"""What is shown of runs: one content (`harness.report.content`), and a module for each form it is given in."""
