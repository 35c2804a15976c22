"""Estimates with their intervals, as lines or as points with whiskers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from disobey.records.results import Axis, Chart, Estimate, Rule

Row: TypeAlias = tuple[float | str, str, str, Estimate]  # (x, color, facet, estimate)


def estimates_chart(
    rows: Sequence[Row],
    name: str,
    title: str,
    x: Axis,
    y: Axis,
    alt: str,
    *,
    kind: Literal["line", "interval"],
    color: str = "model",
    points: bool = False,
    zero: str = "",
) -> Chart:
    """Estimates over x, by color and facet.

    Args:
        rows: (x, color, facet, estimate), one a mark. Without facets where every facet is empty.
        name: stem of the SVG file.
        title: above the chart.
        x: axis of the first entries; its column is ``x``.
        y: axis of the values; its column is ``y``.
        alt: what somebody who cannot see the chart should know.
        kind: ``line`` joins the marks of a color, ``interval`` does not.
        color: name of the column of colors.
        points: whether the estimates are fractions, to be shown as percentage points.
        zero: what a value of 0 means, where that is the question: a line is drawn there.
    """
    factor = 100 if points else 1
    n = rows[0][3].n if rows else 0
    over = rows[0][3].over if rows else "runs"
    data = {
        "x": tuple(row[0] for row in rows),
        "y": tuple(factor * row[3].value for row in rows),
        "low": tuple(factor * row[3].low for row in rows),
        "high": tuple(factor * row[3].high for row in rows),
        color: tuple(row[1] for row in rows),
        "setting": tuple(row[2] for row in rows),
    }
    return Chart(
        name,
        title,
        kind,
        data,
        x,
        y,
        alt,
        caption=f"95% intervals over {n} {over}.",
        color=Axis(color, "", "nominal"),
        facet=Axis("setting", "", "nominal") if any(row[2] for row in rows) else None,
        low="low",
        high="high",
        rules=(Rule(0.0, 0.0, zero),) if zero else (),
        tooltip=("x", color, "y", "low", "high"),
    )
