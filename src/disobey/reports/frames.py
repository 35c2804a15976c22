"""A chart's columns as clean rows under names of our own: what the drawing functions and the page both read.

Column names and classes come from users' data, so none of them reaches a Vega expression: fields are called x, y,
c (color), p (panel), l and h (low and high), v (a heat map's value), m (the letter in its cell), e (the example), g
(whether it is shown elsewhere), z (a rule at zero), t0, t1, ... (what a hover shows).
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from disobey.errors import refusal
from disobey.records.results import Axis, Chart, Estimate
from disobey.reports.cells import MISSING, without_controls

Row = dict[str, Any]
POINT, RULE, FACET_RULE, FACET_LABEL, RULE_LABEL = 0, 1, 2, 3, 4  # what a row's k says it is
_LONGEST = 160  # characters of a text that a hover shows


@dataclass(frozen=True)
class Span:
    """What a position's axis shows: a range of numbers, or levels in their order."""

    title: str
    numeric: bool
    log: bool = False
    domain: tuple[float, float] = (0.0, 1.0)
    levels: tuple[str, ...] = ()
    ticks: tuple[float, ...] = ()  # where the few distinct values are, else empty


@dataclass(frozen=True)
class Frame:
    """A chart's rows with its axes, levels, what a hover shows, and notes on what is not drawn."""

    rows: tuple[Row, ...]
    x: Span
    y: Span
    colors: tuple[str, ...] = ()
    color_title: str = ""
    panels: tuple[str, ...] = ()
    hover: tuple[tuple[str, str], ...] = ()  # (field, words)
    notes: tuple[str, ...] = ()


def plain(cell: Any) -> str | int | float | None:
    """A cell as Vega can take it: an estimate's value, five significant digits, ``None`` for NaN and infinities.

    >>> plain(Estimate("a", 0.1234567, 0, 1, 0.95, 5, "runs")), plain(float("inf")), plain(True)
    (0.12346, None, 'yes')
    """
    if isinstance(cell, Estimate):
        cell = cell.value
    if hasattr(cell, "item"):
        cell = cell.item()
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return float(f"{cell:.5g}") if math.isfinite(cell) else None
    if cell is None or isinstance(cell, int):
        return cell
    text = without_controls(str(cell))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def column(chart: Chart, name: str) -> list[str | int | float | None]:
    """One column of a chart. Raises `Refusal` where the chart names a column that it does not hold."""
    if name not in chart.data:
        raise refusal("no-column", f"a column {name!r}", f"only {sorted(chart.data)}", where=f"chart {chart.name!r}")
    return [plain(cell) for cell in chart.data[name]]


def all_numbers(values: Sequence[Any]) -> bool:
    """Whether every value that is there is a number (and one is)."""
    there = [value for value in values if value is not None]
    return bool(there) and not any(isinstance(value, str) for value in there)


def level(value: Any) -> str:
    """A category's name: ``4.0`` is "4", what is missing is a dash."""
    if value is None:
        return MISSING
    return f"{value:g}" if isinstance(value, float) else " ".join(without_controls(str(value)).split()) or MISSING


