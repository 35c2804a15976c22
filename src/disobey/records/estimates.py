"""`Estimate`: a number with its interval, the unit of everything that is reported."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

Verdict: TypeAlias = Literal["supported", "contradicted", "negligible", "undecided"]
Over: TypeAlias = Literal[
    "examples", "clusters", "runs", "runs and examples", "draws", "cases", "settings", "data sets"
]
"""What varies behind an interval: test examples, whole clusters of them (texts, prompts), training runs (seeds), draws
of a simulation, compared cases, settings that were each trained with several seeds, data sets with their settings."""


@dataclass(frozen=True, repr=False)
class Estimate:
    """A number with its interval; never printed without its unit of resampling.

    ``low`` and ``high`` bound ``value`` at ``level`` over ``n`` ``over``. Where no interval
    can be given (one run, say) they are NaN, which JSON holds as null. One that is open on a side (a size beyond the
    largest that was tried, say) has an infinite bound there, in JSON the text "inf" or "-inf".

    >>> print(Estimate("accuracy", 0.912, 0.895, 0.929, 0.95, 1000, "examples"))
    0.912 [0.895, 0.929] (95% over 1,000 examples)
    """

    name: str
    value: float
    low: float
    high: float
    level: float
    n: int
    over: Over

    def __repr__(self) -> str:
        return f"Estimate({self.name}: {self})"

    def _repr_html_(self) -> str:
        from disobey.shown import estimate_html

        return estimate_html(self)

    def __str__(self) -> str:
        return f"{self.value:.3g} {self.interval()} ({100 * self.level:g}% over {self.n:,} {self.over})"

    def interval(self) -> str:
        """The bounds in brackets, or that there are none."""
        return f"[{self.low:.3g}, {self.high:.3g}]" if self.bounded else "[no interval]"

    def times(self, factor: float) -> Estimate:
        """The same in another unit: 100 makes percentage points of a fraction."""
        return replace(self, value=factor * self.value, low=factor * self.low, high=factor * self.high)

    @property
    def bounded(self) -> bool:
        """Whether there is an interval, though perhaps an open one."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    @property
    def known(self) -> bool:
        """Whether there is an interval with two finite bounds."""
        return math.isfinite(self.low) and math.isfinite(self.high)


Cell: TypeAlias = str | int | float | bool | Estimate | None
Levels: TypeAlias = tuple[tuple[str, str], ...]
"""Where something was measured, as (factor, level): (("label noise", "20%"), ("split", "test")).

Charts, tables or galleries that follow each other under one title and differ in their levels are one picture with a
switch for each factor.
"""


def comparable(value: Any) -> tuple[Any, ...]:
    """A dataclass's fields with None for numbers that are unknown, which equal nothing, not even themselves."""
    own = (getattr(value, f.name) for f in fields(value))
    return tuple(None if isinstance(item, float) and math.isnan(item) else item for item in own)
