"""The straight lines across a chart (a diagonal, a fit, a reference) as rows, cut to the axes' ranges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from disobey.records.results import Rule
from disobey.reports.cells import without_controls
from disobey.reports.frames import FACET_LABEL, FACET_RULE, RULE, RULE_LABEL, Frame, Row, Span, level


def clean_rules(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Rules with printable labels, and facets named as the panels are."""
    return tuple(
        replace(rule, label=without_controls(rule.label), facet=level(rule.facet) if rule.facet else "")
        for rule in rules
    )


def is_diagonal(rule: Rule) -> bool:
    """Whether the rule is y = x."""
    return rule.slope == 1 and rule.intercept == 0


def segment(rule: Rule, x: Span, y: Span) -> list[tuple[float, float]]:
    """Points of the line inside both ranges: its two ends, or 64 points where an axis is logarithmic.

    >>> segment(Rule(1, 0, "diagonal"), Span("x", True, domain=(-2, 4)), Span("y", True, domain=(0, 10)))
    [(0.0, 0.0), (4.0, 4.0)]
    """
    if not (math.isfinite(rule.slope) and math.isfinite(rule.intercept)):
        return []
    (low, high), (bottom, top) = x.domain, y.domain
    if x.log or y.log:
        xs = np.geomspace(low, high, 64) if x.log else np.linspace(low, high, 64)
        ys = rule.slope * xs + rule.intercept
        return [(float(f"{a:.5g}"), float(f"{b:.5g}")) for a, b in zip(xs, ys, strict=True) if bottom <= b <= top]
    if rule.slope != 0:
        crossings = sorted(((bottom - rule.intercept) / rule.slope, (top - rule.intercept) / rule.slope))
        low, high = max(low, crossings[0]), min(high, crossings[1])
    elif not bottom <= rule.intercept <= top:
        return []
    if low >= high:
        return []
    return [(float(f"{v:.5g}"), float(f"{rule.slope * v + rule.intercept:.5g}")) for v in (low, high)]


def panels_of(rule: Rule, panels: Sequence[str]) -> list[str | None]:
    """The panels that a rule crosses: all, or those of its facet (which colours may have split).

    >>> panels_of(Rule(1, 0, "fit", "student"), ["teacher", "student · right", "student · wrong"])
    ['student · right', 'student · wrong']
    """
    if not panels:
        return [None]
    return [p for p in panels if rule.facet in ("", p) or p.startswith(f"{rule.facet} · ")]


def rule_rows(rules: Sequence[Rule], frame: Frame) -> list[Row]:
    """Rows of every rule in each of its panels: lines for all, a corner label for those of one facet."""
    rows: list[Row] = []
    written: dict[str | None, int] = {}
    for i, rule in enumerate(rules):
        for panel in panels_of(rule, frame.panels):
            where = {} if panel is None else {"p": panel}
            kind = FACET_RULE if rule.facet and panel is not None else RULE
            if rule.slope == rule.intercept == 0:
                where = where | {"z": 1}  # zero is often the question
            if not frame.x.numeric:
                if rule.slope == 0 and math.isfinite(rule.intercept):
                    flat = {"y": rule.intercept, "r": rule.label, "i": i, **where}
                    rows += [{"k": what} | flat for what in (kind, RULE_LABEL)]
                continue
            points = segment(rule, frame.x, frame.y)
            rows += [{"k": kind, "x": x, "y": y, "r": rule.label, "i": i, **where} for x, y in points]
            if kind == RULE and points:
                rows.append({"k": RULE_LABEL, "x": points[-1][0], "y": points[-1][1], "r": rule.label, **where})
            if kind == FACET_RULE:
                line = written[panel] = written.get(panel, -1) + 1
                corner = {"x": frame.x.domain[0], "y": frame.y.domain[1], "j": line}
                rows.append({"k": FACET_LABEL, "r": rule.label, **corner, **where})
    return rows


def undrawn(rules: Sequence[Rule], frame: Frame) -> tuple[str, ...]:
    """Notes on rules that have no place in the chart: said, not dropped in silence."""
    if not frame.rows:
        return ()
    notes = []
    for rule in rules:
        if (
            rule.facet
            and frame.panels
            and rule.facet not in {panel.split(" · ")[0] for panel in frame.panels} | set(frame.panels)
        ):
            notes.append(f"Line “{rule.label}” belongs to a panel that is not here.")
        elif not frame.y.numeric or (not frame.x.numeric and rule.slope != 0):
            notes.append(f"Line “{rule.label}” needs two axes of numbers and is not drawn.")
    return tuple(notes)
