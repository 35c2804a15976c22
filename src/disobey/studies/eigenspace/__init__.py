"""The study `eigenspace`."""
