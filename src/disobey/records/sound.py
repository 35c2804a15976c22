"""Whether the parts of a result fit each other: a chart its columns, a claim its evidence, an image its rows."""

from __future__ import annotations

from typing import Any, TypeAlias

from disobey.records.results import Block, Chart, Claim, Gallery

Contradiction: TypeAlias = tuple[str, Any, str]
"""What was expected, what came, and in which part."""


def contradiction(block: Block) -> Contradiction | None:
    """The first thing about a block that contradicts the rest of it; None where all is well."""
    match block:
        case Chart():
            return _columns(block)
        case Claim() if block.deciding >= max(1, len(block.evidence)):
            return "an index into its evidence", block.deciding, f"claim {block.name!r}"
        case Gallery():
            found = (_image(exhibit.image, exhibit.title) for exhibit in block.exhibits)
            return next(filter(None, found), None)
    return None


def _columns(chart: Chart) -> Contradiction | None:
    named = [axis.column for axis in (chart.x, chart.y, chart.color, chart.facet) if axis is not None]
    named += [name for name in (chart.low, chart.high, chart.order, chart.key) if name] + list(chart.tooltip)
    missing = sorted({name for name in named if name not in chart.data})
    if missing and chart.data:
        return f"columns out of {sorted(chart.data)}", missing, f"chart {chart.name!r}"
    return None


def _image(rows: tuple[Any, ...], title: str) -> Contradiction | None:
    pixels = [pixel for row in rows if isinstance(row, tuple) for pixel in row]
    flat = [value for pixel in pixels for value in (pixel if isinstance(pixel, tuple) else (pixel,))]
    fits = (
        all(isinstance(row, tuple) and len(row) == len(rows[0]) for row in rows)
        and len({len(pixel) if isinstance(pixel, tuple) else 0 for pixel in pixels}) <= 1
        and all(type(value) is int and 0 <= value <= 255 for value in flat)
    )
    if rows and not (fits and pixels):
        return "an image: equal rows of whole numbers in 0 .. 255", "something else", f"exhibit {title!r}"
    return None
