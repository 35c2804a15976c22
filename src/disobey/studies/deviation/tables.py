"""The tables of `deviation`: a row for every setting, its factors in columns of their own, every control once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from disobey.records.results import Cell, Estimate, Levels, Table
from disobey.studies.deviation.claims import ACCURACY, LOW, SLOPE, SPLITS
from disobey.studies.kit.design import Arm
from disobey.studies.kit.evidence import CONTROL, Evidence
from disobey.studies.kit.tables import Column, in_points, table

NOISE: Column = ("label noise", lambda arm: f"{arm['noise']:.0%}")
SETTING: tuple[Column, ...] = (
    NOISE,
    ("model", lambda arm: f"{arm['student']} {'control' if arm.is_control else 'student'}"),
    ("teacher", lambda arm: "early" if arm["early"] else "final"),
    ("τ", lambda arm: None if arm.is_control else arm["temperature"]),
)
"""A control has no temperature; it stands beside the teacher that it is compared with."""
PAIRED = "Means over seeds with intervals over runs; differences are paired. Early: the early-stopped teacher."


def with_controls(arms: Sequence[Arm]) -> list[Arm]:
    """Every student, then every control once for each teacher that it is compared with."""
    controls = {(arm.control, arm.compared_with, arm.teacher_step): arm.control_arm() for arm in arms}
    return [*arms, *controls.values()]


def of_students(column: Callable[[Arm], Estimate]) -> Callable[[Arm], Cell]:
    """A difference from the control, which the control itself has none of."""
    return lambda arm: None if arm.is_control else column(arm)


def gain_table(arms: Sequence[Arm], e: Evidence) -> Table:
    """Accuracy, agreement and loss of students and controls."""
    columns = (
        *SETTING,
        ("accuracy", e.means(ACCURACY)),
        ("− control (points)", of_students(in_points(e.means(ACCURACY, minus=CONTROL)))),
        ("agreement with teacher", e.means("agreement")),
        ("NLL", e.means("nll")),
        ("NLL − control", of_students(e.means("nll", minus=CONTROL))),
        ("right where they differ", e.means("student_right_where_they_differ")),
        ("teacher right there", e.means("teacher_right_where_they_differ")),
    )
    return table("Accuracy and agreement (test)", with_controls(arms), columns, PAIRED)


SLOPES = {
    SLOPE: "least squares",
    "tls_slope": "total least squares",
    "swapped_slope": "axes swapped",
    "sd_ratio": "ratio of spreads",
    "ols_slope.top5": "top 5 classes",
}
QUARTERS = {
    LOW: "lowest quarter: mean y−x",
    "low_below": "share below",
    "high_deviation": "highest quarter: mean y−x",
    "high_below": "share below",
}


def deviation_tables(arms: Sequence[Arm], e: Evidence) -> list[Table]:
    """Every measure of deviation: as a difference from the control, and of students and controls as they are."""
    caption = (
        "Lowest and highest quarter: of the examples, by the teacher's confidence. Slopes depend on temperature and "
        "budget: read the difference from the control."
    )
    found = []
    for split in reversed(SPLITS):
        for kind, measures in (("slopes", SLOPES), ("quarters", QUARTERS)):
            title, levels = "Deviation from the teacher", (("split", split), ("measures", kind))
            found += _both(title, arms, e, measures, caption, split=split, levels=levels)
    return found


def calibration_tables(arms: Sequence[Arm], e: Evidence) -> list[Table]:
    """Proper scores and calibration errors."""
    measures = {"nll": "NLL", "brier": "Brier", "ece": "ECE", "ece_debiased": "ECE, debiased"}
    caption = f"Natural logarithm; ECE over 15 bins; lower is better. {PAIRED}"
    return _both("Calibration (test)", arms, e, measures, caption)


def _both(
    title: str,
    arms: Sequence[Arm],
    e: Evidence,
    measures: Mapping[str, str],
    caption: str,
    *,
    split: str = "test",
    levels: Levels = (),
) -> list[Table]:
    """Students minus controls, and behind a switch every model as it is."""
    over = [(heading, e.means(measure, split=split, minus=CONTROL)) for measure, heading in measures.items()]
    own = [(heading, e.means(measure, split=split)) for measure, heading in measures.items()]
    shown = (("student − control", arms, over), ("each model", with_controls(arms), own))
    return [
        table(title, rows, (*SETTING, *columns), caption, (*levels, ("shown", words))) for words, rows, columns in shown
    ]


def kind_table(arms: Sequence[Arm], e: Evidence) -> Table:
    """Deviation where the teacher is right, where it is wrong, and on corrupted labels."""
    measures = {SLOPE: "slope", "mean_deviation": "mean y−x", LOW: "lowest quarter: mean y−x"}
    rows = [
        (arm, split, kind)
        for arm in arms
        for split in SPLITS
        for kind in ("teacher_right", "teacher_wrong", "mislabelled")
        if all(e.known(arm, f"{measure}.{kind}", split=split) for measure in measures)
    ]

    def column(measure: str, **minus: Any) -> Callable[[tuple[Arm, str, str]], Estimate]:
        return lambda row: e.mean(row[0], f"{measure}.{row[2]}", split=row[1], **minus)

    columns: list[Column] = [
        ("label noise", lambda row: NOISE[1](row[0])),
        ("split", lambda row: row[1]),
        ("examples", lambda row: row[2].replace("_", " ")),
    ]
    for measure, heading in measures.items():
        columns += [(heading, column(measure)), ("− control", column(measure, minus=CONTROL))]
    setting = arms[0].label.partition(", ")[2] if arms else ""
    caption = (
        "Right and wrong: the teacher's most likely class against the true label. Mislabelled: the training label was "
        f"corrupted. Rows are left out where a seed has no such example. All rows: {setting}."
    )
    return table("Deviation by kind of example", rows, columns, caption)
