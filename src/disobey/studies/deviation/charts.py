"""The charts of `deviation` over all settings."""

from __future__ import annotations

from collections.abc import Sequence

from disobey.figures.estimates import estimates_chart
from disobey.records.results import Axis, Chart
from disobey.studies.deviation.claims import ACCURACY, SLOPE, SPLITS
from disobey.studies.kit.design import Arm
from disobey.studies.kit.evidence import CONTROL, Evidence


def noise_words(arm: Arm) -> str:
    """The labels of an arm's training set, in words."""
    return f"{arm['noise']:.0%} wrong labels" if arm["noise"] else "clean labels"


def slope_chart(arms: Sequence[Arm], e: Evidence) -> Chart:
    """Slope of student and control against the temperature."""
    rows = [
        (
            arm.number("temperature"),
            f"{arm['student']} {model}",
            f"{noise_words(arm)}, {split}",
            e.mean(who, SLOPE, split=split),
        )
        for arm in arms
        if not arm["early"]
        for split in SPLITS
        for model, who in (("student", arm), ("control (twin)", arm.control_arm()))
    ]
    alt = (
        "Slope of the student's log-odds on the teacher's against the distillation temperature, with the control's "
        "slope; bands are 95% intervals over runs."
    )
    axes = Axis("x", "distillation temperature", "log"), Axis("y", "least-squares slope in logit space")
    return estimates_chart(rows, "slope-temperature", "Slope against temperature", *axes, alt, kind="line")


def gain_chart(arms: Sequence[Arm], e: Evidence) -> Chart:
    """Accuracy over the control, by setting."""
    rows = [
        (
            f"τ={arm['temperature']:g}" + (", early teacher" if arm["early"] else ""),
            f"{arm['student']} student",
            noise_words(arm),
            e.mean(arm, ACCURACY, minus=CONTROL),
        )
        for arm in arms
    ]
    title = "Does it pay? Test accuracy over the control"
    alt = "Paired accuracy differences between student and control by setting, with 95% intervals over runs."
    axes = Axis("x", "", "nominal"), Axis("y", "test accuracy, student − control (points)")
    return estimates_chart(rows, "gain", title, *axes, alt, kind="interval", points=True, zero="no gain")
