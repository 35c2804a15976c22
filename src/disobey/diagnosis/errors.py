"""Refusals in one shape: where, what was expected, what came, what to try."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from numpy.typing import NDArray


class Unusable(ValueError):
    """Input that cannot be used, already in words for people: readers pass it on and translate everything else."""


def problem(where: object, expected: str, came: str, attempt: str = "") -> Unusable:
    """The error of every unusable input, one sentence for people.

    >>> print(problem("pair.npz", "an array 'teacher'", "only 'x'", "rename it"))
    pair.npz: expected an array 'teacher', came only 'x'; try: rename it
    """
    place = f"{printable(where)}: " if str(where) else ""
    return Unusable(f"{place}expected {expected}, came {came}" + (f"; try: {attempt}" if attempt else ""))


def printable(text: object, limit: int = 200) -> str:
    """Text from a file, safe for a terminal: no control characters, not endless."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint ", did you mean …" or nothing."""
    close = difflib.get_close_matches(name, [str(n)[:100] for n in list(names)[:1000]], n=1, cutoff=0.7)
    return f"did you mean {printable(close[0])!r}?" if close else ""


def renamed(name: str, names: Iterable[str]) -> str:
    """What to do where ``name`` is missing: rename what is nearest to it, or number the columns from 0.

    >>> renamed("teacher", ["Techer", "student"])
    "rename 'Techer' to 'teacher'"
    >>> renamed("teacher", ["teacher_1", "teacher_2"])
    'number the columns from teacher_0 on, without gaps'
    """
    known = [str(n)[:100] for n in list(names)[:1000]]
    if any(n.lower().startswith(name) and n.lower().removeprefix(name).strip("_-. ").isdigit() for n in known):
        return f"number the columns from {name}_0 on, without gaps"
    lower = {n.lower(): n for n in reversed(known)}
    close = difflib.get_close_matches(name, lower, n=1, cutoff=0.7)
    return f"rename {printable(lower[close[0]])!r} to {name!r}" if close else f"save it as {name!r}"


def row_list(rows: NDArray, limit: int = 5) -> str:
    """
    >>> import numpy as np
    >>> row_list(np.array([3, 9, 12]), limit=2)
    'rows 3, 9 and 1 more'
    """
    more = len(rows) - limit
    shown = ("row " if len(rows) == 1 else "rows ") + ", ".join(str(int(row)) for row in rows[:limit])
    return f"{shown} and {more:,} more" if more > 0 else shown
