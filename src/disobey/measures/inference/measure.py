"""A measure: columns of numbers, one an example, and a statistic of them. Its forms on the teacher and on the twin.

A measure knows no interval. `examples` and `runs` put one on from outside and say over what it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from disobey.errors import refusal
from disobey.records.predictions import Predictions

Columns: TypeAlias = tuple[NDArray, ...]
ColumnsOf: TypeAlias = Callable[[Predictions], Columns]
Other: TypeAlias = Literal["teacher", "twin"]

CHUNK = 2**19  # log-probabilities held at once: 4 MiB an array, near a core's cache


@dataclass(frozen=True)
class Measure:
    """Per-example columns and the statistic of them.

    Attributes:
        name: unique among measures that are asked for together.
        columns: from `Predictions` (any consecutive part) to arrays whose first axis is the examples. Measures that
            share the function share its result.
        statistic: of the columns. With a keyword ``weights`` of shape (..., N) it answers all resamples at once (see
            `statistics`); without, it is called on repeated rows, once for each resample.
        where: from the columns to a mask (N,) of the examples that the measure is about; all of them where None.
        needs: optional parts of `Predictions` that must be there.
        about: what the number says, with its unit.
        share_of: where the statistic counts examples (a mean of zeros and ones), the part of the examples that it
            counts among (1: all of them). Such shares get Wilson's interval, which still says something where none was
            counted.
        spread: the statistic's standard error over examples, from the same columns, for statistics that resampling gets
            wrong; with two models' columns, that of the difference. Where it is NaN examples are resampled after all.
            It takes a keyword ``codes`` (N,): the cluster of each example, where these are not independent.
        order: number of the column by which the statistic puts examples in order, if it does. Many examples are then
            put in that order once, before they are dealt into groups, and no group has anything left to sort.
        sides: names of the two measures whose difference this is; none where it is no difference.
    """

    name: str
    columns: ColumnsOf
    statistic: Callable[..., float | NDArray]
    where: Callable[..., NDArray] | None = None
    needs: tuple[str, ...] = ()
    about: str = ""
    share_of: float = 0.0
    spread: Callable[..., float] | None = None
    order: int | None = None
    sides: tuple[str, ...] = ()

    def __call__(self, predictions: Predictions) -> float:
        """The value alone, without an interval."""
        return values([self], predictions)[self.name]


@dataclass(frozen=True)
class Sample:
    """A measure with its columns on the examples that it is about.

    Attributes:
        measure: the measure.
        columns: its columns on those n examples.
        rows: (n,) which rows of the predictions those are; all of them where None.
    """

    measure: Measure
    columns: Columns
    rows: NDArray | None = None

    @property
    def n(self) -> int:
        """Number of examples that qualify."""
        return len(self.columns[0])

    def spread(self, codes: NDArray | None = None) -> float:
        """The standard error that the measure knows, NaN where it must be found by resampling.

        Args:
            codes: (n,) the cluster of each example; none where they are independent.
        """
        known = self.measure.spread
        if known is None or self.n < 2:
            return np.nan
        return known(*self.columns) if codes is None else known(*self.columns, codes=codes)

    def take(self, rows: NDArray) -> Sample:
        """Some of its examples, by their places among the n."""
        own = rows if self.rows is None else self.rows[rows]
        return Sample(self.measure, tuple(column[rows] for column in self.columns), own)

    def evaluate(self, weights: NDArray | None) -> NDArray:
        """Weights (B, n) to values (B,); None weighs each example once."""
        if self.n == 0:
            return np.full(1 if weights is None else len(weights), np.nan)
        statistic = self.measure.statistic
        if takes_weights(statistic):
            weights = np.ones((1, self.n)) if weights is None else weights
            return np.asarray(statistic(*self.columns, weights=weights), dtype=np.float64)
        if weights is None:
            return np.array([statistic(*self.columns)], dtype=np.float64)
        drawn = [np.repeat(np.arange(self.n), row.astype(np.int64)) for row in weights]
        return np.array([statistic(*(column[rows] for column in self.columns)) for rows in drawn], dtype=np.float64)

    def once(self) -> float:
        """The value by the statistic's own way without weights: quick on long columns, equal to rounding."""
        if self.n == 0:
            return np.nan
        with np.errstate(all="ignore"):
            return float(np.ravel(self.measure.statistic(*self.columns))[0])


