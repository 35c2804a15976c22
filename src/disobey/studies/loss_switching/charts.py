"""The figures of `loss-switching`."""

from __future__ import annotations

from collections.abc import Sequence

from disobey.figures.estimates import estimates_chart
from disobey.figures.heatmap import heat_map
from disobey.records.results import Axis, Cell, Chart, Table
from disobey.studies.kit.claims import Verdicts
from disobey.studies.kit.design import Arm
from disobey.studies.kit.evidence import CONTROL, Evidence
from disobey.studies.kit.recommend import points
from disobey.studies.kit.tables import table
from disobey.studies.loss_switching.claims import ACCURACY, Condition, labels_after


def line_chart(conditions: Sequence[Condition], e: Evidence, measure: str, name: str, title: str) -> Chart:
    """One measure against the switch point, a line for each order of objectives."""
    rows = [
        (
            arm.number("at"),
            f"{arm['first']}" + (f", over {arm['window']:.0%}" if arm["window"] else ""),
            c.label,
            e.mean(arm, measure),
        )
        for c in conditions
        for arm in c.arms
    ]
    alt = (
        f"{title} by switch point. Labels first runs from distillation (0) to labels alone (1), teacher first the "
        "other way round; bands are 95% intervals over runs."
    )
    axes = Axis("x", "fraction of training before the switch"), Axis("y", title)
    return estimates_chart(rows, name, f"{title} by switch point", *axes, alt, kind="line", color="schedule")


def schedule_table(conditions: Sequence[Condition], e: Evidence) -> Table:
    """Every schedule with its differences from the two ends."""
    distilled = {arm: condition.distilled for condition in conditions for arm in condition.arms}

    def share(arm: Arm) -> Cell:
        recovered = e.share(arm, ACCURACY, of=distilled[arm])
        return recovered if recovered.known else "undefined: no sure gain"

    columns = (
        ("label noise", lambda arm: f"{arm['noise']:.0%}"),
        ("teacher", lambda arm: arm["teacher"]),
        ("first", lambda arm: arm["first"]),
        ("until", lambda arm: f"{arm['at']:.0%}"),
        ("window", lambda arm: f"{arm['window']:.0%}" if arm["window"] else "abrupt"),
        ("test accuracy", e.means(ACCURACY)),
        ("− labels", e.means(ACCURACY, minus=CONTROL)),
        ("− distillation", lambda arm: e.mean(arm, ACCURACY, minus=distilled[arm])),
        ("share of the gain recovered", share),
        ("agreement", e.means("agreement")),
        ("slope (OLS)", e.means("ols_slope")),
        ("lowest quartile: mean y−x", e.means("low_deviation")),
    )
    return table(
        "Every schedule", distilled, columns, "Means over seeds with intervals over runs; differences are paired."
    )


def winners(conditions: Sequence[Condition], e: Evidence) -> Chart:
    """Where each schedule wins: accuracy over distillation to the end, by condition."""
    repeated = (("labels first", 0.0), ("teacher first", 1.0), ("teacher first", 0.0))  # distillation; labels again
    cells = [
        (
            c.label,
            "labels alone" if arm["at"] == 1 else arm.label,
            "",
            float(e.per_seed(arm, ACCURACY, minus=c.distilled).mean()),
        )
        for c in conditions
        for arm in c.arms
        if not arm["window"] and (arm["first"], arm["at"]) not in repeated
    ]
    axes = (
        Axis("condition", "condition", "nominal"),
        Axis("schedule", "schedule", "nominal"),
        Axis("gain", "accuracy − distillation"),
    )
    title = "Where each schedule wins: test accuracy minus distillation to the end"
    alt = "Accuracy of each schedule minus plain distillation's, by label noise and age of the teacher."
    return heat_map(cells, "winners", title, *axes, alt, caption="Means over seeds; the table has the intervals.")


def teacher_accuracy(c: Condition, e: Evidence) -> float:
    """Mean test accuracy of a condition's teacher, at the age that is meant, over the seeds."""
    return float(e.per_seed(c.distilled, "teacher_accuracy").mean())


def map_chart(conditions: Sequence[Condition], e: Evidence) -> Chart:
    """Where labels after the teacher win over distillation to the end: quality of the teacher by label noise."""
    cells = [(f"{c.noise:.0%}", c.teacher, "", round(100 * labels_after(e, c).value, 3)) for c in conditions]
    axes = Axis("noise", "label noise", "nominal"), Axis("teacher", "teacher", "nominal"), Axis("gain", "points")
    title = "Where labels after distillation win: accuracy of the switch at half minus distillation to the end"
    alt = "Accuracy of the teacher first and labels from half of training on, minus that of the teacher to the end."
    caption = "In points, means over seeds: above 0 labels win, below 0 the teacher. The table has intervals and words."
    return heat_map(cells, "labels-after-the-teacher", title, *axes, alt, caption=caption)


def map_table(conditions: Sequence[Condition], e: Evidence, verdicts: Verdicts) -> Table:
    """The same with intervals and with the words of S2 and S3 after correction."""
    words = {(claim.name, claim.setting): claim.corrected for claim in verdicts.corrected().claims}

    def who(c: Condition) -> str:
        estimate = labels_after(e, c)
        if words["S3", c.label] == "supported":
            return "neither, by half a point"
        if words["S2", c.label] == "supported":
            return "labels"
        return "the teacher" if words["S3", c.label] == "contradicted" and estimate.value < 0 else "undecided"

    columns = (
        ("label noise", lambda c: f"{c.noise:.0%}"),
        ("teacher", lambda c: c.teacher),
        ("teacher's accuracy", lambda c: round(teacher_accuracy(c, e), 4)),
        ("distillation − labels", lambda c: points(e.mean(c.distilled, ACCURACY, minus=CONTROL))),
        ("then labels − distillation to the end", lambda c: points(labels_after(e, c))),
        ("can beat (S2)", lambda c: words["S2", c.label]),
        ("preserves (S3)", lambda c: words["S3", c.label]),
        ("who wins the second half", who),
    )
    caption = "Switch at half of training. Words after correction for all claims of the report (Holm)."
    return table("Where labels after distillation win", conditions, columns, caption)
