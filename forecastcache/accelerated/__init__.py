"""One line for who wants no choice: a pipeline that calibrates itself."""
