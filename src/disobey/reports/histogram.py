"""Many points as a 2-D histogram, made before anything is embedded: a report's size does not follow its data's."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.reports.frames import POINT, Frame, Row, Span

FROM = 5_000  # points from which a scatter is drawn as a histogram
_MOST_SPLIT = 4  # levels of colour that get panels of their own


def edges(axis: Span, bins: int) -> NDArray:
    """``bins + 1`` edges over an axis' range, evenly spaced as the axis is.

    >>> edges(Span("x", True, domain=(0.0, 1.0)), 4)
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    low, high = axis.domain
    return np.geomspace(low, high, bins + 1) if axis.log else np.linspace(low, high, bins + 1)


def thresholds(most: int, steps: int = 7) -> list[int]:
    """At most ``steps - 1`` counts at which the shade changes, about evenly spaced in ratio, round where they can be.

    >>> thresholds(5), thresholds(1000)
    ([2, 3, 4, 5], [3, 8, 20, 50, 150, 400])
    """
    found = set()
    for i in range(1, steps):
        raw = most ** (i / steps)
        size = 10 ** math.floor(math.log10(raw)) if raw >= 1 else 1
        nice = min((1, 1.5, 2, 3, 4, 5, 6, 8, 10), key=lambda m: abs(math.log(m * size / raw)))
        found.add(max(2, round(nice * size)))
    small = list(range(2, most + 1))
    return small if most <= steps else sorted(found)


def split_by_color(frame: Frame) -> Frame:
    """Colours moved into panels, one row of panels a level: shades cannot show two crowds in one place.

    With more than four levels the colour is left out, and a note says so.
    """
    if len(frame.colors) <= 1:
        return replace(frame, colors=())
    if len(frame.colors) > _MOST_SPLIT:
        note = f"{frame.color_title} has {len(frame.colors)} levels, too many to be told apart among so many points."
        return replace(frame, colors=(), notes=(*frame.notes, note))
    facets = frame.panels or ("",)
    names = {(facet, color): " · ".join(filter(None, (facet, color))) for color in frame.colors for facet in facets}
    rows = tuple(row | {"p": names[row.get("p", ""), row["c"]]} for row in frame.rows)
    hover = tuple((field, words) for field, words in frame.hover if field not in ("c", "p"))
    return replace(frame, rows=rows, colors=(), panels=tuple(names.values()), hover=(*hover, ("p", "among")))


def binned(frame: Frame, bins: int) -> Frame:
    """A frame of cells (x to x2, y to y2, count n), each with its first example for the hover.

    Counts of a panel add up to its points: the ranges of both axes hold every point.
    """
    x_edges, y_edges = edges(frame.x, bins), edges(frame.y, bins)
    rows: list[Row] = []
    for panel in frame.panels or (None,):
        members = [row for row in frame.rows if row.get("p") == panel]
        rows += _cells(members, x_edges, y_edges, panel)
    told = tuple((field, words) for field, words in frame.hover if field not in ("c", "p"))
    hover = (("n", "examples here"), *told, *((f, w) for f, w in frame.hover if f == "p"))
    most = max((row["n"] for row in rows), default=1)
    starts = [1, *thresholds(most)]
    names = classes(starts)
    shaded = tuple(row | {"c": names[bisect.bisect_right(starts, row["n"]) - 1]} for row in rows)
    return replace(frame, rows=shaded, hover=hover, colors=tuple(names), color_title="examples in a cell")


def classes(starts: Sequence[int]) -> list[str]:
    """Names of the counts between one start and the next.

    >>> classes([1, 2, 5])
    ['1', '2–4', '5 or more']
    """
    ends = [start - 1 for start in starts[1:]]
    names = [f"{start:,}" if start == end else f"{start:,}–{end:,}" for start, end in zip(starts, ends, strict=False)]
    return [*names, f"{starts[-1]:,} or more" if len(starts) > 1 else f"{starts[-1]:,}"]


def _cells(members: Sequence[Row], x_edges: NDArray, y_edges: NDArray, panel: str | None) -> list[Row]:
    if not members:
        return []
    bins = len(x_edges) - 1
    x = np.array([row["x"] for row in members], float)
    y = np.array([row["y"] for row in members], float)
    column = np.clip(np.searchsorted(x_edges, x, side="right") - 1, 0, bins - 1)
    line = np.clip(np.searchsorted(y_edges, y, side="right") - 1, 0, bins - 1)
    cells, first, counts = np.unique(line * bins + column, return_index=True, return_counts=True)
    rows = []
    for cell, example, n in zip(cells.tolist(), first.tolist(), counts.tolist(), strict=True):
        i, j = divmod(cell, bins)
        row = {"k": POINT, "x": _short(x_edges[j]), "x2": _short(x_edges[j + 1])}
        row |= {"y": _short(y_edges[i]), "y2": _short(y_edges[i + 1]), "n": n}
        row |= {name: value for name, value in members[example].items() if name.startswith("t")}
        rows.append(row if panel is None else row | {"p": panel})
    return rows


def _short(value: Any) -> float:
    return float(f"{value:.5g}")
