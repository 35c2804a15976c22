"""A forest plot for one row of the verdict matrix: intervals against a border, as SVG that follows the page's theme."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from disobey.records.results import Claim
from disobey.reports import cells
from disobey.reports.wording import amount, deciding, scaled, shown_number

WIDTH, LINE, FOOT = 220, 16, 13  # of a plot, of each interval, of the border's label: CSS pixels
_EDGE = 8  # what is left free on either side


@dataclass(frozen=True)
class Scale:
    """The range of numbers that a plot shows, in the unit that is shown."""

    low: float
    high: float

    def x(self, value: float) -> float:
        """Where a number lies, in pixels; what is beyond lies on the edge."""
        share = (value - self.low) / (self.high - self.low)
        return round(_EDGE + (WIDTH - 2 * _EDGE) * min(1.0, max(0.0, share)), 1)


def scale_of(claims: Iterable[Claim]) -> Scale | None:
    """One scale for all settings of a statement, which holds their borders and margins; None where nothing is known."""
    found: list[float] = []
    for claim in claims:
        if (estimate := deciding(claim)) is not None:
            own = scaled(estimate, claim.unit)
            found += [own.value, *((own.low, own.high) if own.bounded else ())]
        if math.isfinite(claim.border):
            found += [_shown(claim, claim.border + side * claim.margin) for side in (-1, 0, 1)]
    there = [value for value in found if math.isfinite(value)]
    if not there:
        return None
    low, high = min(there), max(there)
    pad = 0.06 * (high - low) or 0.5 * max(abs(high), 1e-3)
    return Scale(low - pad, high + pad)


def forest(claims: Sequence[Claim], scale: Scale | None) -> Markup:
    """The deciding intervals of a statement's claims, one below the other; empty where there is nothing to draw.

    The border is a line, the margin a band about it, and an arrow beside the border's number says which side is
    claimed. Every plot has its numbers as its text alternative.
    """
    if scale is None:
        return Markup("")
    height = LINE * len(claims) + (FOOT if math.isfinite(claims[0].border) else 0)
    told = "; ".join(_told(claim) for claim in claims)
    parts = [
        f'<svg class="forest" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'aria-label="{escape(cells.without_controls(told))}">',
        *_border(claims[0], scale, height),
        *(mark for i, claim in enumerate(claims) for mark in _interval(claim, scale, LINE * i + LINE / 2)),
        "</svg>",
    ]
    return Markup("".join(parts))


def _told(claim: Claim) -> str:
    border = f", border {shown_number(claim.border, claim.unit)}" if math.isfinite(claim.border) else ""
    margin = f", margin {shown_number(claim.margin, claim.unit)}" if claim.margin else ""
    return f"{claim.verdict}: {amount(claim) or 'no number'}{border}{margin}"


def _shown(claim: Claim, value: float) -> float:
    return 100 * value if claim.unit == "points" else value


def _border(claim: Claim, scale: Scale, height: int) -> list[str]:
    if not math.isfinite(claim.border):
        return []
    x, bottom = scale.x(_shown(claim, claim.border)), height - FOOT
    found = []
    if claim.margin:
        left, right = (scale.x(_shown(claim, claim.border + side * claim.margin)) for side in (-1, 1))
        found.append(f'<rect class="band" x="{left}" y="0" width="{round(right - left, 1)}" height="{bottom}"/>')
    found.append(f'<line class="edge" x1="{x}" x2="{x}" y1="0" y2="{bottom + 2}"/>')
    number = shown_number(claim.border, claim.unit).removesuffix(claim.unit).strip()
    label = {1: f"{number} →", -1: f"← {number}", 0: number}[claim.direction]
    # The number stands under its line, the arrow beside it.
    shift = {1: 7, -1: -7, 0: 0}[claim.direction]
    at = min(WIDTH - 16, max(16, x + shift))
    found.append(f'<text x="{round(at, 1)}" y="{height - 2}" text-anchor="middle">{label}</text>')
    return found


def _interval(claim: Claim, scale: Scale, y: float) -> list[str]:
    estimate = deciding(claim)
    if estimate is None:
        return []
    own, found = scaled(estimate, claim.unit), []
    if own.bounded:
        left, right = scale.x(own.low), scale.x(own.high)
        found.append(f'<line class="whisker" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>')
        for end, bound, out in ((left, own.low, -1), (right, own.high, 1)):
            if math.isfinite(bound):
                found.append(f'<line class="whisker" x1="{end}" x2="{end}" y1="{y - 3}" y2="{y + 3}"/>')
            else:  # an open end points outwards
                tip = f"{end},{y} {end - 5 * out},{y - 4} {end - 5 * out},{y + 4}"
                found.append(f'<polygon class="dot" points="{tip}"/>')
    if math.isfinite(own.value):
        found.append(_dot(claim.verdict, scale.x(own.value), y))
    inner = "".join(found)
    return [f'<g class="{claim.verdict}">{inner}</g>'] if inner else []


def _dot(verdict: str, x: float, y: float) -> str:
    """Filled where something was decided, hollow where not: seen without colour, too."""
    kind = "dot" if verdict in ("supported", "contradicted") else "dot hollow"
    return f'<circle class="{kind}" cx="{x}" cy="{y}" r="4"/>'
