"""Intervals over examples for whatever the evidence can answer, in time linear in the examples.

Up to 50,000 examples: the bootstrap and the grouped jackknife of `measures.resampling`. Beyond, a *blocked* interval:
the examples are dealt at random into 100 equally large groups of at most 2,500, the statistic is computed on each group
once, and its standard error is the groups' standard deviation times the root of (group size / examples): over √100 where
all examples are in a group. For statistics that are means, or smooth functions of
means, on thousands of examples this is the bootstrap's standard error at a thousandth of its cost; docs/diagnose.md
has the measured agreement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from disobey.diagnosis.evidence import Evidence
from disobey.measures.intervals import Measure, applicable
from disobey.measures.resampling import GROUPS, example_intervals, wilson_interval
from disobey.records.results import Estimate

BLOCKED = 50_000
LARGEST_GROUP = 2_500  # more rows a group cost time and sharpen nothing: 100 groups bound what is known of the error
Columns = tuple[NDArray, ...]


def estimates(evidence: Evidence, measures: Sequence[Measure], *, resamples: int = 1000) -> dict[str, Estimate]:
    """Every measure that the evidence can answer, by name, with n and level stated. Undefined ones are left out."""
    usable = applicable(measures, evidence.sample)
    columns = {measure.name: qualified(measure, evidence.of(measure.columns)) for measure in usable}
    found: dict[str, Estimate] = {}
    for n in sorted({len(c[0]) for c in columns.values() if len(c[0])}):
        same = [m for m in usable if len(columns[m.name][0]) == n]
        evaluates = [_evaluate(m.statistic, columns[m.name]) for m in same]
        if n > BLOCKED:
            deal = np.random.default_rng(evidence.seed).permutation(n).astype(np.int32)
            bounds = [blocked_interval(m.statistic, columns[m.name], deal, evidence.level) for m in same]
        else:
            bounds = example_intervals(
                evaluates, n, resamples=resamples, level=evidence.level, seed=evidence.seed
            )  # fmt: skip
        for measure, (value, low, high) in zip(same, bounds, strict=True):
            if not np.isfinite(value):
                continue
            if measure.share_of == 1 or (measure.share_of and low == high):
                low, high = wilson_interval(value, n * measure.share_of, evidence.level)
            found[measure.name] = Estimate(measure.name, value, low, high, evidence.level, n, "examples")
    return {m.name: found[m.name] for m in usable if m.name in found}


def qualified(measure: Measure, columns: Columns) -> Columns:
    """The columns on the examples that the measure is about."""
    if measure.where is None:
        return columns
    keep = measure.where(*columns)
    return columns if keep.all() else tuple(column[keep] for column in columns)


def _evaluate(statistic: Callable, columns: Columns) -> Callable[[NDArray], NDArray]:
    def evaluate(weights: NDArray) -> NDArray:
        return np.asarray(statistic(*columns, weights=weights), dtype=np.float64)

    return evaluate


def blocked_interval(
    statistic: Callable, columns: Columns, deal: NDArray, level: float, groups: int = GROUPS
) -> tuple[float, float, float]:
    """(value, low, high): the statistic on everything, and its spread over random groups of equal size.

    ``deal`` is a permutation of the rows: its consecutive parts are the groups. An error falls as one over the root of the
    number of examples, so that of a group is scaled to that of all.
    """
    wide = tuple(np.asarray(column) for column in columns)
    value = float(_once(statistic, wide))
    size = min(len(deal) // groups, LARGEST_GROUP)
    values = np.empty(groups)
    for group in range(groups):
        rows = deal[group * size : (group + 1) * size]
        values[group] = _once(statistic, tuple(column[rows] for column in wide))
    defined = values[np.isfinite(values)]
    if len(defined) < groups:
        return value, np.nan, np.nan
    half = float(student_t.ppf(0.5 + level / 2, groups - 1) * defined.std(ddof=1) * np.sqrt(size / len(deal)))
    return value, value - half, value + half


def _once(statistic: Callable, columns: Columns) -> float:
    with np.errstate(all="ignore"):
        # float64 copies of one group at a time: sums of a million float32 numbers lose digits otherwise
        return float(np.ravel(statistic(*(c.astype(np.float64) if c.dtype == np.float32 else c for c in columns),
                                        weights=np.ones(len(columns[0]))))[0])  # fmt: skip


def share(name: str, hits: float, n: int, level: float = 0.95) -> Estimate:
    """A share of n examples with Wilson's interval: right also near 0 and 1, where the bootstrap is not."""
    return Estimate(name, hits / n, *wilson_interval(hits / n, n, level), level, n, "examples")


def mean_of(name: str, column: NDArray, level: float = 0.95) -> Estimate:
    """Mean of a column with a Student t interval over its examples."""
    column = np.asarray(column, dtype=np.float64)
    n, value = len(column), float(np.mean(column)) if len(column) else np.nan
    if n < 2:
        return Estimate(name, value, np.nan, np.nan, level, n, "examples")
    half = float(student_t.ppf(0.5 + level / 2, n - 1) * column.std(ddof=1) / np.sqrt(n))
    return Estimate(name, value, value - half, value + half, level, n, "examples")
