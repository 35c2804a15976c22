"""Heat maps: one number for every pair of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from disobey.errors import refusal
from disobey.records.results import Axis, Chart

HeatCell: TypeAlias = tuple[str, str, str, float | None]  # (x, y, facet, value)


def heat_map(
    cells: Sequence[HeatCell],
    name: str,
    title: str,
    x: Axis,
    y: Axis,
    value: Axis,
    alt: str,
    *,
    caption: str = "",
    facet: Axis | None = None,
    marks: Mapping[tuple[str, str], str] | None = None,
) -> Chart:
    """Cells shaded by their values.

    Args:
        cells: (x, y, facet, value); None where nothing is known.
        name: stem of the SVG file.
        title: above the chart.
        x: axis of the first entries.
        y: axis of the second.
        value: what the shade means.
        alt: what somebody who cannot see the chart should know.
        caption: below the chart.
        facet: axis of the third entries, where there are panels.
        marks: letters that stand in cells, by (x, y); ``alt`` and ``caption`` should say what each stands for.

    Raises:
        Refusal: ``no-cell`` for a mark without a cell.
    """
    places = dict(marks or {})
    if lost := set(places) - {(cell[0], cell[1]) for cell in cells}:
        raise refusal("no-cell", "marks in cells of the map", sorted(lost), where=f"chart {name!r}")
    columns = {x.column: 0, y.column: 1, value.column: 3} | ({} if facet is None else {facet.column: 2})
    data = {column: tuple(cell[i] for cell in cells) for column, i in columns.items()}
    if places:
        data["mark"] = tuple(places.get((cell[0], cell[1]), "") for cell in cells)
    marked = "mark" if places else ""
    return Chart(name, title, "heatmap", data, x, y, alt, caption=caption, color=value, facet=facet, marked=marked)


def matrix_cells(matrix: NDArray, rows: Sequence[str], columns: Sequence[str], *, decimals: int = 5) -> list[HeatCell]:
    """Cells of a matrix whose rows lie on y and whose columns lie on x; numbers that are not finite become None.

    >>> matrix_cells(np.array([[0.25, np.nan]]), ["a"], ["b", "c"])
    [('b', 'a', '', 0.25), ('c', 'a', '', None)]
    """
    return [
        (column, row, "", round(float(v), decimals) if np.isfinite(v) else None)
        for row, line in zip(rows, matrix, strict=True)
        for column, v in zip(columns, line, strict=True)
    ]
