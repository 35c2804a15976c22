"""Student's t without `scipy.stats`, whose import takes longer than a small diagnosis."""

from __future__ import annotations

from scipy.special import ndtri, stdtr, stdtrit


class student_t:
    """Of `scipy.stats.t` what intervals need, to the same bits."""

    @staticmethod
    def ppf(p: float, df: float) -> float:
        """The p-quantile at ``df`` degrees of freedom; the normal one where they are infinite.

        >>> round(student_t.ppf(0.975, 9), 3), round(student_t.ppf(0.975, float("inf")), 3)
        (2.262, 1.96)
        """
        return float(ndtri(p) if df == float("inf") else stdtrit(df, p))

    @staticmethod
    def sf(t: float, df: float) -> float:
        """The chance of more than ``t``."""
        return float(stdtr(df, -t))
