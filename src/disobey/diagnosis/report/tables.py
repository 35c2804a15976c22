"""How student and teacher compare: accuracy, agreement, calibration, deviation, temperature, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.intervals import estimates
from disobey.diagnosis.evidence.streaming import forward_and_reverse
from disobey.diagnosis.evidence.temperature import fitted
from disobey.measures import agreement, calibration, deviation
from disobey.measures.deviation import CLOSENESS
from disobey.measures.inference.measure import Measure, applicable, minus_twin, on_teacher, on_twin
from disobey.measures.temperature import tempered
from disobey.records.results import Cell, Table

CONTROL, DIFFERENCE = "control (twin)", "student − control"  # headings of columns
UNPAIRED = {"teacher_accuracy", "student_right_where_they_differ", "teacher_right_where_they_differ"}
SPARSE = {"agreement", "kl", "reverse_kl", "nll", "confidence", "overconfidence", "ece", "ece_mass", "ece_debiased"}


def three_columns(evidence: Evidence, measures: Sequence[Measure], title: str, caption: str) -> Table:
    """Each measure on the student, its control, and their difference (the last two where there is a control)."""
    twin = evidence.sample.twin is not None
    forms = [(m, on_twin(m), minus_twin(m)) if twin else (m,) for m in measures]
    found = estimates(evidence, [form for three in forms for form in three])
    rows = [
        (m.name, *(found.get(form.name) for form in three), m.about)
        for m, three in zip(measures, forms, strict=True)
        if m.name in found
    ]
    columns = ("measure", "student", *((CONTROL, DIFFERENCE) if twin else ()), "meaning")
    return Table(title, columns, tuple(rows), caption)


def outcome(evidence: Evidence) -> Table | None:
    """Accuracies, and how often one of teacher and student is right where the other is not; None without labels."""
    if evidence.pair.labels is None:
        return None
    names = (
        "student_accuracy",
        "teacher_accuracy",
        "accuracy_gap",
        "positive_flips",
        "negative_flips",
        "student_right_where_they_differ",
        "teacher_right_where_they_differ",
    )
    caption = "Shares of examples. A flip is an example that only one of teacher and student gets right."
    table = three_columns(evidence, [agreement.MEASURES[n] for n in names], "Accuracy and flips", caption)
    if evidence.sample.twin is None:
        return table
    # The teacher's accuracy has no difference, and student and control differ from it on other examples.
    rows = tuple((*row[:3], None, *row[4:]) if row[0] in UNPAIRED else row for row in table.rows)
    return replace(table, rows=rows)


def closeness(evidence: Evidence) -> Table:
    """Agreement and divergences, at T = 1 and at the user's temperature."""
    names = ["agreement", "agreement.teacher_right", "agreement.teacher_wrong", "agreement.low"]
    measures = [agreement.MEASURES[name] for name in names] + one_pass_divergences()
    if evidence.sparse is None:
        measures += [agreement.MEASURES["top5_overlap"]] if evidence.sample.n_classes > 5 else []
        measures += [agreement.MEASURES["rank_correlation"]] if evidence.sample.n_classes > 2 else []
    measures += agreement.divergence_measures(1.0)[2:]
    tempered_too = evidence.temperature != 1 and evidence.sparse is None and "boxes" not in evidence.pair.facts
    if tempered_too:
        measures += agreement.divergence_measures(evidence.temperature)
    measures.append(CLOSENESS)
    caption = "Divergences in nats."
    if tempered_too:
        caption = f"{caption[:-1]}; .T{evidence.temperature:g}: both sides at that temperature, without the factor T²."
    if evidence.sparse is not None:
        caption += " Lower bounds: everything beyond the lists counts as one token."
    return three_columns(evidence, measures, "Agreement and divergence", caption)


def one_pass_divergences() -> list[Measure]:
    """Forward and reverse KL under the columns that one pass over a large pair has."""
    return [replace(m, columns=forward_and_reverse) for m in agreement.divergence_measures(1.0)[:2]]


