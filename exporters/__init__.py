"""Built-in exporters: one file per edge between two formats, found by file name (see CONTRIBUTING.md)."""