def lines(name: str, width: int = 18) -> str:
    r"""A category's name in up to three lines for an axis; distinct names stay distinct.

    >>> lines("languages, 20% noise")
    'languages, 20%\nnoise'
    """
    parts = textwrap.wrap(name, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join([*parts[:2], " ".join(parts[2:])]) if len(parts) > 2 else "\n".join(parts)


def levels(values: Sequence[Any]) -> tuple[str, ...]:
    """Distinct levels: numbers ascending, names in order of first appearance.

    >>> levels([10.0, 1.0, 4.0, 1.0]), levels(["b", "a", "b"])
    (('1', '4', '10'), ('b', 'a'))
    """
    if all_numbers(values):
        values = sorted(value for value in values if value is not None) + [None] * (None in values)
    return tuple(dict.fromkeys(map(level, values)))


def bounds(values: Sequence[Any], log: bool, *, pad: float = 0.04) -> tuple[float, float]:
    """A range around numbers with a margin; one around 0 to 1 where there are none.

    >>> bounds([0.0, 10.0], False), bounds([2.0], False), bounds([1.0, 100.0], True, pad=0.0)
    ((-0.4, 10.4), (1.5, 2.5), (1.0, 100.0))
    """
    there = [float(value) for value in values if value is not None and (value > 0 or not log)]
    if not there:
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = min(there), max(there)
    if log:
        low, high = math.log(low), math.log(high)
    margin = pad * (high - low) if high > low else 0.5 * (1.0 if log else max(1.0, abs(high) * 0.1))
    low, high = low - margin, high + margin
    if log:
        low, high = math.exp(low), math.exp(high)
    return float(f"{low:.6g}"), float(f"{high:.6g}")


def span(axis: Axis, values: Sequence[Any], extra: Sequence[Any] = (), *, nominal: bool = False) -> Span:
    """How an axis is laid out; ``extra`` numbers (bounds of bands, a bar's zero) must fit on it as well."""
    if nominal or axis.scale == "nominal" or not all_numbers(values):
        return Span(
            axis.title, False, levels=tuple(map(lines, levels([value for value in values if value is not None])))
        )
    log = axis.scale == "log"
    distinct = sorted({value for value in values if value is not None})
    ticks = tuple(distinct) if len(distinct) <= 8 else ()
    return Span(axis.title, True, log, bounds([*values, *extra], log), ticks=ticks)


def _whiskers(chart: Chart) -> tuple[list[Any], list[Any]]:
    """Low and high of every row: named columns, or the bounds of estimates on the y axis."""
    cells = chart.data.get(chart.y.column, ())
    low = column(chart, chart.low) if chart.low else [plain(c.low) if isinstance(c, Estimate) else None for c in cells]
    high = (
        column(chart, chart.high) if chart.high else [plain(c.high) if isinstance(c, Estimate) else None for c in cells]
    )
    # A whisker with one end is none: half of it would read as an interval.
    both = [None not in pair for pair in zip(low, high, strict=True)]
    return (
        [v if ok else None for v, ok in zip(low, both, strict=True)],
        [v if ok else None for v, ok in zip(high, both, strict=True)],
    )


def _hover(chart: Chart) -> list[tuple[str, str, str]]:
    """(field, column, words) of what a hover shows: the example's own columns first, then where it is."""
    fields = {chart.x.column: "x", chart.y.column: "y"}
    words = {chart.x.column: chart.x.title, chart.y.column: chart.y.title}
    for axis, name in ((chart.color, "v" if chart.kind == "heatmap" else "c"), (chart.facet, "p")):
        if axis is not None and axis.column not in fields:
            fields[axis.column], words[axis.column] = name, axis.title
    told = [name for name in dict.fromkeys((*chart.tooltip, *fields)) if name in chart.data]
    extra = {name: f"t{i}" for i, name in enumerate(name for name in told if name not in fields)}
    return [(fields.get(name) or extra[name], name, words.get(name, name)) for name in told]


def _placed(row: Row, x: Span, y: Span, *, keep_gaps: bool) -> bool:
    """Whether a row has a place on both axes; a line keeps missing y, where it breaks."""
    for value, axis in ((row["x"], x), (row["y"], y)):
        bad = value is None or (axis.log and value <= 0)
        if bad and not (keep_gaps and axis is y):
            return False
    return True


def color_levels(chart: Chart) -> tuple[str, ...]:
    """The levels that a chart tells apart by colour; none where the colour is a number's shade."""
    if chart.color is None or chart.kind == "heatmap" or chart.color.column not in chart.data:
        return ()
    return levels(column(chart, chart.color.column))


def frame(chart: Chart) -> Frame:
    """The rows, axes and levels of a chart.

    >>> f = frame(Chart("a", "A", "bar", {"x": ("a", "b"), "y": (1, None)}, Axis("x", "X"), Axis("y", "Y"), "alt"))
    >>> [(row["x"], row["y"]) for row in f.rows], f.notes
    ([('a', 1)], ('1 of 2 rows has no value here and is not drawn.',))
    """
    chart = _with_clean_words(chart)
    heat = chart.kind == "heatmap"
    xs, ys = column(chart, chart.x.column), column(chart, chart.y.column)
    low, high = _whiskers(chart) if not heat else ([None] * len(xs), [None] * len(xs))
    x = span(chart.x, xs, nominal=heat or chart.kind == "bar")
    y = span(chart.y, ys, [*low, *high] + [0.0] * (chart.kind == "bar"), nominal=heat)
    if chart.kind == "bar" and y.numeric and not y.log:
        y = replace(y, domain=_from_zero(y.domain, [*ys, *low, *high]))
    fields: dict[str, list[Any]] = {"k": [POINT] * len(xs), "x": xs, "y": ys}
    for name, axis in (("x", x), ("y", y)):
        if not axis.numeric:
            fields[name] = [None if value is None else lines(level(value)) for value in fields[name]]
    if any(value is not None for value in low):
        fields |= {"l": low, "h": high}
    if chart.order:
        fields["o"] = column(chart, chart.order)
    if chart.marked:
        fields["m"] = [value or None for value in column(chart, chart.marked)]
    if chart.key:
        fields["e"] = [level(value) for value in column(chart, chart.key)]
    colors: tuple[str, ...] = ()
    if chart.color is not None:
        values = column(chart, chart.color.column)
        fields["v" if heat else "c"] = values if heat else [level(value) for value in values]
        colors = () if heat else levels(values)
    panels: tuple[str, ...] = ()
    if chart.facet is not None:
        values = column(chart, chart.facet.column)
        fields["p"], panels = [level(value) for value in values], levels(values)
    hover = _hover(chart)
    fields |= {field: column(chart, name) for field, name, _ in hover if field.startswith("t")}
    every = [dict(zip(fields, cells, strict=True)) for cells in zip(*fields.values(), strict=True)]
    rows = tuple(row for row in every if _placed(row, x, y, keep_gaps=chart.kind == "line"))
    title = chart.color.title if chart.color is not None else ""
    notes = _notes(len(every), len(rows), x.log or y.log)
    return Frame(rows, x, y, colors, title, panels, tuple((field, words) for field, _, words in hover), notes)


def _from_zero(domain: tuple[float, float], values: Sequence[Any]) -> tuple[float, float]:
    """Bars stand on zero: no margin on the side where there are none."""
    there = [value for value in values if value is not None]
    return (0.0 if min(there) >= 0 else domain[0], 0.0 if max(there) <= 0 < -min(there) else domain[1])


def _with_clean_words(chart: Chart) -> Chart:
    def clean(axis: Axis | None) -> Axis | None:
        return None if axis is None else replace(axis, title=without_controls(axis.title))

    x, y = (
        replace(chart.x, title=without_controls(chart.x.title)),
        replace(chart.y, title=without_controls(chart.y.title)),
    )
    return replace(chart, x=x, y=y, color=clean(chart.color), facet=clean(chart.facet))


def _notes(given: int, drawn: int, log: bool) -> tuple[str, ...]:
    if given == 0:
        return ("There is nothing to draw: the chart has no rows.",)
    left = given - drawn
    if not left:
        return ()
    verb, is_are = ("has", "is") if left == 1 else ("have", "are")
    value = "value above zero, which a log axis needs," if log else "value here"
    return (f"{left:,} of {given:,} rows {verb} no {value} and {is_are} not drawn.",)


def columnar(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows turned into columns, repeated texts into codes: a third of the size of rows in the page.

    >>> columnar([{"x": 1, "c": "a"}, {"x": 2, "c": "a"}])
    {'x': [1, 2], 'c': {'levels': ['a'], 'codes': [0, 0]}}
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    packed: dict[str, Any] = {}
    for name in names:
        values = [row.get(name) for row in rows]
        texts = list(dict.fromkeys(value for value in values if isinstance(value, str)))
        if texts and len(texts) < len(values) and all(value is None or isinstance(value, str) for value in values):
            codes = {text: i for i, text in enumerate(texts)}
            packed[name] = {"levels": texts, "codes": [-1 if value is None else codes[value] for value in values]}
        else:
            packed[name] = values
    return packed
