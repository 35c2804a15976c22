"""The tables of `deviation`: a row for every setting, read beside the control."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from disobey.records.results import Estimate, Table
from disobey.studies.deviation.claims import ACCURACY, LOW, SLOPE, SPLITS
from disobey.studies.kit.design import Arm
from disobey.studies.kit.evidence import CONTROL, Evidence
from disobey.studies.kit.tables import table


def gain_table(arms: Sequence[Arm], e: Evidence) -> Table:
    """Accuracy, agreement and loss of student and control."""
    columns = (
        ("setting", lambda arm: arm.label),
        ("student", e.means(ACCURACY)),
        ("control", e.means(ACCURACY, control=True)),
        ("student − control", e.means(ACCURACY, minus=CONTROL)),
        ("agreement with teacher", e.means("agreement")),
        ("control's agreement", e.means("agreement", control=True)),
        ("NLL, student − control", e.means("nll", minus=CONTROL)),
        ("where teacher and student differ: student right", e.means("student_right_where_they_differ")),
        ("teacher right", e.means("teacher_right_where_they_differ")),
    )
    return table(
        "Does it pay? (test)", arms, columns, "Means over seeds with intervals over runs; differences are paired."
    )


def deviation_table(arms: Sequence[Arm], e: Evidence, split: str) -> Table:
    """Every measure of deviation, of student and control."""
    measures = {
        SLOPE: "slope (OLS)",
        "tls_slope": "slope (TLS)",
        "swapped_slope": "slope (axes swapped)",
        "sd_ratio": "sd ratio",
        LOW: "lowest quartile: mean y−x",
        "low_below": "lowest quartile: fraction below",
        "high_deviation": "highest quartile: mean y−x",
        "high_below": "highest quartile: fraction below",
        "ols_slope.top5": "slope over top 5 classes",
    }
    models = {"student": {}, "control": {"control": True}, "student − control": {"minus": CONTROL}}

    def column(measure: str) -> Callable[[tuple[Arm, str]], Estimate]:
        return lambda row: e.means(measure, split=split, **models[row[1]])(row[0])

    columns = (
        ("setting", lambda row: row[0].label),
        ("model", lambda row: row[1]),
        *((heading, column(measure)) for measure, heading in measures.items()),
    )
    caption = (
        f"{split.capitalize()} split; read the difference from the control. Slopes depend on temperature and budget."
    )
    rows = [(arm, model) for arm in arms for model in models]
    return table(f"Deviation from the teacher ({split})", rows, columns, caption)


def calibration_table(arms: Sequence[Arm], e: Evidence) -> Table:
    """Proper scores and calibration errors."""
    measures = {"nll": "NLL", "brier": "Brier", "ece": "ECE (15 bins)", "ece_debiased": "ECE, debiased"}
    columns: list[tuple[str, Callable]] = [("setting", lambda arm: arm.label)]
    for measure, heading in measures.items():
        columns += [(f"{heading}, student", e.means(measure)), ("student − control", e.means(measure, minus=CONTROL))]
    return table("Calibration (test)", arms, columns, "Natural logarithm; lower is better.")


def kind_table(arms: Sequence[Arm], e: Evidence) -> Table:
    """Deviation where the teacher is right, where it is wrong, and on corrupted labels."""
    measures = {SLOPE: "slope (OLS)", "mean_deviation": "mean y−x", LOW: "lowest quartile: mean y−x"}
    rows = [
        (arm, split, kind)
        for arm in arms
        for split in SPLITS
        for kind in ("teacher_right", "teacher_wrong", "mislabelled")
        if all(e.known(arm, f"{measure}.{kind}", split=split) for measure in measures)
    ]

    def column(measure: str, **minus: Any) -> Callable[[tuple[Arm, str, str]], Estimate]:
        return lambda row: e.mean(row[0], f"{measure}.{row[2]}", split=row[1], **minus)

    columns: list[tuple[str, Callable]] = [
        ("setting", lambda row: row[0].label),
        ("split", lambda row: row[1]),
        ("examples", lambda row: row[2].replace("_", " ")),
    ]
    for measure, heading in measures.items():
        columns += [(heading, column(measure)), ("student − control", column(measure, minus=CONTROL))]
    caption = (
        "Right and wrong: the teacher's most likely class against the true label. Mislabelled: the training label was "
        "corrupted. Rows are left out where a seed has no such example."
    )
    return table("Deviation by kind of example", rows, columns, caption)
