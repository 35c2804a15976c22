"""A `Result` in, one HTML file that needs no network out."""

from disobey.reports.page import render, write
from disobey.reports.summary import summary_lines

__all__ = ["render", "summary_lines", "write"]
