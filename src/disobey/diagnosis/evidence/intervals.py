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
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.streaming import asking
from disobey.measures.calibration import scores
from disobey.measures.inference.intervals import Measure, applicable, minus_teacher, minus_twin, on_teacher, on_twin
from disobey.measures.inference.resampling import GROUPS, error_interval, example_intervals, wilson_interval
from disobey.records.results import Estimate

BLOCKED = 50_000
LARGEST_GROUP = 2_500  # more rows a group cost time and sharpen nothing: 100 groups bound what is known of the error
Columns = tuple[NDArray, ...]
_FORMS = (on_teacher, on_twin, minus_teacher, minus_twin)
# Columns whose third is the confidence, by which statistics bin rows: once in its order, nothing is left to sort.
BINNED = {scores, *(form(asking(scores)).columns for form in _FORMS)}


def estimates(evidence: Evidence, measures: Sequence[Measure], *, resamples: int = 1000) -> dict[str, Estimate]:
    """Every measure that the evidence can answer, by name, with n and level stated. Undefined ones are left out."""
    usable = applicable(measures, evidence.sample)
    found, few = dict[str, Estimate](), dict[int, list[tuple[Measure, Columns]]]()
    for function in dict.fromkeys(measure.columns for measure in usable):
        sharing = [measure for measure in usable if measure.columns is function]
        whole = evidence.of(function)
        if function in BINNED and len(sharing) > 1 and len(whole[0]) > BLOCKED:
            order = np.argsort(whole[2])
            whole = tuple(column[order] for column in whole)
        for measure in sharing:
            columns = qualified(measure, whole)
            n = len(columns[0])
            error = measure.spread(*columns) if measure.spread and n > 1 else np.nan
            if np.isfinite(error):
                value = _once(measure.statistic, columns)
                bounds = value, *error_interval(value, error, n, evidence.level)
                found[measure.name] = _estimate(measure, bounds, n, evidence)
            elif n > BLOCKED:  # one after the other: copies of long columns do not pile up
                parts = _parts(evidence, columns, lasting=columns is evidence.of(function))
                bounds = blocked_interval(measure.statistic, columns, parts, evidence.level)
                found[measure.name] = _estimate(measure, bounds, n, evidence)
            elif n:
                few.setdefault(n, []).append((measure, columns))
    for n, same in few.items():
        evaluates = [_evaluate(measure.statistic, columns) for measure, columns in same]
        bounds = example_intervals(evaluates, n, resamples=resamples, level=evidence.level, seed=evidence.seed)
        for (measure, _), three in zip(same, bounds, strict=True):
            found[measure.name] = _estimate(measure, three, n, evidence)
    return {m.name: found[m.name] for m in usable if m.name in found and np.isfinite(found[m.name].value)}


def _estimate(measure: Measure, three: tuple[float, float, float], n: int, evidence: Evidence) -> Estimate:
    value, low, high = three
    if measure.share_of == 1 or (measure.share_of and low == high):
        low, high = wilson_interval(value, n * measure.share_of, evidence.level)
    return Estimate(measure.name, value, low, high, evidence.level, n, "examples")


def _parts(evidence: Evidence, columns: Columns, lasting: bool) -> Columns:
    """Columns in groups: those of the evidence itself, which many measures share, are dealt once."""
    if not lasting:
        return tuple(in_groups(column, evidence.seed) for column in columns)
    for column in columns:
        if id(column) not in evidence.parts:
            evidence.parts[id(column)] = in_groups(column, evidence.seed)
    return tuple(evidence.parts[id(column)] for column in columns)


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


def blocked_interval(statistic: Callable, columns: Columns, parts: Columns, level: float) -> tuple[float, float, float]:
    """(value, low, high): the statistic on everything, and its spread over random groups, the rows of ``parts``.

    An error falls as one over the root of the number of examples, so that of a group is scaled to that of all.
    """
    groups, size = parts[0].shape[:2]
    value, *values = (_once(statistic, some) for some in (columns, *zip(*parts, strict=True)))
    if not np.isfinite(values).all():
        return value, np.nan, np.nan
    half = student_t.ppf(0.5 + level / 2, groups - 1) * np.std(values, ddof=1) * np.sqrt(size / len(columns[0]))
    return value, value - float(half), value + float(half)


def in_groups(column: NDArray, seed: int, groups: int = GROUPS) -> NDArray:
    """(groups, size, ...): a column's values in random groups of rows, the same rows for any column of this length."""
    return column[_rows(len(column), seed, groups, min(len(column) // groups, LARGEST_GROUP))]


@lru_cache(maxsize=4)
def _rows(n: int, seed: int, groups: int, size: int) -> NDArray:
    """Ascending in each group: kind to memory, and to statistics that sort what lies in order already."""
    rows = np.random.default_rng(seed).choice(n, groups * size, replace=False).astype(np.int32)
    return np.sort(rows.reshape(groups, size), axis=1)


def _once(statistic: Callable, columns: Columns) -> float:
    with np.errstate(all="ignore"):
        return float(np.ravel(statistic(*columns, weights=None))[0])


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
