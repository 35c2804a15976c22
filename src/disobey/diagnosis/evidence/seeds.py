"""Several seeds: the mean over all students (and controls), with an interval over other seeds *and* other examples.

The error over examples is that of the seeds' mean, all of them resampled together; the error over runs is Student's t
on one value a seed, paired where each student has a control of its own. Both are put together as independent errors,
which errs on the wide side: what an example does to one seed only is counted in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.measures.inference import clusters, examples
from disobey.measures.inference.measure import Measure, Sample, qualified
from disobey.measures.inference.quantiles import student_t
from disobey.measures.inference.resampling import (
    blocked_interval,
    error_interval,
    example_intervals,
    random_groups,
    wilson_interval,
)
from disobey.records.results import Estimate

Bounds = tuple[float, float, float]


def estimates(
    evidence: Evidence,
    measures: Sequence[Measure],
    *,
    resamples: int,
    level: float,
    seed: int,
    blocked: int,
    fixed: bool = False,
) -> dict[str, Estimate]:
    """Means over seeds by name; with ``fixed`` the intervals are over examples alone."""
    joined = {measure.name: _Joined.of(evidence, measure) for measure in measures}
    bounds: dict[str, Bounds] = {}
    few: dict[int, list[str]] = {}
    for name, one in joined.items():
        if evidence.codes is not None:
            bounds[name] = one.over_clusters(evidence, seed, level)
            continue
        known = one.without_resamples(level)
        if known is not None:
            bounds[name] = known
        elif one.n > blocked:
            bounds[name] = one.blocked(seed, level)
        else:
            few.setdefault(one.n, []).append(name)
    for n, names in few.items():
        drawn = example_intervals(
            [joined[name].evaluate for name in names], n, resamples=resamples, level=level, seed=seed
        )
        bounds |= dict(zip(names, drawn, strict=True))
    return {name: _estimate(evidence, joined[name], bounds[name], level, fixed) for name in joined}


def _estimate(evidence: Evidence, one: _Joined, bounds: Bounds, level: float, fixed: bool) -> Estimate:
    values = one.values
    if fixed or not np.ptp(values) > 0:  # of the teacher alone, say: no seed changes it
        if evidence.codes is not None:
            known = len(np.unique(one.codes(evidence)))
            return Estimate(one.measure.name, *bounds, level, known, "clusters")
        return Estimate(one.measure.name, *bounds, level, one.n, "examples")
    both = widened(bounds, values, level, crossed=_share_a_control(evidence, one.measure))
    return Estimate(one.measure.name, *both, level, len(values), "runs")


def _share_a_control(evidence: Evidence, measure: Measure) -> tuple[int, int] | None:
    """(students, controls) where they are not paired one to one and the measure compares them; else None."""
    sides = len(evidence.students), len(evidence.twins)
    compares = "twin" in measure.needs and not measure.name.endswith(".twin")
    return sides if compares and sides[0] != sides[1] else None


def widened(bounds: Bounds, values: NDArray, level: float, crossed: tuple[int, int] | None = None) -> Bounds:
    """An interval over examples, widened by what one value a seed says about other seeds.

    Args:
        bounds: (value, low, high) over examples.
        values: (S,), one a seed.
        level: of the interval.
        crossed: (students, controls) where they are not paired one to one. An only control is taken to vary as its
            students do; of others the smaller number counts.
    """
    value, low, high = bounds
    n, factor = len(values), 1 / len(values)
    if crossed is not None:
        n, factor = (max(crossed), 1 + 1 / max(crossed)) if min(crossed) == 1 else (min(crossed), 1 / min(crossed))
    half = float(student_t.ppf(0.5 + level / 2, n - 1) * values.std(ddof=1) * np.sqrt(factor)) if n > 1 else np.nan
    return value, value - float(np.hypot(value - low, half)), value + float(np.hypot(high - value, half))


def mean_over_seeds(name: str, columns: Sequence[NDArray], level: float, codes: NDArray | None = None) -> Estimate:
    """Mean of a column (N,) an evidence, over examples (or clusters) and, of several, over seeds."""
    alone = examples.mean_of(name, np.mean(columns, axis=0), level, codes)
    if len(columns) == 1:
        return alone
    values = np.array([column.mean() for column in columns])
    bounds = alone.value, alone.low, alone.high
    return Estimate(name, *widened(bounds, values, level), level, len(values), "runs")


def mean_of_estimates(name: str, found: Sequence[Estimate]) -> Estimate:
    """Mean of one estimate a seed: their errors over examples averaged, as if all went together, and that over runs."""
    if len(found) == 1:
        return found[0]
    value, low, high = (float(np.mean([getattr(e, side) for e in found])) for side in ("value", "low", "high"))
    values = np.array([e.value for e in found])
    level = found[0].level
    return Estimate(name, *widened((value, low, high), values, level), level, len(found), "runs")


@dataclass(frozen=True)
class _Joined:
    """One measure on every seed that it is about. rows: the U examples that qualify for any of them, ascending."""

    measure: Measure
    samples: tuple[Sample, ...]
    rows: NDArray
    values: NDArray

    @classmethod
    def of(cls, evidence: Evidence, measure: Measure) -> _Joined:
        runs = evidence.runs
        if "twin" not in measure.needs:  # where controls are more than students, students come again
            runs = runs[: len(evidence.students)]
        elif measure.name.endswith(".twin"):
            runs = runs[: len(evidence.twins)]
        samples = tuple(qualified(measure, run.of(measure.columns)) for run in runs)
        rows = np.unique(np.concatenate([_rows(sample) for sample in samples]))
        return cls(measure, samples, rows, np.array([sample.once() for sample in samples]))

    @property
    def n(self) -> int:
        """Examples that count."""
        return len(self.rows)

    def evaluate(self, weights: NDArray) -> NDArray:
        """Weights (B, n) of the examples to means over seeds (B,)."""
        parts = [s.evaluate(weights[:, np.searchsorted(self.rows, _rows(s))]) for s in self.samples]
        return np.mean(parts, axis=0)

    def codes(self, evidence: Evidence) -> NDArray:
        """The clusters of the examples that count."""
        codes = evidence.codes_of(np.empty(_length(evidence, self)))
        assert codes is not None
        return codes[self.rows]

    def over_clusters(self, evidence: Evidence, seed: int, level: float) -> Bounds:
        """By leaving out clusters, the same for all seeds."""
        own, value = self.codes(evidence), float(self.values.mean())
        parts = clusters.parts_of(own, seed)
        if parts is None:
            return value, np.nan, np.nan
        errors = np.array([s.spread(own) if s.n == self.n else np.nan for s in self.samples])
        error = float(errors.mean()) if np.isfinite(errors).all() else np.nan
        if not np.isfinite(error):
            kept = [_part(sample, self.rows[parts.rows]) for sample in self.samples]
            part = _Joined(self.measure, tuple(kept), self.rows[parts.rows], self.values)
            error = clusters.error_over(part.evaluate, parts)
        if self.measure.share_of == 1:
            return clusters.share_bounds(value, error, self.n, parts, level)
        return clusters.bounds_over(value, error, parts, level)

    def without_resamples(self, level: float) -> Bounds | None:
        """For measures that know their error, and shares of all examples; None for the others."""
        value = float(self.values.mean())
        errors = np.array([sample.spread() for sample in self.samples])
        if np.isfinite(errors).all():
            return value, *error_interval(value, float(errors.mean()), self.n, level)
        if self.measure.share_of == 1 and self.n and np.isfinite(value):
            return value, *wilson_interval(min(max(value, 0.0), 1.0), self.n, level)
        return None

    def blocked(self, seed: int, level: float) -> Bounds:
        """By the spread over random groups."""
        groups = random_groups(self.n, seed)
        means = [
            float(np.mean([_part(sample, self.rows[group]).once() for sample in self.samples])) for group in groups
        ]
        return blocked_interval(float(self.values.mean()), means, groups.shape[1], self.n, level)


def _rows(sample: Sample) -> NDArray:
    return np.arange(sample.n) if sample.rows is None else sample.rows


def _length(evidence: Evidence, one: _Joined) -> int:
    """Of the columns that a measure was read from: all examples, or the sample."""
    return len(evidence.runs[0].of(one.measure.columns)[0])


def _part(sample: Sample, rows: NDArray) -> Sample:
    """The sample's examples among ``rows``."""
    own = np.flatnonzero(np.isin(_rows(sample), rows)) if sample.rows is not None else rows
    return Sample(sample.measure, tuple(column[own] for column in sample.columns), _rows(sample)[own])
