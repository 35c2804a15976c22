"""The marks of every kind of chart, as Altair layers with their axes, colours, shapes and dashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt

from disobey.records.results import Chart
from disobey.reports import palette
from disobey.reports.frames import POINT, Frame, Span
from disobey.reports.layout import title_lines

_MARKED = 16  # points of a line up to which each gets a mark
_FEW = 12  # names on an axis of a heat map that are read in full size
_INK, _MUTED = palette.INK[0], palette.MUTED[0]
_TOLD = alt.TooltipContent("data")


@dataclass(frozen=True)
class View:
    """What the marks of a chart are made from.

    Attributes:
        chart: as it was given.
        shape: its rows, axes and levels.
        flipped: whether it lies on its side, for names that need lines of their own.
        dense: whether its points are counted in cells.
        styles: how each level of the page is drawn.
    """

    chart: Chart
    shape: Frame
    flipped: bool
    dense: bool
    styles: Mapping[str, palette.Style]


def position(kind: type, field: str, axis: Span, *, small: bool = False, **more: Any) -> Any:
    """`alt.X` or `alt.Y` of one axis. small: many names, so turned, shortened in the middle and in a small type."""
    if not axis.numeric:
        words: dict[str, Any] = {"labelAngle": 0, "labelPadding": 6}
        if small:
            # The middle goes: names often begin alike. An expression without a word of the user's.
            middle = "slice(datum.label, 0, 10) + '…' + slice(datum.label, -9)"
            words = {"labelFontSize": 9, "labelPadding": 3, "labelAngle": -50 if field == "x" else 0}
            words |= {"labelExpr": f"length(datum.label) > 20 ? {middle} : datum.label"}
        # Levels are drawn from the top down and from left to right, in their order.
        return kind(
            field=field,
            type="nominal",
            sort=list(axis.levels),
            title=title_lines(axis.title),
            axis=alt.Axis(labelOverlap="greedy", grid=False, domain=False, ticks=False, **words),
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


def _axes(view: View, **y: Any) -> dict[str, Any]:
    """Both positions; what is said of ``y`` goes with the values, wherever they lie."""
    shape = view.shape
    if view.flipped:
        return {"x": position(alt.X, "y", shape.y, **y), "y": position(alt.Y, "x", shape.x)}
    return {"x": position(alt.X, "x", shape.x), "y": position(alt.Y, "y", shape.y, **y)}


def _series(view: View, *channels: str, stroke: bool = False) -> dict[str, Any]:
    """Colour, and beside it shape or dash, of every level; one legend for all of them."""
    chart, shape = view.chart, view.shape
    if not shape.colors:
        return {"color": alt.value(palette.SERIES[0][0])}
    styles = [view.styles[level] for level in shape.colors]
    colours, shapes, dashes = [s.colour for s in styles], [s.shape for s in styles], [list(s.dash) for s in styles]
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


def _color_is_x(chart: Chart) -> bool:
    return chart.color is not None and chart.color.column == chart.x.column


def dodges(view: View) -> bool:
    """Whether series stand side by side at each name of the axis: only where a name has marks of several."""
    shape = view.shape
    if len(shape.colors) < 2 or shape.x.numeric or _color_is_x(view.chart):
        return False
    marks = {(str(row["x"]), row["c"]) for row in shape.rows}
    return len(marks) > len({name for name, _ in marks})


def _dodge(view: View) -> dict[str, Any]:
    if not dodges(view):
        return {}
    kind = alt.YOffset if view.flipped else alt.XOffset
    return {"yOffset" if view.flipped else "xOffset": kind(field="c", type="nominal", sort=list(view.shape.colors))}


def layer(name: str, kind: int = POINT, also: str = "") -> alt.Chart:
    """A layer of the rows of one kind."""
    return alt.Chart(name=name).transform_filter(f"datum.k === {kind}{also}")


def marks(view: View) -> list[alt.Chart]:
    """The layers of a chart's marks, the lowest first."""
    kinds = {"scatter": _cells if view.dense else _points, "line": _line, "interval": _interval, "heatmap": _heatmap}
    return kinds.get(view.chart.kind, _bar)(view)


def _points(view: View) -> list[alt.Chart]:
    shape = view.shape
    size = 34 if len(shape.rows) <= 400 else 20 if len(shape.rows) <= 2000 else 12
    points = layer("points")
    faded: Any = alt.value(0.62)
    if shape.colors:
        # A click on the legend picks a series out.
        picked = alt.selection_point(name="picked", fields=["c"], bind="legend")
        points, faded = points.add_params(picked), alt.condition(picked, alt.value(0.62), alt.value(0.06))
    mark = points.mark_point(filled=True, size=size, tooltip=_TOLD)
    drawn = [mark.encode(**_axes(view), **_series(view, "shape"), opacity=faded)]
    if any(row.get("g") for row in shape.rows):
        rings = layer("ringed", POINT, " && datum.g === 1").mark_point(
            filled=False, size=110, opacity=1, strokeWidth=1.3
        )
        drawn.append(rings.encode(**_axes(view), color=alt.value(_INK)))
    return drawn


def _cells(view: View) -> list[alt.Chart]:
    shape = view.shape
    classes = list(shape.colors)
    ramp = [light for light, _ in palette.RAMP]
    shades = [ramp[round(i * (len(ramp) - 1) / max(1, len(classes) - 1))] for i in range(len(classes))]
    legend = alt.Legend(symbolType="square", symbolSize=150)
    scale = alt.Scale(domain=classes, range=shades)
    color = alt.Color(field="c", type="nominal", title=shape.color_title, scale=scale, legend=legend)
    axes = _axes(view)
    cells = layer("cells").mark_rect(tooltip=_TOLD, stroke=None)
    return [cells.encode(**axes, x2=alt.X2(field="x2"), y2=alt.Y2(field="y2"), color=color)]


