"""The tables of `teacher-choice`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Estimate, Table
from disobey.studies.kit.evidence import Evidence
from disobey.studies.kit.tables import as_points, in_points, table
from disobey.studies.teacher_choice.claims import Setting
from disobey.studies.teacher_choice.properties import PROPERTIES
from disobey.studies.teacher_choice.ranking import ACCURACY, CEILING, PILOT, Ranking
from disobey.studies.teacher_choice.teachers import READINGS


def property_table(settings: Sequence[Setting]) -> Table:
    """Every teacher with what is known of it on validation examples."""
    signs = dict.fromkeys(PROPERTIES, 1) | {"NLL": -1, "calibration": -1, "supervision complexity": -1}
    signs |= {"entropy shape": -1}
    rows = [(s, i, teacher) for s in settings for i, teacher in enumerate(s.ranking.teachers)]

    def cell(name: str):
        return lambda row: mean_over_runs(signs[name] * row[0].ranking.known[name][row[1]], name)

    columns = (
        ("label noise", lambda row: f"{row[0].cell.noise:.0%}"),
        ("teacher", lambda row: row[2]),
        *((name, cell(name)) for name in PROPERTIES),
        ("pilot's accuracy", lambda row: mean_over_runs(row[0].ranking.known[PILOT][row[1]], PILOT)),
        ("student, test", lambda row: mean_over_runs(row[0].ranking.students[row[1]], "student")),
    )
    caption = "Validation examples; calibration is the debiased error, entropy shape the share of the top quarter."
    return table("What is known of every teacher before distilling", rows, columns, caption)


def student_table(e: Evidence, settings: Sequence[Setting]) -> Table:
    """Every student beside labels alone and beside the raw student of the same teacher."""
    rows = [(s, t, r, s.cell.students[t, r]) for s in settings for t in s.cell.teachers for r in READINGS]

    def over_raw(row: tuple) -> Estimate:
        return e.mean(row[3], ACCURACY, minus=row[0].cell.students[row[1], "raw"])

    def over_labels(row: tuple) -> Estimate:
        return e.mean(row[3], ACCURACY, minus=row[0].cell.control)

    columns = (
        ("label noise", lambda row: f"{row[0].cell.noise:.0%}"),
        ("teacher", lambda row: row[1]),
        ("read", lambda row: row[2]),
        ("accuracy", lambda row: e.mean(row[3], ACCURACY)),
        ("− labels (points)", in_points(over_labels)),
        ("− raw (points)", lambda row: None if row[2] == "raw" else in_points(over_raw)(row)),
        ("NLL", lambda row: e.mean(row[3], "nll")),
    )
    return table("Every student (test)", rows, columns, "Means over seeds; differences are paired.")


def ranking_table(settings: Sequence[Setting]) -> Table:
    """How well each number ranks, and what choosing by it brings and leaves."""
    rows = [(s, name) for s in settings for name in (*PROPERTIES, PILOT, CEILING, "")]

    def of(make: Callable[[Ranking, str], Estimate]) -> Callable[[tuple[Setting, str]], Estimate | None]:
        return lambda row: make(row[0].ranking, row[1]) if row[1] else None

    columns = (
        ("label noise", lambda row: f"{row[0].cell.noise:.0%}"),
        ("chosen by", lambda row: row[1] or "nothing: at random"),
        ("Spearman", of(Ranking.correlation)),
        ("Kendall", of(Ranking.kendall)),
        ("− at random (points)", of(lambda ranking, name: as_points(ranking.over_random(name)))),
        ("regret (points)", lambda row: as_points(row[0].ranking.regret(row[1]))),
    )
    caption = (
        "Within each seed over all teachers, then means over seeds. Regret: the seed's best student minus the chosen "
        f"one's, on test examples. {CEILING.capitalize()} is known only afterwards: a ceiling for what can be ranked."
    )
    return table("Choosing a teacher before distilling", rows, columns, caption)
