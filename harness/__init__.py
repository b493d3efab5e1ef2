"""Backbench: measure an image backbone the way it will be deployed, and know how far to trust the number."""

__version__ = "0.1.0"
