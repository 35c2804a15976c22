"""Figures and tables of `random-teacher`."""

from __future__ import annotations

from collections.abc import Sequence

from disobey.figures.estimates import estimates_chart
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Axis, Chart, Table
from disobey.studies.kit.evidence import Evidence
from disobey.studies.kit.tables import table
from disobey.studies.random_teacher.cells import FAR, STUDENT
from disobey.studies.random_teacher.claims import NAMES, NEAR_CELLS, P1, P2, P3, Family
from disobey.training.recipe import Run


def alpha_chart(e: Evidence, f: Family) -> Chart:
    """All probes against the distance of the start, less the teacher's."""
    rows = [
        (cell.alpha, NAMES[key], "", mean_over_runs(f.of(e, cell, key) - f.teacher(e, key), cell.label))
        for key in (P2, P3, P1)
        for cell in (STUDENT, *NEAR_CELLS, FAR)
    ]
    axes = Axis("x", "α: distance of the start from the teacher"), Axis("y", "probe, student − teacher")
    alt = "Accuracy of three probes of the student's features minus the teacher's, against the distance of the start."
    title = "Features of a random teacher's student, by where it starts"
    return estimates_chart(rows, "alpha", title, *axes, alt, kind="line", color="probe")


def dose_chart(e: Evidence, f: Family) -> Chart:
    """The converged probe and the neighbours against the number of images."""
    cells = sorted([STUDENT, *(cell for cell in f.cells if cell.share < 1)], key=lambda cell: cell.share)
    rows = [
        (float(f.line.images(cell.share)), NAMES[key], "", mean_over_runs(f.of(e, cell, key), cell.label))
        for key in (P2, P3)
        for cell in cells
    ]
    axes = Axis("x", "images distilled on", "log"), Axis("y", "accuracy of the probe")
    alt = "Accuracy of the student's probes against the number of images, at equal numbers of steps."
    return estimates_chart(rows, "dose", "How much data a random teacher needs", *axes, alt, kind="line", color="probe")


def student_table(e: Evidence, families: Sequence[Family]) -> Table:
    """Every arm with its probes and what happened to its features."""
    rows = [(f, f.line.control_arm()) for f in families]
    rows += [(f, f.line.arm(cell)) for f in families for cell in f.cells]
    others = {"random walk of equal length": "@walk", "weights permuted within tensors": "@shuffled"}

    def reading(key: str):
        return lambda row: mean_over_runs(e.per_seed(row[1], key), key)

    columns = (
        ("width", lambda row: row[0].line.model.width),
        ("student", lambda row: row[1].label),
        ("converged probe", reading(P2)),
        ("− teacher", lambda row: mean_over_runs(e.per_seed(row[1], P2) - row[0].teacher(e), "gain")),
        ("20 neighbours", reading(P3)),
        ("published probe", reading(P1)),
        ("effective rank", reading("rank")),
        ("dead units", reading("dead")),
        ("scale of features", reading("scale")),
        ("moved / start", reading("moved")),
    )
    first = families[0]
    beside = [f"{name}: {mean_over_runs(first.of(e, STUDENT, P2 + key), name)}" for name, key in others.items()]
    beside += [f"{name}: {mean_over_runs(first.teacher(e, key), name)}" for name, key in TEACHERS.items()]
    caption = f"Converged probe of what the student is compared with, width {first.line.model.width}: " + "; ".join(
        beside
    )
    return table("Every student", rows, columns, caption + ".")


TEACHERS = {"teacher": P2, "raw pixels": "probe@pixels"}


def vanished_table(e: Evidence, families: Sequence[Family]) -> Table:
    """How much of the published probe's gain is left under converged ones."""

    def gain(key: str):
        return lambda f: mean_over_runs(f.of(e, STUDENT, key) - f.teacher(e, key), key)

    def scale(f: Family):
        own = f.of(e, STUDENT, "scale")
        first = [e.records[Run(f.line.teacher(), seed)].summary["scale"] for seed in e.seeds]
        return mean_over_runs(own / first, "scale, student / teacher")

    columns = (
        ("width", lambda f: f.line.model.width),
        ("parameters", lambda f: round(float(e.summary(f.line.teacher(), "parameters").value))),
        ("published probe", gain(P1)),
        ("converged probe", gain(P2)),
        ("20 neighbours", gain(P3)),
        ("scale of features, student / teacher", scale),
    )
    caption = "Accuracy of student minus teacher. A probe that is not converged takes larger features for better ones."
    return table("What the choice of probe makes", families, columns, caption)
