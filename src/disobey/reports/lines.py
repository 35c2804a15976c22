"""The lines across a chart (a diagonal, a fit, a reference) as Altair layers."""

from __future__ import annotations

from typing import Any

import altair as alt

from disobey.reports import palette
from disobey.reports.frames import FACET_LABEL, FACET_RULE, RULE, RULE_LABEL
from disobey.reports.marks import View, layer, position

_INK, _MUTED = palette.INK[0], palette.MUTED[0]
_RULE_DASHES = [[5, 4], [1, 0], [2, 3], [9, 3, 2, 3], [12, 4]]


def lines(view: View) -> list[alt.Chart]:
    """The layers of a chart's rules; a line at zero, which is often the question, is drawn through."""
    chart, shape = view.chart, view.shape
    if not chart.rules or not shape.y.numeric:
        return []
    common = [rule.label for rule in chart.rules if not (rule.facet and shape.panels)]
    layers = []
    if not shape.x.numeric:
        value = {"x": position(alt.X, "y", shape.y)} if view.flipped else {"y": position(alt.Y, "y", shape.y)}
        for kind in (RULE, FACET_RULE):
            dashed = layer(f"across{kind}", kind, " && datum.y !== 0")
            layers.append(dashed.mark_rule(strokeDash=[5, 4], color=_MUTED, strokeWidth=1.2).encode(**value))
            zero = layer(f"zero{kind}", kind, " && datum.y === 0")
            layers.append(zero.mark_rule(color=_INK, strokeWidth=1.5).encode(**value))
        place: dict[str, Any] = {"align": "center", "dy": -3} if view.flipped else {"align": "right", "dy": -4}
        label = layer("labels", RULE_LABEL).mark_text(baseline="bottom", fontSize=11, color=_MUTED, **place)
        far = {"y": alt.value(0)} if view.flipped else {"x": alt.value("width")}
        return [*layers, label.encode(**value, **far, text=alt.Text(field="r", type="nominal"))]
    axes = {"x": position(alt.X, "x", shape.x), "y": position(alt.Y, "y", shape.y)}
    detail = alt.Detail(field="i", type="nominal")
    if common and chart.kind == "scatter":
        dashes = [_RULE_DASHES[i % len(_RULE_DASHES)] for i in range(len(common))]
        legend = alt.Legend(title=None, symbolType="stroke", symbolSize=300, symbolStrokeColor=_INK)
        scale = alt.Scale(domain=common, range=dashes)
        dash: dict[str, Any] = {"strokeDash": alt.StrokeDash(field="r", type="nominal", scale=scale, legend=legend)}
        line = layer("across", RULE).mark_line(color=_INK, strokeWidth=1.4)
        layers.append(line.encode(**axes, **dash, detail=detail))
    elif common:
        zero = all(rule.slope == rule.intercept == 0 for rule in chart.rules if not (rule.facet and shape.panels))
        look: dict[str, Any] = {"color": _MUTED, "strokeWidth": 1.2, "strokeDash": [5, 4]}
        line = layer("across", RULE).mark_line(**({"color": _INK, "strokeWidth": 1.5} if zero else look))
        layers.append(line.encode(**axes, detail=detail))
        label = layer("labels", RULE_LABEL)
        label = label.mark_text(align="right", baseline="bottom", dy=-4, fontSize=11, color=_MUTED)
        layers.append(label.encode(**axes, text=alt.Text(field="r", type="nominal")))
    if any(rule.facet for rule in chart.rules) and shape.panels:
        fits = layer("fits", FACET_RULE).mark_line(color=_INK, strokeWidth=1.8)
        layers.append(fits.encode(**axes, detail=detail))
        for j in range(sum(bool(rule.facet) for rule in chart.rules)):
            text = layer(f"label{j}", FACET_LABEL, f" && datum.j === {j}")
            text = text.mark_text(align="left", baseline="top", dx=5, dy=5 + 14 * j, fontSize=11, color=_INK)
            layers.append(text.encode(**axes, text=alt.Text(field="r", type="nominal")))
    return layers
