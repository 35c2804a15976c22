"""Intervals and comparisons: what a number may claim, over examples or over runs."""
