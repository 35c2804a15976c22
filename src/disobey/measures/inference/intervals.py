"""A measure, and intervals put on it from outside: over examples, over runs, and for paired differences.

``over_examples`` asks what another test set would have given for *these* models; ``over_runs`` what other seeds
would have given. They answer different questions, so every `Estimate` says which.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student_t

from disobey.measures.inference.resampling import error_interval, example_intervals, resample_counts, wilson_interval
from disobey.records.predictions import Predictions
from disobey.records.results import Estimate

Columns = tuple[NDArray, ...]
_CHUNK = 2**19  # log-probabilities held at once: 4 MiB an array, near a core's cache
ENOUGH = 100_000  # examples from which a standard error is taken, drawn at random where there are more


@dataclass(frozen=True)
class Measure:
    """Per-example columns and the statistic of them.

    columns: `Predictions` (any consecutive part) to arrays whose first axis is the examples. Measures that share
    the function share its result. where: from the columns to a mask (N,) of the examples that the measure is about.
    statistic: of the columns. With a keyword ``weights`` of shape (..., N) it answers all resamples at once (see
    `statistics`); without, it is called on repeated rows, once a resample. needs: optional parts of `Predictions`
    that must be there. about: what the number says, with its unit. share_of: where the statistic counts examples (a mean
    of zeros and ones), the part of the examples that it counts among (1: all of them); such shares get Wilson's
    interval, which still says something where none was counted. spread: the statistic's standard error over examples,
    from the same columns, for statistics that resampling gets wrong; with two models' columns, that of the difference.
    Where it is NaN examples are resampled after all.
    """

    name: str
    columns: Callable[[Predictions], Columns]
    statistic: Callable[..., float | NDArray]
    where: Callable[..., NDArray] | None = None
    needs: tuple[str, ...] = ()
    about: str = ""
    share_of: float = 0.0
    spread: Callable[..., float] | None = None

    def __call__(self, predictions: Predictions) -> float:
        """The value alone, without an interval."""
        return float(_samples([self], predictions)[0].evaluate(None)[0])


@dataclass(frozen=True)
class _Sample:
    """A measure's columns on its own examples, and which rows of the predictions those were."""

    measure: Measure
    columns: Columns
    rows: NDArray

    @property
    def n(self) -> int:
        return len(self.rows)

    def take(self, kept: NDArray) -> _Sample:
        return _Sample(self.measure, tuple(column[kept] for column in self.columns), self.rows[kept])

    def spread(self) -> float:
        """The standard error that the measure knows, NaN where it must be found by resampling."""
        return np.nan if self.measure.spread is None else self.measure.spread(*self.columns)

    def evaluate(self, weights: NDArray | None) -> NDArray:
        """Weights (B, n) to values (B,); None weighs each example once."""
        if self.n == 0:
            return np.full(1 if weights is None else len(weights), np.nan)
        statistic = self.measure.statistic
        if _takes_weights(statistic):
            weights = np.ones((1, self.n)) if weights is None else weights
            return np.asarray(statistic(*self.columns, weights=weights), dtype=np.float64)
        if weights is None:
            return np.array([statistic(*self.columns)], dtype=np.float64)
        drawn = [np.repeat(np.arange(self.n), row.astype(np.int64)) for row in weights]
        return np.array([statistic(*(column[rows] for column in self.columns)) for rows in drawn], dtype=np.float64)


@dataclass(frozen=True)
class _Pair:
    """One measure on two sides. rows: those of either side, ascending; weights are theirs."""

    first: _Sample
    second: _Sample
    rows: NDArray

    def evaluate(self, weights: NDArray) -> NDArray:
        a, b = (weights[:, np.searchsorted(self.rows, side.rows)] for side in (self.first, self.second))
        return self.first.evaluate(a) - self.second.evaluate(b)

    def spread(self) -> float:
        known = self.first.measure.spread
        if known is None or not self.first.n == self.second.n == len(self.rows):  # not the same examples
            return np.nan
        return known(*self.first.columns, *self.second.columns)

    def take(self, kept: NDArray) -> _Pair:
        rows = self.rows[kept]
        a, b = (side.take(np.flatnonzero(np.isin(side.rows, rows))) for side in (self.first, self.second))
        return _Pair(a, b, rows)


