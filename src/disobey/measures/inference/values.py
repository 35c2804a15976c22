"""Values of many measures in one pass, without intervals: what a study collects from every run."""

from __future__ import annotations

from collections.abc import Iterable

from disobey.measures.inference.intervals import Measure, _samples
from disobey.records.predictions import Predictions


def values(measures: Iterable[Measure], predictions: Predictions) -> dict[str, float]:
    """By name; NaN where no example qualifies. Columns that measures share are computed once."""
    return {s.measure.name: float(s.evaluate(None)[0]) for s in _samples(list(measures), predictions)}
