"""The old name of `measure.values`, for modules that still import it from here."""

from disobey.measures.inference.measure import values

__all__ = ["values"]
