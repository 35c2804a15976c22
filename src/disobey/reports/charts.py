"""`Chart` to Altair to Vega-Lite: one function a kind, one layout for all, data kept apart from the drawing.

A drawing's width is decided where it is shown (a phone, a page, an SVG file), so `Drawing` holds a specification
without widths and without rows, and `specification` puts both in. `report.js` does the same in the browser.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import altair as alt

from disobey.records.results import Chart
from disobey.reports import palette
from disobey.reports.frames import Frame, Row, Span, bounds, color_levels, frame
from disobey.reports.histogram import FROM, binned, split_by_color
from disobey.reports.layout import SPACING, Layout, fitted, label_room, layout_of, side_by_side
from disobey.reports.lines import lines
from disobey.reports.marks import View, dodges, marks
from disobey.reports.rules import clean_rules, is_diagonal, rule_rows, undrawn

WIDTH = 720  # of the SVG file, in CSS pixels
_INK, _MUTED = palette.INK[0], palette.MUTED[0]
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class Drawing:
    """A chart ready to be drawn: Vega-Lite without rows and widths, the rows, and what a hover shows."""

    name: str
    spec: dict[str, Any]
    rows: tuple[Row, ...]
    hover: tuple[tuple[str, str], ...]
    layout: Layout
    notes: tuple[str, ...]


def specification(drawing: Drawing, width: int = WIDTH) -> dict[str, Any]:
    """Complete Vega-Lite of a drawing at a width, rows included."""
    across, panel, height = fitted(drawing.layout, width)
    spec = copy.deepcopy(drawing.spec)
    inner = spec["spec"] if "facet" in spec else spec
    inner |= {"width": panel, "height": height}
    if "facet" in spec:
        spec["columns"] = across
    if drawing.layout.legend:
        spec["config"]["legend"]["columns"] = max(1, (width - 40) // drawing.layout.legend)
    spec["config"]["legend"]["labelLimit"] = min(330, max(100, width - drawing.layout.chrome - 8))
    if width < 480:
        spec["config"]["legend"]["layout"] = {"top": {"direction": "vertical", "anchor": "start"}}
    return spec | {"datasets": {"rows": [dict(row) for row in drawing.rows]}}


def drawing(chart: Chart, styles: Mapping[str, palette.Style] | None = None, linked: Collection[str] = ()) -> Drawing:
    """How a chart is drawn. Raises `Refusal` where it names columns that it does not hold.

    Args:
        chart: what it shows.
        styles: how every level of its page is drawn (`palette.cast`); its own alone where None.
        linked: names of examples (of its column ``key``) that the page shows elsewhere: their marks get a ring.
    """
    chart = replace(chart, rules=clean_rules(chart.rules))
    shape = frame(chart)
    diagonal = chart.kind == "scatter" and shape.x.numeric and shape.y.numeric and any(map(is_diagonal, chart.rules))
    if diagonal and not (shape.x.log or shape.y.log):
        both = bounds([*shape.x.domain, *shape.y.domain], False, pad=0.0)
        shape = replace(shape, x=replace(shape.x, domain=both), y=replace(shape.y, domain=both))
    shape = _with_rules_in_range(chart, shape)
    dense = chart.kind == "scatter" and len(shape.rows) >= FROM and shape.x.numeric and shape.y.numeric
    across = max(1, len(shape.panels))
    whole = shape
    if dense:
        shape = binned(split_by_color(shape), 36 if len(shape.panels) > 2 else 48)
    elif linked and chart.key and chart.kind == "scatter":
        shape = replace(shape, rows=tuple(row | {"g": 1} if row["e"] in linked else row for row in shape.rows))
    flipped = chart.kind in ("interval", "bar") and _is_wordy(shape.x)
    view = View(chart, shape, flipped, dense, styles or palette.cast([color_levels(chart)]))
    drawn = marks(view)
    # Lines lie over dense cells, which hide them, and under everything else.
    layers = alt.layer(*drawn, *lines(view)) if dense else alt.layer(*lines(view), *drawn)
    rows = (*shape.rows, *rule_rows(chart.rules, shape))
    notes = (*shape.notes, *undrawn(chart.rules, shape))
    if len(shape.panels) > max(1, across) and any(rule.facet for rule in chart.rules):
        notes = (*notes, f"Labelled lines are those of all points, whatever “{whole.color_title}” is.")
    notes = (*notes, *(note for name, note in _NOTES.items() if any(layer.name == name for layer in drawn)))
    layout = layout_of(chart, shape, flipped, dodges(view), diagonal, across)
    spec = _dressed(layers, shape, shape.x if flipped else shape.y)
    return Drawing(chart.name, spec, rows, shape.hover, layout, notes)


_NOTES = {
    "below": "Dots mark cells below zero.",
    "ringed": "Ringed examples are shown one by one below: a click on a ring goes there.",
}


def _with_rules_in_range(chart: Chart, shape: Frame) -> Frame:
    """A horizontal reference line is worth seeing even where no point comes near it."""
    if chart.kind not in ("interval", "line", "bar") or not shape.y.numeric:
        return shape
    levels = [rule.intercept for rule in chart.rules if rule.slope == 0 and math.isfinite(rule.intercept)]
    if not levels or shape.y.log:
        return shape
    low, high = shape.y.domain
    outside = [level for level in levels if not low <= level <= high]
    domain = bounds([low, high, *outside], False, pad=0.04 if outside else 0.0)
    return replace(shape, y=replace(shape.y, domain=domain))


def _is_wordy(axis: Span) -> bool:
    """Whether an axis' names need lines of their own: then the chart lies on its side."""
    return not axis.numeric and (len(axis.levels) > 6 or max(map(len, axis.levels), default=0) > 9)


def _dressed(view: Any, shape: Frame, side: Span) -> dict[str, Any]:
    """The view with its rows' name, its panels and its look, as plain JSON."""
    rows = alt.NamedData(name="rows")
    if shape.panels:
        header = alt.Header(title=None, labelFontSize=12, labelFontWeight=600, labelColor=_INK, labelPadding=6)
        facet = alt.Facet(field="p", type="nominal", sort=list(shape.panels), header=header)
        chart: Any = view.facet(facet=facet, columns=side_by_side(len(shape.panels)), data=rows, spacing=SPACING)
    else:
        chart = view.properties(data=rows)
    spec = chart.to_dict()
    spec["padding"] = {"left": 4, "right": 14, "top": 4, "bottom": 4}
    spec["background"] = palette.PAPER[0]
    spec["config"] = _config(label_room(side))
    return spec


def _config(room: int) -> dict[str, Any]:
    grid, edge = palette.GRID[0], palette.EDGE[0]
    axis = {"labelColor": _MUTED, "titleColor": _INK, "gridColor": grid, "domainColor": edge, "tickColor": edge}
    axis |= {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": 500, "titlePadding": 8, "tickSize": 4}
    return {
        "font": _FONT,
        "aria": False,
        "lineBreak": "\n",
        "view": {"stroke": grid},
        "axis": axis,
        "axisY": {"minExtent": room, "maxExtent": room, "labelLimit": room - 8},
        "axisX": {"labelLimit": 110},
        "legend": {
            "orient": "top",
            "direction": "horizontal",
            "labelColor": _INK,
            "titleColor": _MUTED,
            "labelFontSize": 11.5,
            "titleFontSize": 11.5,
            "titleFontWeight": 500,
            "gradientStrokeColor": grid,
            "symbolSize": 90,
            "symbolOpacity": 1,
            "rowPadding": 4,
            "columnPadding": 14,
            "columns": 4,
        },
    }
