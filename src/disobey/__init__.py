"""Disobey: a laboratory for teacher-student training."""

__version__ = "0.1.0"
