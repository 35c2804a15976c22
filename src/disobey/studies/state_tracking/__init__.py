"""The study `state-tracking`."""
