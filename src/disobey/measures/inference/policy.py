"""How intervals over runs are made: at which level, around which centre, and whether they hold at every number of runs.

One reading of the evidence serves many questions: the same claim at the level that several claims together leave it,
with intervals that stay honest while seeds are added, around the median instead of the mean. What differs is said here
once, around the reading, as `numpy.errstate` and `torch.no_grad` do it, and not in the signature of every function on
the way:

    with using(Intervals(level=0.99)):
        estimate = mean_over_runs(gains, "gain")
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from disobey.measures.inference.quantiles import student_t
from disobey.measures.inference.sequential import half_width_factor

Centre: TypeAlias = Literal["mean", "median", "midmean"]


@dataclass(frozen=True)
class Intervals:
    """How intervals over runs are made.

    Attributes:
        level: of every interval.
        anytime: whether they hold at every number of runs at once (`sequential`), or at this one (Student's t).
        center: of which average of the runs: mean, median, or midmean (the mean of the middle half).
    """

    level: float = 0.95
    anytime: bool = False
    center: Centre = "mean"

    def factor(self, n: int, df: float | None = None) -> float:
        """Half the width of an interval in standard errors.

        Args:
            n: runs.
            df: degrees of freedom of the standard error where they are not n − 1; anytime intervals ignore them.

        >>> round(Intervals().factor(5), 3), round(Intervals(anytime=True).factor(5), 2)
        (2.776, 5.36)
        """
        if self.anytime:
            return half_width_factor(n, level=self.level)
        return float(student_t.ppf(0.5 + self.level / 2, n - 1 if df is None else df))

    def student_level(self, n: int) -> float:
        """The level at which Student's interval over n runs is as wide: for methods that invert t-tests themselves.

        >>> Intervals(level=0.9).student_level(5), round(Intervals(anytime=True).student_level(5), 3)
        (0.9, 0.994)
        """
        if not self.anytime or n < 2:
            return self.level
        return min(1 - 2 * float(student_t.sf(self.factor(n), n - 1)), 1 - 1e-12)


_DEFAULT = Intervals()
_CURRENT: ContextVar[Intervals] = ContextVar("intervals", default=_DEFAULT)


def current(level: float | None = None) -> Intervals:
    """How intervals are made here; with another level where one is given."""
    own = _CURRENT.get()
    return own if level is None else replace(own, level=level)


@contextmanager
def using(intervals: Intervals) -> Iterator[None]:
    """Every interval over runs that is made inside is made so.

    >>> with using(Intervals(level=0.5)):
    ...     current().level
    0.5
    """
    token = _CURRENT.set(intervals)
    try:
        yield
    finally:
        _CURRENT.reset(token)
