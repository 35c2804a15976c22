"""`Chart` to Altair to Vega-Lite: one function a kind, one layout for all, data kept apart from the drawing.

A drawing's width is decided where it is shown (a phone, a page, an SVG file), so `Drawing` holds a specification
without widths and without rows, and `specification` puts both in. `report.js` does the same in the browser.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import altair as alt

from disobey.records.results import Chart
from disobey.reports import palette
from disobey.reports.frames import FACET_LABEL, FACET_RULE, POINT, RULE, RULE_LABEL, Frame, Row, Span, bounds, frame
from disobey.reports.histogram import FROM, binned, split_by_color
from disobey.reports.layout import SPACING, Layout, fitted, label_room, layout_of, title_lines
from disobey.reports.rules import clean_rules, is_diagonal, rule_rows, undrawn

WIDTH = 720  # of the SVG file, in CSS pixels
_MARKED = 16  # points of a line up to which each gets a mark
_INK, _MUTED = palette.INK[0], palette.MUTED[0]
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_RULE_DASHES = [[5, 4], [1, 0], [2, 3], [9, 3, 2, 3], [12, 4]]


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


def drawing(chart: Chart) -> Drawing:
    """How a chart is drawn. Raises `Refusal` where it names columns that it does not hold."""
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
    flipped = chart.kind in ("interval", "bar") and _is_wordy(shape.x)
    layers = {"scatter": _cells if dense else _points, "line": _line, "interval": _interval, "heatmap": _heatmap}
    marks = layers.get(chart.kind, _bar)(chart, shape, flipped)
    lines = _rule_layers(chart, shape, flipped)
    # Lines lie over dense cells, which hide them, and under everything else.
    view = alt.layer(*marks, *lines) if dense else alt.layer(*lines, *marks)
    rows = (*shape.rows, *rule_rows(chart.rules, shape))
    notes = (*shape.notes, *undrawn(chart.rules, shape))
    if len(shape.panels) > max(1, across) and any(rule.facet for rule in chart.rules):
        notes = (*notes, f"Labelled lines are those of all points, whatever “{whole.color_title}” is.")
    if any(layer.name == "below" for layer in marks):
        notes = (*notes, "Dots mark cells below zero.")
    side_by_side = bool(_dodge(chart, shape, flipped))
    layout = layout_of(chart, shape, flipped, side_by_side, diagonal, across)
    return Drawing(chart.name, _dressed(view, shape, shape.x if flipped else shape.y), rows, shape.hover, layout, notes)


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


# --- axes and scales ------------------------------------------------------------------------------------------------


def _position(kind: type, field: str, axis: Span, **more: Any) -> Any:
    """`alt.X` or `alt.Y` of one axis."""
    if not axis.numeric:
        # Levels are drawn from the top down and from left to right, in their order.
        return kind(
            field=field,
            type="nominal",
            sort=list(axis.levels),
            title=title_lines(axis.title),
            axis=alt.Axis(labelOverlap="greedy", grid=False, labelAngle=0, domain=False, ticks=False, labelPadding=6),
            **more,
        )
    zero: dict[str, Any] = {} if axis.log else {"zero": False}
    scale = alt.Scale(type="log" if axis.log else "linear", domain=list(axis.domain), nice=False, **zero)
    shown = alt.Axis(labelOverlap=True, labelFlush=False, tickCount=5)
    if axis.ticks and field == "x":
        # An expression, since a linear scale would give `format` the precision of its own steps: 300 as 3e+2.
        plain = "format(datum.value, '~g')"
        shown = alt.Axis(labelOverlap=True, labelFlush=False, values=list(axis.ticks), labelExpr=plain)
    elif axis.log:
        shown = alt.Axis(labelOverlap=True, labelFlush=False, format="~g")
    return kind(field=field, type="quantitative", title=title_lines(axis.title), scale=scale, axis=shown, **more)


def _axes(shape: Frame, flipped: bool, **y: Any) -> dict[str, Any]:
    """Both positions; what is said of ``y`` goes with the values, wherever they lie."""
    if flipped:
        return {"x": _position(alt.X, "y", shape.y, **y), "y": _position(alt.Y, "x", shape.x)}
    return {"x": _position(alt.X, "x", shape.x), "y": _position(alt.Y, "y", shape.y, **y)}


def _color_is_x(chart: Chart) -> bool:
    return chart.color is not None and chart.color.column == chart.x.column


def _series(chart: Chart, shape: Frame, *channels: str, stroke: bool = False) -> dict[str, Any]:
    """Colour, and beside it shape or dash, of every level; one legend for all of them."""
    if not shape.colors:
        return {"color": alt.value(palette.SERIES[0][0])}
    colours, shapes, dashes = palette.series_styles(list(shape.colors))
    domain = list(shape.colors)
    plain: dict[str, Any] = {} if chart.kind == "bar" else {"symbolStrokeWidth": 0}
    if stroke:
        plain = {"symbolType": "stroke", "symbolSize": 300}
    legend = None if _color_is_x(chart) else alt.Legend(symbolLimit=14, titleLimit=600, **plain)
    shared: dict[str, Any] = {"field": "c", "type": "nominal", "title": shape.color_title, "legend": legend}
    encoded: dict[str, Any] = {"color": alt.Color(scale=alt.Scale(domain=domain, range=colours), **shared)}
    if "shape" in channels:
        encoded["shape"] = alt.Shape(scale=alt.Scale(domain=domain, range=shapes), **shared)
    if "dash" in channels:
        encoded["strokeDash"] = alt.StrokeDash(scale=alt.Scale(domain=domain, range=dashes), **shared)
    return encoded


def _dodge(chart: Chart, shape: Frame, flipped: bool) -> dict[str, Any]:
    """Series side by side at each name of the axis."""
    if len(shape.colors) < 2 or shape.x.numeric or _color_is_x(chart):
        return {}
    kind = alt.YOffset if flipped else alt.XOffset
    return {"yOffset" if flipped else "xOffset": kind(field="c", type="nominal", sort=list(shape.colors))}


def _base(name: str, kind: int = POINT, also: str = "") -> alt.Chart:
    return alt.Chart(name=name).transform_filter(f"datum.k === {kind}{also}")


_TOLD = alt.TooltipContent("data")


# --- kinds ----------------------------------------------------------------------------------------------------------


def _points(chart: Chart, shape: Frame, _flipped: bool) -> list[alt.Chart]:
    size = 34 if len(shape.rows) <= 400 else 20 if len(shape.rows) <= 2000 else 12
    base = _base("points")
    faded: Any = alt.value(0.62)
    if shape.colors:
        # A click on the legend picks a series out.
        picked = alt.selection_point(name="picked", fields=["c"], bind="legend")
        base, faded = base.add_params(picked), alt.condition(picked, alt.value(0.62), alt.value(0.06))
    mark = base.mark_point(filled=True, size=size, tooltip=_TOLD)
    return [mark.encode(**_axes(shape, False), **_series(chart, shape, "shape"), opacity=faded)]


def _cells(_chart: Chart, shape: Frame, _flipped: bool) -> list[alt.Chart]:
    classes = list(shape.colors)
    ramp = [light for light, _ in palette.RAMP]
    shades = [ramp[round(i * (len(ramp) - 1) / max(1, len(classes) - 1))] for i in range(len(classes))]
    legend = alt.Legend(symbolType="square", symbolSize=150)
    scale = alt.Scale(domain=classes, range=shades)
    color = alt.Color(field="c", type="nominal", title=shape.color_title, scale=scale, legend=legend)
    axes = _axes(shape, False)
    base = _base("cells").mark_rect(tooltip=_TOLD, stroke=None)
    return [base.encode(**axes, x2=alt.X2(field="x2"), y2=alt.Y2(field="y2"), color=color)]


def _line(chart: Chart, shape: Frame, _flipped: bool) -> list[alt.Chart]:
    few = _longest_line(shape) <= _MARKED
    axes, series = _axes(shape, False), _series(chart, shape, stroke=not few)
    layers = []
    if any(row.get("l") is not None for row in shape.rows):
        edges = {"y": _position(alt.Y, "l", shape.y), "y2": alt.Y2(field="h")}
        band = _base("band").mark_area(opacity=0.17, invalid="break-paths-show-domains")
        layers.append(band.encode(**axes | edges, **series))
    # A gap in the numbers stays a gap in the line.
    line = _base("line").mark_line(strokeWidth=2, invalid="break-paths-show-domains")
    joined: dict[str, Any] = {"order": alt.Order(field="o", type="quantitative")} if chart.order else {}
    layers.append(line.encode(**axes, **_series(chart, shape, "dash", stroke=not few), **joined))
    dots = _base("dots", POINT, " && isValid(datum.y)")
    if few:
        dots = dots.mark_point(filled=True, size=46, opacity=1, tooltip=_TOLD)
        return [*layers, dots.encode(**axes, **_series(chart, shape, "shape"))]
    # Marks would hide a long line's dashes; unseen ones still answer a pointer.
    dots = dots.mark_point(filled=True, size=46, opacity=0, tooltip=_TOLD)
    return [*layers, dots.encode(**axes)]


def _longest_line(shape: Frame) -> int:
    lengths = Counter((row.get("c"), row.get("p")) for row in shape.rows)
    return max(lengths.values(), default=0)


def _whisker(chart: Chart, shape: Frame, flipped: bool, color: Any) -> list[alt.Chart]:
    if not any(row.get("l") is not None for row in shape.rows):
        return []
    along = ("x", alt.X, alt.X2) if flipped else ("y", alt.Y, alt.Y2)
    ends = {along[0]: _position(along[1], "l", shape.y), along[0] + "2": along[2](field="h")}
    base = _base("whiskers", POINT, " && isValid(datum.l) && isValid(datum.h)").mark_rule(strokeWidth=1.8)
    return [base.encode(**_axes(shape, flipped) | ends, **_dodge(chart, shape, flipped), color=color)]


def _interval(chart: Chart, shape: Frame, flipped: bool) -> list[alt.Chart]:
    series = _series(chart, shape, "shape")
    dots = _base("dots").mark_point(filled=True, size=62, opacity=1, tooltip=_TOLD)
    dots = dots.encode(**_axes(shape, flipped), **series, **_dodge(chart, shape, flipped))
    return [*_whisker(chart, shape, flipped, series["color"]), dots]


def _bar(chart: Chart, shape: Frame, flipped: bool) -> list[alt.Chart]:
    bars = _base("bars").mark_bar(tooltip=_TOLD, stroke=_INK, strokeWidth=0.6)
    bars = bars.encode(**_axes(shape, flipped, stack=None), **_series(chart, shape), **_dodge(chart, shape, flipped))
    return [bars, *_whisker(chart, shape, flipped, alt.value(_MUTED))]


def _heatmap(_chart: Chart, shape: Frame, _flipped: bool) -> list[alt.Chart]:
    values = [row["v"] for row in shape.rows if isinstance(row.get("v"), (int, float))]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low < 0 < high:
        ramp, domain = palette.DIVERGING, [-max(-low, high), max(-low, high)]
    else:
        ramp, domain = palette.RAMP, [low, high if high > low else low + 1.0]
    title = shape.color_title
    scale = alt.Scale(type="quantize", domain=domain, range=[light for light, _ in ramp], nice=False)
    legend = alt.Legend(gradientLength=240, gradientThickness=10, format="~g", titleLimit=600)
    color = alt.Color(field="v", type="quantitative", title=title, scale=scale, legend=legend)
    axes = _axes(shape, False)
    known = " && isValid(datum.v)"
    cells = _base("cells", POINT, known).mark_rect(tooltip=_TOLD, stroke=palette.PAPER[0], strokeWidth=1)
    layers = [cells.encode(**axes, color=color)]
    if len(shape.x.levels) <= 8 and len(shape.panels) <= 1:
        cut = [domain[0] + (domain[1] - domain[0]) * share for share in (2 / 7, 5 / 7)]
        strong = f"datum.v > {cut[1]:.5g}" + (f" || datum.v < {cut[0]:.5g}" if low < 0 < high else "")
        ink = alt.condition(strong, alt.value(palette.ON_STRONG[0]), alt.value(palette.ON_WEAK[0]))
        text = alt.Text(field="v", type="quantitative", format=".3~g")
        layers.append(_base("numbers", POINT, known).mark_text(fontSize=11).encode(**axes, text=text, color=ink))
    elif low < 0 < high:
        # On a grey printer both ends of the ramp are dark: a dot says "below zero".
        dots = _base("below", POINT, " && datum.v < 0").mark_point(filled=True, size=16, opacity=1)
        layers.append(dots.encode(**axes, color=alt.value(palette.ON_WEAK[0])))
    return layers


# --- lines across ---------------------------------------------------------------------------------------------------


def _rule_layers(chart: Chart, shape: Frame, flipped: bool) -> list[alt.Chart]:
    if not chart.rules or not shape.y.numeric:
        return []
    common = [rule.label for rule in chart.rules if not (rule.facet and shape.panels)]
    layers = []
    if not shape.x.numeric:
        value = {"x": _position(alt.X, "y", shape.y)} if flipped else {"y": _position(alt.Y, "y", shape.y)}
        for kind in (RULE, FACET_RULE):
            base = _base(f"across{kind}", kind).mark_rule(strokeDash=[5, 4], color=_MUTED, strokeWidth=1.2)
            layers.append(base.encode(**value))
        place: dict[str, Any] = {"align": "center", "dy": -3} if flipped else {"align": "right", "dy": -4}
        label = _base("labels", RULE_LABEL).mark_text(baseline="bottom", fontSize=11, color=_MUTED, **place)
        far = {"y": alt.value(0)} if flipped else {"x": alt.value("width")}
        return [*layers, label.encode(**value, **far, text=alt.Text(field="r", type="nominal"))]
    axes = {"x": _position(alt.X, "x", shape.x), "y": _position(alt.Y, "y", shape.y)}
    detail = alt.Detail(field="i", type="nominal")
    if common and chart.kind == "scatter":
        dashes = [_RULE_DASHES[i % len(_RULE_DASHES)] for i in range(len(common))]
        legend = alt.Legend(title=None, symbolType="stroke", symbolSize=300, symbolStrokeColor=_INK)
        scale = alt.Scale(domain=common, range=dashes)
        dash: dict[str, Any] = {"strokeDash": alt.StrokeDash(field="r", type="nominal", scale=scale, legend=legend)}
        base = _base("across", RULE).mark_line(color=_INK, strokeWidth=1.4)
        layers.append(base.encode(**axes, **dash, detail=detail))
    elif common:
        base = _base("across", RULE).mark_line(color=_MUTED, strokeWidth=1.2, strokeDash=[5, 4])
        layers.append(base.encode(**axes, detail=detail))
        label = _base("labels", RULE_LABEL)
        label = label.mark_text(align="right", baseline="bottom", dy=-4, fontSize=11, color=_MUTED)
        layers.append(label.encode(**axes, text=alt.Text(field="r", type="nominal")))
    if any(rule.facet for rule in chart.rules) and shape.panels:
        base = _base("fits", FACET_RULE).mark_line(color=_INK, strokeWidth=1.8)
        layers.append(base.encode(**axes, detail=detail))
        for line in range(sum(bool(rule.facet) for rule in chart.rules)):
            text = _base(f"label{line}", FACET_LABEL, f" && datum.j === {line}")
            text = text.mark_text(align="left", baseline="top", dx=5, dy=5 + 14 * line, fontSize=11, color=_INK)
            layers.append(text.encode(**axes, text=alt.Text(field="r", type="nominal")))
    return layers


def _dressed(view: Any, shape: Frame, side: Span) -> dict[str, Any]:
    """The view with its rows' name, its panels and its look, as plain JSON."""
    rows = alt.NamedData(name="rows")
    if shape.panels:
        header = alt.Header(title=None, labelFontSize=12, labelFontWeight=600, labelColor=_INK, labelPadding=6)
        facet = alt.Facet(field="p", type="nominal", sort=list(shape.panels), header=header)
        chart: Any = view.facet(facet=facet, columns=3, data=rows, spacing=SPACING)
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
