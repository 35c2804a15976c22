"""The figures of `top-k`: what is lost against the bytes that a cache needs for one token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from disobey.figures.estimates import estimates_chart
from disobey.records.results import Axis, Chart, Rule
from disobey.studies.kit.design import Arm
from disobey.studies.kit.evidence import Evidence
from disobey.studies.top_k.claims import NLL, OVERCONFIDENCE, Whole, difference, level_of

BYTES = Axis("x", "bytes per token", "log")


def facet(temperature: float) -> str:
    """A temperature as the title of a panel."""
    return f"τ = {temperature:g}"


def level_chart(e: Evidence, arms: Sequence[Arm], wholes: Sequence[Whole]) -> Chart:
    """NLL of every cut, with whole teacher and labels as lines."""
    cut = [arm for arm in arms if arm["kept"] != "all"]
    rows = [
        (arm.number("bytes"), str(arm["kept"]), facet(arm.number("temperature")), level_of(e, arm, NLL)) for arm in cut
    ]
    alt = "Test NLL of students against the bytes of their cached teacher, by what was kept; whole teacher, labels."
    axes = BYTES, Axis("y", "test NLL (nats a token)")
    title = "What a cache costs the student"
    chart = estimates_chart(rows, "nll", title, *axes, alt, kind="line", color="kept of the teacher")
    rules = []
    for whole in wholes:
        panel = facet(whole.full.number("temperature"))
        words = {whole.full: f"whole teacher, {whole.full.number('bytes'):,.0f} bytes"}
        words[whole.full.control_arm()] = "labels alone"
        found = sorted(((float(e.per_seed(arm, NLL).mean()), name) for arm, name in words.items()), reverse=True)
        rules += [
            Rule(0.0, nll, f"{where} line: {name}", panel)
            for where, (nll, name) in zip(("upper", "lower"), found, strict=True)
        ]
    return replace(chart, rules=tuple(rules))


def cost_chart(e: Evidence, arms: Sequence[Arm], wholes: Sequence[Whole]) -> Chart:
    """The same as paired differences from the whole teacher; without renormalized top-k, which has another scale."""
    full = {whole.full.number("temperature"): whole.full for whole in wholes}
    rows = [
        (
            arm.number("bytes"),
            str(arm["kept"]),
            facet(arm.number("temperature")),
            difference(e, arm, full[arm.number("temperature")], NLL),
        )
        for arm in arms
        if arm["kept"] not in ("all", "renormalized")
    ]
    alt = "Test NLL minus that of the whole teacher's student against bytes per token, by what was kept."
    axes = BYTES, Axis("y", "NLL minus whole teacher's (nats a token)")
    title = "The cost beside the whole teacher, without renormalized top-k"
    return estimates_chart(
        rows,
        "cost",
        title,
        *axes,
        alt,
        kind="interval",
        color="kept of the teacher",
        zero="as good as the whole teacher",
    )


def calibration_chart(e: Evidence, arms: Sequence[Arm], wholes: Sequence[Whole]) -> Chart:
    """Confidence minus accuracy of every cut."""
    rows = [
        (
            arm.number("bytes"),
            str(arm["kept"]),
            facet(arm.number("temperature")),
            level_of(e, arm, OVERCONFIDENCE),
        )
        for arm in arms
        if arm["kept"] != "all"
    ]
    alt = "Mean confidence minus accuracy of students against bytes per token, by what was kept of the teacher."
    axes = BYTES, Axis("y", "confidence − accuracy (points)")
    title = "Overconfidence of the student"
    chart = estimates_chart(
        rows, "overconfidence", title, *axes, alt, kind="line", color="kept of the teacher", points=True
    )
    rules = [
        Rule(
            0.0,
            100 * float(e.per_seed(whole.full, OVERCONFIDENCE).mean()),
            "whole teacher",
            facet(whole.full.number("temperature")),
        )
        for whole in wholes
    ]
    return replace(chart, rules=tuple(rules))