def _intervals(
    samples: Sequence[_Sample | _Pair], n: int, *, resamples: int, level: float, seed: int
) -> list[tuple[float, float, float]]:
    """(value, low, high) of each: by the standard error that a measure knows, else by resampling."""
    found: dict[int, tuple[float, float, float]] = {}
    for i, sample in enumerate(samples):
        error = sample.spread() if n > 1 else np.nan
        if np.isfinite(error):
            value = float(sample.evaluate(np.ones((1, n)))[0])
            found[i] = (value, *error_interval(value, error, n, level))
    rest = [sample for i, sample in enumerate(samples) if i not in found]
    resampled = iter(_resampled(rest, n, resamples=resamples, level=level, seed=seed) if rest else ())
    return [found[i] if i in found else next(resampled) for i in range(len(samples))]


def _resampled(
    samples: Sequence[_Sample | _Pair], n: int, *, resamples: int, level: float, seed: int
) -> list[tuple[float, float, float]]:
    """`example_intervals`; where examples are plenty, a random part of them gives the standard error of all.

    An error falls as one over the square root of n, so the part's is scaled. Keeps a million rows at the cost of
    a hundred thousand; the value itself is always that of all examples.
    """
    if n <= ENOUGH:
        return example_intervals([s.evaluate for s in samples], n, resamples=resamples, level=level, seed=seed)
    kept = np.sort(np.random.default_rng(seed).choice(n, ENOUGH, replace=False))
    parts = [sample.take(kept).evaluate for sample in samples]
    found = []
    for sample, (value, _, high) in zip(samples, example_intervals(parts, ENOUGH, level=level, seed=seed), strict=True):
        half, whole = (high - value) * float(np.sqrt(ENOUGH / n)), float(sample.evaluate(np.ones((1, n)))[0])
        found.append((whole, whole - half, whole + half))
    return found


