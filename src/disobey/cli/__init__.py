"""The command line; nothing of the package imports it."""
