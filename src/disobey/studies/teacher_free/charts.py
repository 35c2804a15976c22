"""The charts of `teacher-free`: gains over plain labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from disobey.figures.estimates import estimates_chart
from disobey.records.results import Axis, Chart
from disobey.studies.kit.design import Arm
from disobey.studies.kit.evidence import CONTROL, Evidence
from disobey.studies.teacher_free.claims import ACCURACY, Tuned

MASKED = ("own confusion", "hierarchy", "teacher's confusion")  # signals that mask the label gradient, by their source


def gain_chart(tuned: Mapping[str, Tuned], e: Evidence) -> Chart:
    """Gain over plain labels of every signal at its best amount."""
    rows = [
        (signal, structure, "", e.mean(here.best[signal], ACCURACY, minus=CONTROL))
        for signal in ("smoothing", *MASKED, "self-KD", "KD")
        for structure, here in tuned.items()
        if signal in here.best
    ]
    title = "Gain over plain labels, every signal at its best amount on validation"
    alt = "Test accuracy of each signal minus that of plain labels, by structure of the classes; intervals over runs."
    axes = Axis("x", "training signal", "nominal"), Axis("y", "test accuracy − labels (points)")
    how = {"points": True, "zero": "labels"}
    return estimates_chart(rows, "gains", title, *axes, alt, kind="interval", color="classes", **how)


def amount_chart(arms: Sequence[Arm], e: Evidence) -> Chart:
    """Gain over plain labels against the amount."""
    rows = [
        (arm.number("amount"), str(arm["signal"]), str(arm["structure"]), e.mean(arm, ACCURACY, minus=CONTROL))
        for arm in arms
        if arm["amount"]
    ]
    alt = "Test accuracy minus that of plain labels against the amount of smoothing or masking; bands are intervals."
    axes = Axis("x", "amount of smoothing or masking", "log"), Axis("y", "test accuracy − labels (points)")
    title = "Gain over plain labels by amount"
    how = {"points": True, "zero": "labels"}
    return estimates_chart(rows, "amounts", title, *axes, alt, kind="line", color="signal", **how)
