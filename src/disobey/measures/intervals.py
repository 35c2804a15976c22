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

from disobey.measures.resampling import example_intervals
from disobey.records.predictions import Predictions
from disobey.records.results import Estimate

Columns = tuple[NDArray, ...]
_CHUNK = 2**22  # log-probabilities held at once: 32 MiB an array


@dataclass(frozen=True)
class Measure:
    """Per-example columns and the statistic of them.

    columns: `Predictions` (any consecutive part) to arrays whose first axis is the examples. Measures that share
    the function share its result. where: from the columns to a mask (N,) of the examples that the measure is about.
    statistic: of the columns. With a keyword ``weights`` of shape (..., N) it answers all resamples at once (see
    `statistics`); without, it is called on repeated rows, once a resample. needs: optional parts of `Predictions`
    that must be there. about: what the number says, with its unit.
    """

    name: str
    columns: Callable[[Predictions], Columns]
    statistic: Callable[..., float | NDArray]
    where: Callable[..., NDArray] | None = None
    needs: tuple[str, ...] = ()
    about: str = ""

    def __call__(self, predictions: Predictions) -> float:
        """The value alone, without an interval."""
        return float(_sample(self, predictions).evaluate(None)[0])


@dataclass(frozen=True)
class _Sample:
    """A measure's columns on its own examples, and which rows of the predictions those were."""

    measure: Measure
    columns: Columns
    rows: NDArray

    @property
    def n(self) -> int:
        return len(self.rows)

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
    0.75 [0.66, 0.83] (95 % over 100 examples)
    """
    return all_over_examples([measure], predictions, resamples=resamples, level=level, seed=seed)[measure.name]


def all_over_examples(
    measures: Iterable[Measure],
    predictions: Predictions,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Estimate]:
    """`over_examples` for many measures in one pass over the predictions, by name.

    Each measure gets what it would get alone: the random stream depends on the seed and on n only, so measures of
    equally many examples share their resamples.
    """
    samples = _samples(list(measures), predictions)
    found = {}
    for n in {sample.n for sample in samples}:
        same = [sample for sample in samples if sample.n == n]
        bounds = example_intervals([s.evaluate for s in same], n, resamples=resamples, level=level, seed=seed)
        found |= {
            s.measure.name: Estimate(s.measure.name, value, low, high, level, n, "examples")
            for s, (value, low, high) in zip(same, bounds, strict=True)
        }
    return {sample.measure.name: found[sample.measure.name] for sample in samples}


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
    first, second = _sample(measure, a), _sample(measure, b)
    rows = np.union1d(first.rows, second.rows)
    of_first, of_second = np.searchsorted(rows, first.rows), np.searchsorted(rows, second.rows)

    def evaluate(weights: NDArray) -> NDArray:
        return first.evaluate(weights[:, of_first]) - second.evaluate(weights[:, of_second])

    ((value, low, high),) = example_intervals([evaluate], len(rows), resamples=resamples, level=level, seed=seed)
    return Estimate(measure.name, value, low, high, level, len(rows), "examples")


def over_runs(measure: Measure, runs: Sequence[Predictions], *, level: float = 0.95) -> Estimate:
    """Mean of the measure over runs with a Student t interval: other seeds, the same examples."""
    return mean_over_runs([measure(run) for run in runs], measure.name, level=level)


def paired_over_runs(
    measure: Measure, a: Sequence[Predictions], b: Sequence[Predictions], *, level: float = 0.95
) -> Estimate:
    """Mean over runs of the measure on ``a`` minus on ``b``; the i-th runs belong together (same seed)."""
    return paired_difference([measure(run) for run in a], [measure(run) for run in b], measure.name, level=level)


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


def on_twin(measure: Measure) -> Measure:
    """The same measure with the twin in the student's place."""
    return replace(
        measure, name=f"{measure.name}.twin", columns=_twin_columns(measure.columns), needs=(*measure.needs, "twin")
    )


def minus_twin(measure: Measure) -> Measure:
    """The measure on the student minus on the twin, over the examples that qualify for both."""
    columns = _both_columns(measure.columns)
    statistic, where = measure.statistic, measure.where

    def difference(*both, weights: NDArray) -> NDArray:
        half = len(both) // 2
        of_student = _Sample(measure, both[:half], both[0]).evaluate(weights)
        return of_student - _Sample(measure, both[half:], both[0]).evaluate(weights)

    def qualifies_twice(*both) -> NDArray:
        assert where is not None
        return where(*both[: len(both) // 2]) & where(*both[len(both) // 2 :])

    return replace(
        measure,
        name=f"{measure.name}.minus_twin",
        columns=columns,
        statistic=difference if _takes_weights(statistic) else _plain_difference(statistic),
        where=None if where is None else qualifies_twice,
        needs=(*measure.needs, "twin"),
    )


def with_twins(measures: Iterable[Measure]) -> list[Measure]:
    """Every measure on the student, on the twin and as their difference."""
    return [form for measure in measures for form in (measure, on_twin(measure), minus_twin(measure))]


def applicable(measures: Iterable[Measure], predictions: Predictions) -> list[Measure]:
    """Those whose needs the predictions meet."""
    return [m for m in measures if all(getattr(predictions, need) is not None for need in m.needs)]


def _plain_difference(statistic: Callable[..., float | NDArray]) -> Callable[..., float | NDArray]:
    def difference(*both):
        return statistic(*both[: len(both) // 2]) - statistic(*both[len(both) // 2 :])

    return difference


# Cached, so that measures which share their columns still share them in these forms.
@cache
def _twin_columns(columns: Callable[[Predictions], Columns]) -> Callable[[Predictions], Columns]:
    def of_twin(predictions: Predictions) -> Columns:
        assert predictions.twin is not None
        return columns(predictions.with_student(predictions.twin))

    return of_twin


@cache
def _both_columns(columns: Callable[[Predictions], Columns]) -> Callable[[Predictions], Columns]:
    of_twin = _twin_columns(columns)
    return lambda predictions: (*columns(predictions), *of_twin(predictions))


@cache
def _takes_weights(statistic: Callable) -> bool:
    try:
        return "weights" in inspect.signature(statistic).parameters
    except ValueError:  # some compiled functions do not tell
        return False


def _sample(measure: Measure, predictions: Predictions) -> _Sample:
    return _samples([measure], predictions)[0]


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
