"""Intervals over examples: what another test set would have given for *these* models.

Up to 5,000 examples a bootstrap, up to 50,000 a grouped jackknife, beyond that the spread over random groups, whose
cost does not grow with the examples (`resampling` has all three). Where predictions say which cluster an example
belongs to, all intervals are over clusters (`clusters`). The library and `disobey diagnose` both end here, so they give
the same interval for the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disobey.errors import refusal
from disobey.measures.inference import clusters as clustered
from disobey.measures.inference.measure import Columns, Measure, Sample, qualified, read
from disobey.measures.inference.resampling import (
    blocked_interval,
    error_interval,
    example_intervals,
    random_groups,
    t_interval,
    wilson_interval,
)
from disobey.records.predictions import Predictions
from disobey.records.results import Estimate

BLOCKED = 50_000  # examples above which the spread over random groups replaces the jackknife

Bounds = tuple[float, float, float]


def over_examples(
    measure: Measure, predictions: Predictions, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Estimate:
    """The measure with its interval over examples: these models, other examples of the same kind.

    Args:
        measure: what is measured.
        predictions: N examples, any number of classes.
        resamples: of the bootstrap, where there are at most 5,000 examples.
        level: of the interval.
        seed: of resamples and groups.

    Returns:
        Value and interval, both NaN where no example qualifies (no teacher errors, say); n says how many did.

    Raises:
        Refusal: ``measure-needs``, where the measure needs labels or a twin that the predictions do not have.

    Example:
        >>> right = Measure("accuracy", lambda p: (p.student.argmax(1) == p.labels,), np.mean, needs=("labels",))
        >>> logits = np.eye(2)[[0, 1, 0, 0] * 25]
        >>> p = Predictions.from_logits(logits, logits, np.arange(100) % 2)
        >>> print(over_examples(right, p))
        0.75 [0.658, 0.831] (95% over 100 examples)
    """
    return all_over_examples([measure], predictions, resamples=resamples, level=level, seed=seed)[measure.name]


def all_over_examples(
    measures: Iterable[Measure], predictions: Predictions, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, Estimate]:
    """`over_examples` for many measures in one pass over the predictions, by name.

    Each measure gets what it would get alone: the random stream depends on the seed and on n only, so measures of
    equally many examples share their resamples.
    """
    measures = list(measures)
    codes = None
    if predictions.cluster is not None:
        clustered.refuse_few(predictions.cluster)
        codes = clustered.codes_of(predictions.cluster)
    found = estimates(read(measures, predictions), resamples=resamples, level=level, seed=seed, codes=codes)
    return {measure.name: found[measure.name] for measure in measures}


def estimates(
    shared: Iterable[tuple[Columns, Sequence[Measure]]],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    blocked: int = BLOCKED,
    codes: NDArray | None = None,
) -> dict[str, Estimate]:
    """Estimates of measures whose columns are known, by name: the one way to an interval over examples.

    Args:
        shared: columns on all examples, and the measures that share them. Taken one after another, so that copies of
            long columns do not pile up.
        resamples: of the bootstrap.
        level: of the intervals.
        seed: of resamples and groups.
        blocked: number of examples above which groups replace the jackknife.
        codes: (N,) the number of each example's cluster: then intervals are over clusters, by `clusters`.
    """
    if codes is not None:
        return {
            measure.name: over_clusters(qualified(measure, columns), codes, level=level, seed=seed)
            for columns, measures in shared
            for measure in measures
        }
    found: dict[str, Estimate] = {}
    few: dict[int, list[Sample]] = {}
    for columns, measures in shared:
        for order in dict.fromkeys(measure.order for measure in measures):
            ordered = columns if order is None or len(columns[0]) <= blocked else _in_order(columns, order)
            dealt: Columns | None = None  # all examples in groups, for the measures that are about all
            for measure in measures:
                if measure.order != order:
                    continue
                sample = qualified(measure, ordered)
                error = sample.spread()
                if np.isfinite(error):
                    value = float(sample.evaluate(None)[0])
                    found[measure.name] = _estimate(
                        sample, (value, *error_interval(value, error, sample.n, level)), level
                    )
                elif measure.share_of == 1:  # Wilson's interval needs no resamples
                    value = sample.once() if sample.n > blocked else float(sample.evaluate(None)[0])
                    found[measure.name] = _estimate(sample, (value, np.nan, np.nan), level)
                elif sample.n > blocked:
                    whole = sample.columns is ordered
                    parts = dealt if whole and dealt is not None else _dealt(sample.columns, seed)
                    dealt = parts if whole else dealt
                    found[measure.name] = _estimate(sample, _blocked(sample, parts, level), level)
                else:
                    few.setdefault(sample.n, []).append(sample)
    for n, same in few.items():
        alone, differences = _halved(same)
        three = example_intervals(
            [s.evaluate for s in alone],
            n,
            resamples=resamples,
            level=level,
            seed=seed,
            minus=list(differences.values()),
        )
        samples = [*alone, *(s for s in same if s.measure.name in differences)]
        found |= {s.measure.name: _estimate(s, bounds, level) for s, bounds in zip(samples, three, strict=True)}
    return found


def over_clusters(sample: Sample, codes: NDArray, *, level: float = 0.95, seed: int = 0) -> Estimate:
    """One measure with its interval over clusters; no interval where fewer than five of them qualify.

    Args:
        sample: the measure on its examples.
        codes: (N,) cluster numbers of all examples.
        level: of the interval.
        seed: of the dealing of clusters into groups.
    """
    own = codes if sample.rows is None else codes[sample.rows]
    parts, value = clustered.parts_of(own, seed), sample.once()
    name, shared = sample.measure.name, sample.measure.share_of
    if parts is None:
        return Estimate(name, value, np.nan, np.nan, level, len(np.unique(own)), "clusters")
    error = sample.spread(own)
    if not np.isfinite(error):
        error = clustered.error_over(sample.take(parts.rows).evaluate, parts)
    if shared == 1 or (shared and error == 0):
        bounds = clustered.share_bounds(value, error, sample.n * shared, parts, level)
    else:
        bounds = clustered.bounds_over(value, error, parts, level)
    return Estimate(name, *bounds, level, parts.clusters, "clusters")


def _halved(same: Sequence[Sample]) -> tuple[list[Sample], dict[str, tuple[int, int]]]:
    """Samples to be evaluated, and differences whose two sides are among them, by name: the places of both sides."""
    names = {s.measure.name for s in same if s.rows is None}
    known = [s.measure.name for s in same if s.rows is None and names.issuperset(s.measure.sides or ("",))]
    alone = [s for s in same if s.measure.name not in known]
    places = {s.measure.name: place for place, s in enumerate(alone)}
    found = {}
    for sample in same:
        if sample.measure.name in known:
            student, other = sample.measure.sides
            found[sample.measure.name] = places[student], places[other]
    return alone, found


def paired_over_examples(
    measure: Measure,
    a: Predictions,
    b: Predictions,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    blocked: int = BLOCKED,
) -> Estimate:
    """The measure on ``a`` minus the measure on ``b``, both on the same examples, resampled together.

    An example may qualify for one side only (each student's own errors, say): n counts those that qualify for either.

    Raises:
        Refusal: ``other-examples``, where the ids differ.
    """
    if not np.array_equal(a.ids, b.ids):
        got = f"{len(a)} and {len(b)} rows with different ids"
        raise refusal("other-examples", "the same examples in the same order", got, "the common ids of both")
    if (a.cluster is None) != (b.cluster is None) or not np.array_equal(_own(a.cluster), _own(b.cluster)):
        raise refusal("other-clusters", "the same clusters on both sides", "others", "one 'cluster' column for both")
    both = _difference(*(_sides(measure, side) for side in (a, b)))
    if a.cluster is not None:
        clustered.refuse_few(a.cluster)
        codes = clustered.codes_of(a.cluster)[both.rows]
        return _paired_over_clusters(both, codes, level, seed)
    n, error = len(both.rows), both.spread()
    if np.isfinite(error):
        value = float(both.evaluate(np.ones((1, n)))[0])
        bounds = (value, *error_interval(value, error, n, level))
    elif n > blocked:
        groups = random_groups(n, seed)
        bounds = blocked_interval(both.once(), [both.take(rows).once() for rows in groups], groups.shape[1], n, level)
    else:
        (bounds,) = example_intervals([both.evaluate], n, resamples=resamples, level=level, seed=seed)
    return Estimate(measure.name, *bounds, level, n, "examples")


def _own(cluster: NDArray | None) -> NDArray:
    return np.empty(0) if cluster is None else cluster


def _paired_over_clusters(both: _Difference, codes: NDArray, level: float, seed: int) -> Estimate:
    name, value, parts = both.first.measure.name, both.once(), clustered.parts_of(codes, seed)
    if parts is None:
        return Estimate(name, value, np.nan, np.nan, level, len(np.unique(codes)), "clusters")
    error = clustered.error_over(both.take(parts.rows).evaluate, parts)
    return Estimate(name, *clustered.bounds_over(value, error, parts, level), level, parts.clusters, "clusters")


def share(name: str, hits: float, n: int, level: float = 0.95) -> Estimate:
    """A share of n examples with Wilson's interval: right also near 0 and 1, where the bootstrap is not."""
    return Estimate(name, hits / n, *wilson_interval(hits / n, n, level), level, n, "examples")


def mean_of(name: str, column: NDArray, level: float = 0.95, codes: NDArray | None = None) -> Estimate:
    """Mean of a column (N,) with a Student t interval over its examples, or over clusters by ``codes`` (N,).

    A column of zeros and ones is a share: over clusters it gets Wilson's interval.
    """
    column = np.asarray(column, dtype=np.float64)
    if codes is not None:
        value, parts = float(column.mean()) if len(column) else np.nan, clustered.parts_of(codes, 0)
        if parts is None:
            return Estimate(name, value, np.nan, np.nan, level, len(np.unique(codes)), "clusters")
        error = clustered.mean_error(column, codes)
        if ((column == 0) | (column == 1)).all():
            bounds = clustered.share_bounds(value, error, len(column), parts, level)
        else:
            bounds = clustered.bounds_over(value, error, parts, level)
        return Estimate(name, *bounds, level, parts.clusters, "clusters")
    return Estimate(name, *t_interval(column, level), level, len(column), "examples")


def _in_order(columns: Columns, order: int) -> Columns:
    rows = np.argsort(columns[order])
    return tuple(column[rows] for column in columns)


def _blocked(sample: Sample, parts: Columns, level: float) -> Bounds:
    groups = [Sample(sample.measure, part).once() for part in zip(*parts, strict=True)]
    return blocked_interval(sample.once(), groups, parts[0].shape[1], sample.n, level)


def _dealt(columns: Columns, seed: int) -> Columns:
    """Columns (N, ...) in random groups, (groups, size, ...): the same rows for any column of this length."""
    rows = random_groups(len(columns[0]), seed)
    return tuple(column[rows] for column in columns)


def _estimate(sample: Sample, bounds: Bounds, level: float) -> Estimate:
    (value, low, high), n, share_of = bounds, sample.n, sample.measure.share_of
    if n and (share_of == 1 or (share_of and low == high)) and np.isfinite(value):
        low, high = wilson_interval(value, n * share_of, level)
    return Estimate(sample.measure.name, value, low, high, level, n, "examples")


@dataclass(frozen=True)
class _Difference:
    """One measure on two sides. rows: the U examples of either side, ascending; weights are theirs."""

    first: Sample
    second: Sample
    rows: NDArray

    @property
    def _places(self) -> tuple[NDArray, NDArray]:
        """Where each side's examples stand among ``rows``."""
        a, b = (np.searchsorted(self.rows, _rows(side)) for side in (self.first, self.second))
        return a, b

    def evaluate(self, weights: NDArray) -> NDArray:
        a, b = (weights[:, places] for places in self._places)
        return self.first.evaluate(a) - self.second.evaluate(b)

    def once(self) -> float:
        return self.first.once() - self.second.once()

    def spread(self) -> float:
        known = self.first.measure.spread
        n = len(self.rows)
        if known is None or n < 2 or not self.first.n == self.second.n == n:  # not the same examples
            return np.nan
        return known(*self.first.columns, *self.second.columns)

    def take(self, kept: NDArray) -> _Difference:
        """On the examples ``kept``, ascending numbers from 0 to U − 1."""
        chosen = np.zeros(len(self.rows), dtype=bool)
        chosen[kept] = True
        sides = []
        for side, places in zip((self.first, self.second), self._places, strict=True):
            own = np.flatnonzero(chosen[places])
            sides.append(Sample(side.measure, tuple(column[own] for column in side.columns), _rows(side)[own]))
        return _Difference(sides[0], sides[1], self.rows[kept])


def _rows(sample: Sample) -> NDArray:
    return np.arange(sample.n) if sample.rows is None else sample.rows


def _sides(measure: Measure, predictions: Predictions) -> Sample:
    ((columns, _),) = read([measure], predictions)
    return qualified(measure, columns)


def _difference(first: Sample, second: Sample) -> _Difference:
    return _Difference(first, second, np.union1d(_rows(first), _rows(second)))
