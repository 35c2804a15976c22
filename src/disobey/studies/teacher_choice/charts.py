"""The figures of `teacher-choice`."""

from __future__ import annotations

from collections.abc import Sequence

from disobey.figures.estimates import estimates_chart
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Axis, Chart
from disobey.studies.kit.evidence import Evidence
from disobey.studies.teacher_choice.claims import Setting
from disobey.studies.teacher_choice.properties import PROPERTIES
from disobey.studies.teacher_choice.ranking import ACCURACY, CEILING, PILOT
from disobey.studies.teacher_choice.teachers import READINGS

READ_AS = {"raw": "as it is", "fitted": "at its fitted temperature", "ranks": "ranks alone"}


def students_chart(e: Evidence, settings: Sequence[Setting]) -> Chart:
    """What every teacher brings over labels alone, in each reading."""
    rows = [
        (teacher, READ_AS[reading], s.label, e.mean(s.cell.students[teacher, reading], ACCURACY, minus=s.cell.control))
        for s in settings
        for teacher in s.cell.teachers
        for reading in READINGS
    ]
    alt = "Test accuracy of students minus labels alone, by teacher and by what is kept of it; intervals over seeds."
    axes = Axis("x", "teacher", "nominal"), Axis("y", "student − labels alone (points)")
    return estimates_chart(
        rows,
        "students",
        "Which teacher brings how much",
        *axes,
        alt,
        kind="interval",
        color="teacher read",
        points=True,
        zero="as good as labels alone",
    )


def grid_chart(e: Evidence, settings: Sequence[Setting]) -> Chart:
    """Temperature and weight of the default teacher's students."""
    rows = [
        (t, f"weight {w:g}", s.label, e.mean(arm, ACCURACY, minus=s.cell.control))
        for s in settings
        for (t, w), arm in sorted(s.cell.grid.items())
    ]
    alt = "Test accuracy of the default teacher's students minus labels alone against temperature, by weight."
    axes = Axis("x", "temperature", "log"), Axis("y", "student − labels alone (points)")
    return estimates_chart(
        rows,
        "grid",
        "Temperature and weight, default teacher",
        *axes,
        alt,
        kind="line",
        color="teacher's weight",
        points=True,
        zero="as good as labels alone",
    )


def ranking_chart(settings: Sequence[Setting]) -> Chart:
    """Rank correlation of everything that is known beforehand with what the students become."""
    names = (*PROPERTIES, PILOT, CEILING)
    rows = [(name, "Spearman", s.label, s.ranking.correlation(name)) for s in settings for name in names]
    alt = "Rank correlation over teachers between what is known of a teacher and its student's accuracy."
    axes = Axis("x", "known beforehand", "nominal"), Axis("y", "rank correlation within a seed")
    title = "What ranks teachers before distilling"
    return estimates_chart(rows, "ranking", title, *axes, alt, kind="interval", color="correlation", zero="no relation")


def age_chart(e: Evidence, settings: Sequence[Setting], ages: Sequence[tuple[float, str]]) -> Chart:
    """Teacher and student along the teacher's training. ages: (share of training, teacher's name)."""
    rows = []
    for s in settings:
        known = dict(zip(s.ranking.teachers, s.ranking.known["accuracy"], strict=True))
        for age, name in ages:
            student = e.mean(s.cell.students[name, "raw"], ACCURACY, split="validation")
            rows.append((age, "its student", s.label, student))
            rows.append((age, "teacher", s.label, mean_over_runs(known[name], "teacher")))
    alt = "Validation accuracy of teachers along their training and of their students, by label noise."
    axes = Axis("x", "share of the teacher's training", "log"), Axis("y", "validation accuracy")
    return estimates_chart(rows, "age", "Teachers along their training", *axes, alt, kind="line", color="who")