def _line(view: View) -> list[alt.Chart]:
    shape = view.shape
    few = _longest_line(view.shape) <= _MARKED
    axes, series = _axes(view), _series(view, stroke=not few)
    layers = []
    if any(row.get("l") is not None for row in shape.rows):
        edges = {"y": position(alt.Y, "l", shape.y), "y2": alt.Y2(field="h")}
        band = layer("band").mark_area(opacity=0.17, invalid="break-paths-show-domains")
        layers.append(band.encode(**axes | edges, **series))
    # A gap in the numbers stays a gap in the line.
    line = layer("line").mark_line(strokeWidth=2, invalid="break-paths-show-domains")
    joined: dict[str, Any] = {"order": alt.Order(field="o", type="quantitative")} if view.chart.order else {}
    layers.append(line.encode(**axes, **_series(view, "dash", stroke=not few), **joined))
    dots = layer("dots", POINT, " && isValid(datum.y)")
    if few:
        dots = dots.mark_point(filled=True, size=46, opacity=1, tooltip=_TOLD)
        return [*layers, dots.encode(**axes, **_series(view, "shape"))]
    # Marks would hide a long line's dashes; unseen ones still answer a pointer.
    dots = dots.mark_point(filled=True, size=46, opacity=0, tooltip=_TOLD)
    return [*layers, dots.encode(**axes)]


def _longest_line(shape: Frame) -> int:
    lengths = Counter((row.get("c"), row.get("p")) for row in shape.rows)
    return max(lengths.values(), default=0)


def _whisker(view: View, color: Any) -> list[alt.Chart]:
    shape = view.shape
    if not any(row.get("l") is not None for row in shape.rows):
        return []
    along = ("x", alt.X, alt.X2) if view.flipped else ("y", alt.Y, alt.Y2)
    ends = {along[0]: position(along[1], "l", shape.y), along[0] + "2": along[2](field="h")}
    whiskers = layer("whiskers", POINT, " && isValid(datum.l) && isValid(datum.h)").mark_rule(strokeWidth=1.8)
    return [whiskers.encode(**_axes(view) | ends, **_dodge(view), color=color)]


def _interval(view: View) -> list[alt.Chart]:
    series = _series(view, "shape")
    dots = layer("dots").mark_point(filled=True, size=62, opacity=1, tooltip=_TOLD)
    dots = dots.encode(**_axes(view), **series, **_dodge(view))
    return [*_whisker(view, series["color"]), dots]


def _bar(view: View) -> list[alt.Chart]:
    bars = layer("bars").mark_bar(tooltip=_TOLD, stroke=_INK, strokeWidth=0.6)
    bars = bars.encode(**_axes(view, stack=None), **_series(view), **_dodge(view))
    return [bars, *_whisker(view, alt.value(_MUTED))]


def _heatmap(view: View) -> list[alt.Chart]:
    shape = view.shape
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
    many = len(shape.x.levels) > _FEW
    axes = {"x": position(alt.X, "x", shape.x, small=many), "y": position(alt.Y, "y", shape.y, small=many)}
    known = " && isValid(datum.v)"
    cells = layer("cells", POINT, known).mark_rect(tooltip=_TOLD, stroke=palette.PAPER[0], strokeWidth=1)
    layers = [cells.encode(**axes, color=color)]
    if len(shape.x.levels) <= 8 and len(shape.panels) <= 1:
        cut = [domain[0] + (domain[1] - domain[0]) * share for share in (2 / 7, 5 / 7)]
        strong = f"datum.v > {cut[1]:.5g}" + (f" || datum.v < {cut[0]:.5g}" if low < 0 < high else "")
        ink = alt.condition(strong, alt.value(palette.ON_STRONG[0]), alt.value(palette.ON_WEAK[0]))
        text = alt.Text(field="v", type="quantitative", format=".3~g")
        free = known + " && !isValid(datum.m)" * bool(view.chart.marked)
        layers.append(layer("numbers", POINT, free).mark_text(fontSize=11).encode(**axes, text=text, color=ink))
    elif low < 0 < high:
        # On a grey printer both ends of the ramp are dark: a dot says "below zero", where the shade says so, too.
        dot: dict[str, Any] = {"size": 4, "opacity": 0.6} if many else {"size": 16, "opacity": 1}
        dots = layer("below", POINT, f" && datum.v < {-domain[1] / 7:.5g}").mark_point(filled=True, **dot)
        layers.append(dots.encode(**axes, color=alt.value(palette.ON_WEAK[0])))
    return [*layers, *_letters(axes)] if view.chart.marked else layers


def _letters(axes: Mapping[str, Any]) -> list[alt.Chart]:
    """Letters on discs: legible on every shade, and on a grey printer."""
    marked = " && isValid(datum.m)"
    disc = layer("discs", POINT, marked).mark_point(
        filled=True, size=230, opacity=1, fill=palette.PAPER[0], stroke=_INK, strokeWidth=1.2, tooltip=_TOLD
    )
    letter = layer("letters", POINT, marked).mark_text(fontSize=11, fontWeight="bold", tooltip=_TOLD)
    text = alt.Text(field="m", type="nominal")
    return [disc.encode(**axes), letter.encode(**axes, text=text, color=alt.value(_INK))]