def over_examples(
    measure: Measure, predictions: Predictions, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Estimate:
    """The measure with its interval over examples: these models, other examples of the same kind.

    Value and interval are NaN where no example qualifies (no teacher errors, say).
    Raises `ValueError` where the measure needs labels or a twin that the predictions do not have.

    >>> right = Measure("accuracy", lambda p: (p.student.argmax(1) == p.labels,), np.mean, needs=("labels",))
    >>> logits = np.eye(2)[[0, 1, 0, 0] * 25]
    >>> p = Predictions.from_logits(logits, logits, np.arange(100) % 2)
    >>> print(over_examples(right, p))
    0.75 [0.658, 0.831] (95 % over 100 examples)
    """
    return all_over_examples([measure], predictions, resamples=resamples, level=level, seed=seed)[measure.name]


def all_over_examples(
    measures: Iterable[Measure], predictions: Predictions, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, Estimate]:
    """`over_examples` for many measures in one pass over the predictions, by name.

    Each measure gets what it would get alone: the random stream depends on the seed and on n only, so measures of
    equally many examples share their resamples.
    """
    samples = _samples(list(measures), predictions)
    found = {}
    for n in {sample.n for sample in samples}:
        same = [sample for sample in samples if sample.n == n]
        bounds = _intervals(same, n, resamples=resamples, level=level, seed=seed)
        found |= {s.measure.name: _estimate(s.measure, three, level, n) for s, three in zip(same, bounds, strict=True)}
    return {sample.measure.name: found[sample.measure.name] for sample in samples}


def _estimate(measure: Measure, three: tuple[float, float, float], level: float, n: int) -> Estimate:
    value, low, high = three
    if n and (measure.share_of == 1 or (measure.share_of and low == high)) and np.isfinite(value):
        low, high = wilson_interval(value, n * measure.share_of, level)
    return Estimate(measure.name, value, low, high, level, n, "examples")


def paired_over_examples(
    measure: Measure,
    a: Predictions,
    b: Predictions,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """The measure on ``a`` minus the measure on ``b``, both on the same examples, resampled together.

    An example may qualify for one side only (each student's own errors, say): n counts those that qualify for either.
    Raises `ValueError` where the ids differ.
    """
    if not np.array_equal(a.ids, b.ids):
        raise ValueError(
            f"expected the same examples in the same order, came {len(a)} and {len(b)} rows with different ids; "
            "take the common ids from both first"
        )
    first, second = (_samples([measure], side)[0] for side in (a, b))
    rows = np.union1d(first.rows, second.rows)
    both = _Pair(first, second, rows)
    ((value, low, high),) = _intervals([both], len(rows), resamples=resamples, level=level, seed=seed)
    return Estimate(measure.name, value, low, high, level, len(rows), "examples")


def over_runs(measure: Measure, runs: Sequence[Predictions], *, level: float = 0.95) -> Estimate:
    """Mean of the measure over runs with a Student t interval: other seeds, the same examples."""
    return mean_over_runs([measure(run) for run in runs], measure.name, level=level)


def paired_over_runs(
    measure: Measure, a: Sequence[Predictions], b: Sequence[Predictions], *, level: float = 0.95
) -> Estimate:
    """Mean over runs of the measure on ``a`` minus on ``b``; the i-th runs belong together (same seed)."""
    return paired_difference([measure(run) for run in a], [measure(run) for run in b], measure.name, level=level)


def over_runs_and_examples(
    measure: Measure, runs: Sequence[Predictions], *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Estimate:
    """Mean over runs with an interval over other seeds *and* other examples: both are drawn anew, crossed.

    All runs must have predicted the same examples. The crossed bootstrap errs on the wide side (Owen 2007, Annals of
    Applied Statistics 1); with fewer than five runs it would err on the narrow side, and `ValueError` is raised.
    """
    if len(runs) < 5:
        raise ValueError(f"expected at least 5 runs to resample runs and examples, came {len(runs)}; use over_runs")
    if any(not np.array_equal(run.ids, runs[0].ids) for run in runs):
        raise ValueError("expected the same examples in the same order in every run, came different ids")
    samples = [_samples([measure], run)[0] for run in runs]
    rng = np.random.default_rng(seed)
    n, block = len(runs[0]), max(1, 2**20 // len(runs[0]))
    means = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        examples, drawn = resample_counts(n, size, rng), resample_counts(len(runs), size, rng)
        values = np.stack([sample.evaluate(examples[:, sample.rows]) for sample in samples], axis=1)
        means.append((values * drawn).sum(axis=1) / len(runs))
    # Centred as in `centred_interval`; runs drawn anew spread too little by sqrt(1 − 1/S) (Hesterberg 2015).
    value = float(np.mean([sample.evaluate(None)[0] for sample in samples]))
    drawn_means = np.concatenate(means)
    spread = np.quantile(drawn_means, [0.5 - level / 2, 0.5 + level / 2]) - drawn_means.mean()
    widen = student_t.ppf(0.5 + level / 2, len(runs) - 1) / student_t.ppf(0.5 + level / 2, np.inf)
    low, high = value + spread * widen * np.sqrt(len(runs) / (len(runs) - 1))
    return Estimate(measure.name, value, float(low), float(high), level, len(runs), "runs")


def mean_over_runs(values: ArrayLike, name: str, *, level: float = 0.95) -> Estimate:
    """Mean of one value a run, with a Student t interval; NaN bounds for a single run.

    >>> print(mean_over_runs([0.70, 0.72, 0.74], "accuracy"))
    0.72 [0.67, 0.77] (95 % over 3 runs)
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"expected one value for each of at least one run, came an array of shape {values.shape}")
    n, value = len(values), float(values.mean())
    if n == 1:
        return Estimate(name, value, np.nan, np.nan, level, 1, "runs")
    half = float(student_t.ppf(0.5 + level / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Estimate(name, value, value - half, value + half, level, n, "runs")


def paired_difference(
    a: ArrayLike | Mapping, b: ArrayLike | Mapping, name: str = "difference", *, level: float = 0.95
) -> Estimate:
    """Mean of a − b over runs that share their seeds, with a Student t interval of the differences.

    Sequences are paired by position; mappings from seed to value are paired by seed.
    Raises `ValueError` where the seeds or the numbers of runs differ.

    >>> print(paired_difference({0: 0.75, 1: 0.71, 2: 0.80}, {1: 0.70, 0: 0.73, 2: 0.79}, "gain"))
    0.0133 [-0.00101, 0.0277] (95 % over 3 runs)
    """
    first, second = paired(a, b)
    return mean_over_runs(first - second, name, level=level)


def paired(a: ArrayLike | Mapping, b: ArrayLike | Mapping) -> tuple[NDArray, NDArray]:
    """Two equally long float arrays: by seed where both are mappings, by position otherwise."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if a.keys() != b.keys():
            raise ValueError(f"expected the same seeds on both sides, came {sorted(a)} and {sorted(b)}")
        a, b = [a[key] for key in a], [b[key] for key in a]
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"expected two values for each run, came arrays of shapes {first.shape} and {second.shape}")
    return first, second


def on_teacher(measure: Measure) -> Measure:
    """The same measure with the teacher in the student's place: its own calibration, say."""
    return _on(measure, "teacher")


def on_twin(measure: Measure) -> Measure:
    """The same measure with the twin in the student's place. Raises, when it is used, where there is no twin."""
    return _on(measure, "twin")


def minus_teacher(measure: Measure) -> Measure:
    """The measure on the student minus on the teacher, over the examples that qualify for both."""
    return _minus(measure, "teacher")


def minus_twin(measure: Measure) -> Measure:
    """The measure on the student minus on the twin, over the examples that qualify for both."""
    return _minus(measure, "twin")


def with_twins(measures: Iterable[Measure]) -> list[Measure]:
    """Every measure on the student, on the twin and as their difference."""
    return [form for measure in measures for form in (measure, on_twin(measure), minus_twin(measure))]


def applicable(measures: Iterable[Measure], predictions: Predictions) -> list[Measure]:
    """Those whose needs the predictions meet."""
    return [m for m in measures if all(getattr(predictions, need) is not None for need in m.needs)]


def _on(measure: Measure, who: str) -> Measure:
    needs = tuple(dict.fromkeys((*measure.needs, who)))
    return replace(measure, name=f"{measure.name}.{who}", columns=_columns_of(measure.columns, who), needs=needs)


def _minus(measure: Measure, who: str) -> Measure:
    statistic, where = measure.statistic, measure.where

    def weighted(*both: NDArray, weights: NDArray | None = None) -> NDArray:
        half = len(both) // 2
        return np.subtract(statistic(*both[:half], weights=weights), statistic(*both[half:], weights=weights))

    def plain(*both: NDArray) -> float | NDArray:
        return statistic(*both[: len(both) // 2]) - statistic(*both[len(both) // 2 :])

    def qualifies_twice(*both: NDArray) -> NDArray:
        assert where is not None
        return where(*both[: len(both) // 2]) & where(*both[len(both) // 2 :])

    return replace(
        measure,
        name=f"{measure.name}.minus_{who}",
        columns=_both_columns(measure.columns, who),
        share_of=0.0,
        statistic=weighted if _takes_weights(statistic) else plain,
        where=None if where is None else qualifies_twice,
        needs=tuple(dict.fromkeys((*measure.needs, who))),
    )


# Cached, so that measures which share their columns still share them in these forms.
@cache
def _columns_of(columns: Callable[[Predictions], Columns], who: str) -> Callable[[Predictions], Columns]:
    return lambda predictions: columns(predictions.with_student(getattr(predictions, who)))


@cache
def _both_columns(columns: Callable[[Predictions], Columns], who: str) -> Callable[[Predictions], Columns]:
    of_other = _columns_of(columns, who)
    return lambda predictions: (*columns(predictions), *of_other(predictions))


@cache
def _takes_weights(statistic: Callable) -> bool:
    try:
        return "weights" in inspect.signature(statistic).parameters
    except ValueError:  # some compiled functions do not tell
        return False


def _samples(measures: Sequence[Measure], predictions: Predictions) -> list[_Sample]:
    """Columns of all measures in one pass, chunk by chunk; each function of the predictions is called once a chunk."""
    for measure in measures:
        for need in measure.needs:
            if getattr(predictions, need) is None:
                raise ValueError(f"expected predictions with {need} for the measure {measure.name!r}, came none")
    functions = list(dict.fromkeys(measure.columns for measure in measures))
    parts: dict[Callable, list[Columns]] = {function: [] for function in functions}
    for chunk in predictions.chunks(max(1, _CHUNK // predictions.n_classes)):
        for function in functions:
            parts[function].append(tuple(np.asarray(column) for column in function(chunk)))
    whole = {f: tuple(np.concatenate(pieces) for pieces in zip(*part, strict=True)) for f, part in parts.items()}
    samples = []
    for measure in measures:
        columns, rows = whole[measure.columns], np.arange(len(predictions))
        if measure.where is not None:
            rows = np.flatnonzero(measure.where(*columns))
            columns = tuple(column[rows] for column in columns)
        samples.append(_Sample(measure, columns, rows))
    return samples
