"""What a refusal of a pair may suggest: the nearest name, what to rename, which rows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from numpy.typing import NDArray

from disobey.errors import printable


def nearest(name: str, names: Iterable[str]) -> str:
    """What to try where ``name`` is unknown: the nearest of the names there are, or nothing.

    >>> nearest("labels", ["lables", "student"])
    "'lables', if that is meant"
    """
    close = difflib.get_close_matches(name, [str(n)[:100] for n in list(names)[:1000]], n=1, cutoff=0.7)
    return f"{printable(close[0])!r}, if that is meant" if close else ""


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
    """Row numbers in words; at most ``limit`` of them are named.

    >>> import numpy as np
    >>> row_list(np.array([3, 9, 12]), limit=2)
    'rows 3, 9 and 1 more'
    """
    more = len(rows) - limit
    shown = ("row " if len(rows) == 1 else "rows ") + ", ".join(str(int(row)) for row in rows[:limit])
    return f"{shown} and {more:,} more" if more > 0 else shown