def qualified(measure: Measure, columns: Columns) -> Sample:
    """The measure's columns on the examples that it is about; the same tuple where that is all of them."""
    if measure.where is None:
        return Sample(measure, columns)
    keep = measure.where(*columns)
    if keep.all():
        return Sample(measure, columns)
    rows = np.flatnonzero(keep)
    return Sample(measure, tuple(column[rows] for column in columns), rows)


def read(
    measures: Sequence[Measure], predictions: Predictions, *, chunk: int = CHUNK
) -> list[tuple[Columns, list[Measure]]]:
    """All measures' columns in one pass over the predictions.

    Args:
        measures: in any order.
        predictions: N examples, read in consecutive parts.
        chunk: log-probabilities of one model in a part.

    Returns:
        For each function of columns, what it gives on all N examples, and the measures that share it.

    Raises:
        Refusal: ``measure-needs``, where the predictions lack what a measure needs.
    """
    for measure in measures:
        for need in measure.needs:
            if getattr(predictions, need) is None:
                raise refusal("measure-needs", f"predictions with {need} for the measure {measure.name!r}", "none")
    functions = list(dict.fromkeys(measure.columns for measure in measures))
    parts: dict[ColumnsOf, list[Columns]] = {function: [] for function in functions}
    for part in predictions.chunks(max(1, chunk // predictions.n_classes)):
        for function in functions:
            parts[function].append(tuple(np.asarray(column) for column in function(part)))
    return [
        (
            tuple(np.concatenate(pieces) for pieces in zip(*parts[function], strict=True)),
            [measure for measure in measures if measure.columns is function],
        )
        for function in functions
    ]


def values(measures: Iterable[Measure], predictions: Predictions) -> dict[str, float]:
    """Values of many measures by name, in one pass and without intervals; NaN where no example qualifies."""
    measures = list(measures)
    found = {
        measure.name: float(qualified(measure, columns).evaluate(None)[0])
        for columns, sharing in read(measures, predictions)
        for measure in sharing
    }
    return {measure.name: found[measure.name] for measure in measures}


def applicable(measures: Iterable[Measure], predictions: Predictions) -> list[Measure]:
    """Those whose needs the predictions meet."""
    return [m for m in measures if all(getattr(predictions, need) is not None for need in m.needs)]


def on_teacher(measure: Measure) -> Measure:
    """The same measure with the teacher in the student's place: its own calibration, say."""
    return _on(measure, "teacher")


def on_twin(measure: Measure) -> Measure:
    """The same measure with the control (twin) in the student's place; refused, when used, where there is none."""
    return _on(measure, "twin")


def minus_teacher(measure: Measure) -> Measure:
    """The measure on the student minus on the teacher, over the examples that qualify for both."""
    return _minus(measure, "teacher")


def minus_twin(measure: Measure) -> Measure:
    """The measure on the student minus on the control (twin), over the examples that qualify for both."""
    return _minus(measure, "twin")


def with_twins(measures: Iterable[Measure]) -> list[Measure]:
    """Every measure on the student, on the control (twin) and as their difference."""
    return [form for measure in measures for form in (measure, on_twin(measure), minus_twin(measure))]


# Both are cached, so that measures which share their columns still share them in these forms.
@cache
def columns_on(columns: ColumnsOf, who: Other) -> ColumnsOf:
    """The same columns with somebody else in the student's place; one function for each pair of arguments."""
    return lambda predictions: columns(predictions.with_student(getattr(predictions, who)))


@cache
def columns_beside(columns: ColumnsOf, who: Other) -> ColumnsOf:
    """The student's columns, then the other's; one function for each pair of arguments."""
    other = columns_on(columns, who)
    return lambda predictions: (*columns(predictions), *other(predictions))


def _on(measure: Measure, who: Other) -> Measure:
    needs = tuple(dict.fromkeys((*measure.needs, who)))
    return replace(measure, name=f"{measure.name}.{who}", columns=columns_on(measure.columns, who), needs=needs)


def _minus(measure: Measure, who: Other) -> Measure:
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
        sides=(measure.name, f"{measure.name}.{who}"),
        columns=columns_beside(measure.columns, who),
        share_of=0.0,
        statistic=weighted if takes_weights(statistic) else plain,
        where=None if where is None else qualifies_twice,
        needs=tuple(dict.fromkeys((*measure.needs, who))),
    )


@cache
def takes_weights(statistic: Callable) -> bool:
    """Whether a statistic has a keyword ``weights``."""
    try:
        return "weights" in inspect.signature(statistic).parameters
    except ValueError:  # some compiled functions do not tell
        return False
