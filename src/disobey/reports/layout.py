"""How wide and high a drawing's panels are: known before it is drawn, so that a phone, a page and a file agree.

Everything that takes room beside the panels (labels, titles, margins) has a fixed size; `report.js` holds `fitted`
once more for the browser.
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass

from disobey.records.results import Chart
from disobey.reports.frames import Frame, Span

SPACING = 18  # between panels
_NARROWEST = 168  # a panel that is narrower moves to the next line


@dataclass(frozen=True)
class Layout:
    """What fitting a drawing to a width takes. Pixels, except ``aspect`` (height / width; 0: fixed height)."""

    panels: int
    across: int  # panels side by side where there is room
    chrome: int  # width that axes and margins take
    height: int
    aspect: float = 0.0
    widest: int = 2000
    legend: int = 0  # width of a legend's entry; 0: no legend
    spacing: int = SPACING
    narrowest: int = _NARROWEST


def fitted(layout: Layout, width: int) -> tuple[int, int, int]:
    """(panels side by side, panel width, panel height) in ``width`` pixels.

    >>> fitted(Layout(panels=3, across=3, chrome=80, height=300, aspect=1.0), 720)
    (3, 201, 201)
    >>> fitted(Layout(panels=3, across=3, chrome=80, height=300, aspect=1.0), 328)
    (1, 248, 248)
    """
    across = max(1, min(layout.across, layout.panels))
    while across > 1 and (width - layout.chrome - (across - 1) * layout.spacing) / across < layout.narrowest:
        across -= 1
    panel = math.floor((width - layout.chrome - (across - 1) * layout.spacing) / across)
    panel = max(100, min(panel, layout.widest))
    return across, panel, round(panel * layout.aspect) if layout.aspect else layout.height


def side_by_side(panels: int, most: int = 3) -> int:
    """How many panels stand beside each other where there is room: full rows, 2 × 2 rather than 3 and 1.

    >>> [side_by_side(n) for n in (1, 2, 3, 4, 5, 6, 7)]
    [1, 2, 3, 2, 3, 3, 3]
    """
    rows = math.ceil(panels / most)
    return math.ceil(panels / rows)


def title_lines(text: str, width: int = 34) -> list[str]:
    """An axis title in lines of at most ``width`` characters."""
    return textwrap.wrap(text, width) or [""]


def label_room(axis: Span) -> int:
    """Pixels that a y axis' labels take: fixed, so that a panel's width is known before anything is drawn."""
    if axis.numeric:
        return 44
    longest = max((len(line) for level in axis.levels for line in level.split("\n")), default=1)
    return min(130, 14 + round(6.3 * longest))


def layout_of(chart: Chart, shape: Frame, flipped: bool, dodged: bool, square: bool, across: int) -> Layout:
    """The layout of a chart: how many panels, what axes and legend take, how high a panel is."""
    side = shape.x if flipped else shape.y
    chrome = label_room(side) + 16 * len(title_lines(side.title)) + 38
    legend = 30 + round(6.6 * max(map(len, shape.colors), default=0)) if shape.colors else 0
    if chart.rules and chart.kind == "scatter":
        legend = max(legend, 44 + round(6.6 * max(len(rule.label) for rule in chart.rules)))
    panels = max(1, len(shape.panels))
    if square:
        return Layout(panels, across, chrome, 300, 1.0, 400, legend)
    if chart.kind == "heatmap":
        rows, columns = max(1, len(shape.y.levels)), max(1, len(shape.x.levels))
        aspect = rows / columns if rows > 6 and columns > 6 else 0.0
        across = side_by_side(across, 4)
        return Layout(panels, across, chrome, min(480, max(90, 34 * rows)), aspect, 520 if aspect else 640)
    if flipped:
        lines = max((level.count("\n") + 1 for level in shape.x.levels), default=1)
        step = max(24, 8 + 13 * lines, 16 * max(1, len(shape.colors) if dodged else 1))
        height = max(80, step * len(shape.x.levels))
        return Layout(panels, side_by_side(across), chrome, height, 0.0, 900, legend)
    return Layout(panels, side_by_side(across), chrome, 190 if panels > 1 else 280, 0.0, 620, legend)
