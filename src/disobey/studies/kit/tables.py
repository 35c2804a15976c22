"""Tables and charts as functions of what stands in their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias, TypeVar

from disobey.records.results import Cell, Estimate, Levels, Table

R = TypeVar("R")
Column: TypeAlias = tuple[str, Callable[[R], Cell]]  # heading, and the cell of a row


def as_points(estimate: Estimate) -> Estimate:
    """A fraction as percentage points."""
    return estimate.times(100)


def in_points(cell: Callable[[R], Estimate]) -> Callable[[R], Estimate]:
    """A column of fractions as percentage points."""
    return lambda row: as_points(cell(row))


def table(title: str, rows: Iterable[R], columns: Sequence[Column[R]], caption: str = "", levels: Levels = ()) -> Table:
    """One row for each of ``rows`` (arms, say), one column for each (heading, function of the row).

    >>> table("Squares", (2, 3), (("n", lambda n: n), ("n²", lambda n: n * n))).rows
    ((2, 4), (3, 9))
    """
    cells = tuple(tuple(cell(row) for _, cell in columns) for row in rows)
    return Table(title, tuple(heading for heading, _ in columns), cells, caption, levels)
