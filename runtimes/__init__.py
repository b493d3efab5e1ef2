"""Built-in runtimes: one file per runtime, found by file name (see CONTRIBUTING.md)."""