def calibrations(evidence: Evidence) -> Table | None:
    """Likelihood, Brier score with its parts, calibration errors of every model; None without labels."""
    if evidence.pair.labels is None:
        return None
    names = (
        "nll",
        "brier",
        "reliability",
        "resolution",
        "uncertainty",
        "ece_debiased",
        "ece_mass",
        "ece",
        "overconfidence",
    )
    measures = [calibration.MEASURES[n] for n in names if evidence.sparse is None or n in SPARSE]
    of_twin = (on_twin, minus_twin) if evidence.sample.twin is not None else ()
    shapes = (on_teacher, _itself, *of_twin)
    forms = [shape(m) for m in measures for shape in shapes if evidence.sparse is None or shape is not on_teacher]
    found = estimates(evidence, forms)
    rows = []
    for m in measures:
        cells = [found.get(shape(m).name) for shape in shapes]
        if any(cells):
            rows.append((m.name, *cells, m.about))
    columns = ("measure", "teacher", "student", *((CONTROL, DIFFERENCE) if of_twin else ()), "meaning")
    caption = (
        "Against the labels. ece_debiased is corrected for the upward bias of small bins, and may be slightly negative."
    )
    return Table("Calibration", columns, tuple(rows), caption)


def _itself(measure: Measure) -> Measure:
    return measure


def deviations(evidence: Evidence) -> Table:
    """The deviation statistics, split by whether the teacher is right."""
    names = [
        "ols_slope",
        "tls_slope",
        "sd_ratio",
        "swapped_slope",
        "mean_deviation",
        "low_deviation",
        "high_deviation",
        "low_below",
        "high_below",
        "share_below",
        "infinite_share",
    ]
    splits = ["teacher_right", "teacher_wrong"] if evidence.pair.labels is not None else []
    splits += ["mislabelled"] if evidence.pair.mislabelled is not None else []
    names += [f"{name}.{split}" for split in splits for name in ("ols_slope", "mean_deviation", "low_deviation")]
    measures = [deviation.MEASURES[name] for name in names]
    if evidence.sparse is None and evidence.sample.n_classes > 2:
        measures += [deviation.MEASURES["ols_slope.top2"]]
        measures += [deviation.MEASURES["ols_slope.top5"]] if evidence.sample.n_classes >= 5 else []
    caption = (
        "x: teacher's, y: student's log-odds of the teacher's most likely class, in nats. Read student − control: "
        "choosing the teacher's best class makes any other model look less confident, distilled or not."
    )
    return three_columns(evidence, applicable(measures, evidence.sample), "Deviation in logit space", caption)


def temperatures(evidence: Evidence) -> Table | None:
    """Is the student only at another temperature than its teacher, and what remains after that?"""
    if evidence.sparse is not None:
        return None
    rows: list[tuple[Cell, ...]] = []
    to_teacher = fitted(evidence, "teacher")
    rows.append(
        ("temperature to the teacher", to_teacher, "dividing the student's logits by it comes closest to the teacher")
    )
    if evidence.labels is not None:
        to_labels = fitted(evidence, "labels")
        rows.append(
            ("temperature to the labels", to_labels, "the same for the labels' likelihood; above 1: over-confident")
        )
    if np.isfinite(to_teacher.value):
        before = [agreement.MEASURES[name] for name in ("kl", "jensen_shannon")]
        after = [tempered(measure, to_teacher.value) for measure in (*before, deviation.MEASURES["ols_slope"])]
        found = estimates(evidence, [*before, *after])
        for measure, cooled in zip(before, after[:2], strict=True):
            rows.append((f"{measure.name} before", found.get(measure.name), measure.about))
            rows.append((f"{measure.name} after", found.get(cooled.name), "what no common temperature explains"))
        rows.append(("ols_slope after", found.get(after[-1].name), "slope of the log-odds that remains"))
    return Table("Temperature between student and teacher", ("quantity", "value", "meaning"), tuple(rows))
