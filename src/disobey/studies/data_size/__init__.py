"""The study `data-size`."""
