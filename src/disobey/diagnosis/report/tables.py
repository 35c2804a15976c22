"""The numbers of a diagnosis, each with its interval, n and level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.checks.outcome import CLOSENESS
from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.intervals import estimates
from disobey.diagnosis.evidence.streaming import forward_and_reverse
from disobey.diagnosis.evidence.temperature import fitted
from disobey.diagnosis.input.pair import class_name
from disobey.errors import printable
from disobey.measures import agreement, calibration, deviation, information
from disobey.measures.calibration import tempered
from disobey.measures.inference.comparisons import effect_size, minimum_detectable_effect
from disobey.measures.inference.examples import mean_of, share
from disobey.measures.inference.measure import Measure, applicable, minus_twin, on_teacher, on_twin
from disobey.measures.inference.runs import mean_over_runs, paired_difference
from disobey.measures.information import dark_knowledge, partial_correlation, shuffled_teacher, similarity_blocks
from disobey.records.results import Cell, Table

UNPAIRED = {"teacher_accuracy", "student_right_where_they_differ", "teacher_right_where_they_differ"}
MOST = 40  # classes or groups in a table
SPARSE = {"agreement", "kl", "reverse_kl", "nll", "confidence", "overconfidence", "ece", "ece_mass", "ece_debiased"}


def three_columns(evidence: Evidence, measures: Sequence[Measure], title: str, caption: str) -> Table:
    """Each measure on the student, its twin, and their difference (the last two where there is a twin)."""
    twin = evidence.sample.twin is not None
    forms = [
        m for measure in measures for m in ((measure, on_twin(measure), minus_twin(measure)) if twin else (measure,))
    ]
    found = estimates(evidence, forms)
    rows = []
    for measure in measures:
        names = [form.name for form in ((measure, on_twin(measure), minus_twin(measure)) if twin else (measure,))]
        if names[0] in found:
            rows.append((measure.name, *(found.get(name) for name in names), measure.about))
    columns = ("measure", "student", "twin", "student − twin", "meaning") if twin else ("measure", "student", "meaning")
    return Table(title, columns, tuple(rows), caption)


def outcome(evidence: Evidence) -> Table:
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
    # The teacher's accuracy has no difference, and student and twin differ from it on other examples.
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
    if evidence.temperature != 1 and evidence.sparse is None:
        measures += agreement.divergence_measures(evidence.temperature)
    measures.append(CLOSENESS)
    caption = f"Divergences in nats; .T{evidence.temperature:g}: both sides at that temperature, without the factor T²."
    if evidence.sparse is not None:
        caption += " Lower bounds: everything beyond the lists counts as one token."
    return three_columns(evidence, measures, "Agreement and divergence", caption)


def one_pass_divergences() -> list[Measure]:
    """Forward and reverse KL under the columns that one pass over a large pair has."""
    return [replace(m, columns=forward_and_reverse) for m in agreement.divergence_measures(1.0)[:2]]


def calibrations(evidence: Evidence) -> Table | None:
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
    columns = ("measure", "teacher", "student", *(("twin", "student − twin") if of_twin else ()), "meaning")
    caption = (
        "Against the labels. ece_debiased has the upward bias of small bins taken off, and may be slightly negative."
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
        "x: teacher's, y: student's log-odds of the teacher's most likely class, in nats. Read student − twin: choosing "
        "the teacher's best class makes any other model look less confident, distilled or not."
    )
    return three_columns(evidence, applicable(measures, evidence.sample), "Deviation in logit space", caption)


def temperatures(evidence: Evidence) -> Table | None:
    """Is the student only hotter or colder than its teacher, and what is left after that?"""
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
        rows.append(("ols_slope after", found.get(after[-1].name), "slope of the log-odds that is left"))
    return Table("Hotter or colder", ("quantity", "value", "meaning"), tuple(rows))


def teacher_information(evidence: Evidence) -> Table:
    """How much the teacher says beyond its choice, and whether the student learned it from *this* teacher."""
    measures = list(information.softness_measures(1.0))
    if evidence.sparse is None:
        measures += information.softness_measures(evidence.temperature)
    found = estimates(evidence, measures)
    rows: list[tuple[Cell, ...]] = [(m.name, found.get(m.name), m.about) for m in measures]
    if evidence.sparse is None and 2 < evidence.sample.n_classes <= 2000:
        known = dark_knowledge(evidence.finite)
        rows.append(
            (
                "instance share",
                known.instance_share,
                "share of the variance of the non-target distribution that lies within classes",
            )
        )
        if evidence.sample.n_classes >= 4:
            rows.append(
                (
                    "block share",
                    block_share(known.similarity),
                    "share of non-target probability inside groups of similar classes; by chance about 1 / groups",
                )
            )
    rows += beyond_the_labels(evidence)
    return Table("What the teacher knows", ("quantity", "value", "meaning"), tuple(rows))


def block_share(similarity: NDArray) -> float:
    """Similarity inside average-linkage groups (about √C of them) over all similarity."""
    groups = similarity_blocks(similarity, max(2, round(np.sqrt(len(similarity)))))
    known = np.nan_to_num(similarity)
    same = groups[:, None] == groups[None, :]
    return float(known[same].sum() / max(known.sum(), 1e-300))


def beyond_the_labels(evidence: Evidence) -> list[tuple[Cell, ...]]:
    """Partial correlation of teacher and student given the twin, against permuted teachers."""
    sample = evidence.sample
    if sample.twin is None or evidence.sparse is not None:
        return []
    measure = information.MEASURES["explained_beyond_twin"]
    found = estimates(evidence, [measure]).get(measure.name)
    rows: list[tuple[Cell, ...]] = [("explained beyond twin", found, measure.about)]
    x, y, z = evidence.of(information.beyond_twin)
    chosen = {name: getattr(sample, name).argmax(axis=1) for name in ("teacher", "student", "twin")}
    more = (chosen["student"] == chosen["teacher"]) - (chosen["twin"] == chosen["teacher"]).astype(float)
    rows.append(
        (
            "agreement beyond twin",
            mean_of("agreement beyond twin", more, evidence.level),
            "student's agreement with the teacher minus the twin's",
        )
    )
    kinds = {"row-permuted": False} | ({"class-permuted": True} if sample.labels is not None else {})
    for kind, within in kinds.items():
        orders = [_dealt(evidence, within, seed) for seed in range(20)]
        null = [float(partial_correlation(x[order], y, z)) for order in orders]
        rows += _null("explained", kind, [value for value in null if np.isfinite(value)], evidence.level)
        top = chosen["teacher"]
        null = [float((chosen["student"] == top[o]).mean() - (chosen["twin"] == top[o]).mean()) for o in orders]
        rows += _null("agreement", kind, null, evidence.level)
    return rows


def _dealt(evidence: Evidence, within: bool, seed: int) -> NDArray:
    """(N,): the row of the teacher that each example gets when they are dealt out anew."""
    sample = evidence.sample
    numbered = np.arange(len(sample), dtype=float)[:, None].repeat(2, 1)
    bare = replace(sample, teacher=numbered, student=sample.student[:, :2], twin=None)
    return shuffled_teacher(bare, within_classes=within, seed=seed).teacher[:, 0].astype(int)


def _null(what: str, kind: str, values: list[float], level: float) -> list[tuple[Cell, ...]]:
    if not values:
        return []
    name = f"{what}, {kind} teacher"
    rows = "within the classes of the labels" if kind == "class-permuted" else "anew"
    return [
        (
            name,
            mean_over_runs(values, name, level=level),
            f"{what} beyond twin with the teacher's rows dealt out {rows} (20 times)",
        )
    ]


def seeds(evidence: Evidence) -> Table | None:
    """Several seeds: means over runs, paired with their twins, and what so few runs could have seen."""
    runs = evidence.seeds()
    if len(runs) < 2:
        return None
    measures = applicable(
        [
            agreement.MEASURES["student_accuracy"],
            agreement.MEASURES["agreement"],
            agreement.MEASURES["kl"],
            deviation.MEASURES["ols_slope"],
            deviation.MEASURES["low_deviation"],
        ],
        evidence.sample,
    )
    paired = len(evidence.twins) == len(runs)
    rows = []
    with np.errstate(invalid="ignore", divide="ignore"):
        own = [{m.name: m(run) for m in measures} for run in runs]
    twins = [replace(run, student=run.twin) for run in runs if run.twin is not None] if paired else []
    theirs = [{m.name: m(twin) for m in measures} for twin in twins]
    for measure in measures:
        mine = [v[measure.name] for v in own]
        row: list[Cell] = [measure.name, mean_over_runs(mine, measure.name, level=evidence.level)]
        if paired:
            other = [v[measure.name] for v in theirs]
            differences = np.subtract(mine, other)
            row += [
                paired_difference(mine, other, measure.name, level=evidence.level),
                effect_size(mine, other, level=evidence.level),
                float(minimum_detectable_effect(differences, level=evidence.level)),
            ]
        rows.append(tuple(row))
    columns = (
        "measure",
        "mean over seeds",
        *(("minus twin, paired", "effect size", "smallest effect seen in 80 %") if paired else ()),
    )
    caption = f"{len(runs)} seeds; intervals over runs say what other seeds would give, on these examples."
    return Table("Over seeds", columns, tuple(rows), caption)


def per_class(evidence: Evidence) -> Table | None:
    """Accuracy, agreement and mean deviation by label: the classes that deviate most, of up to `MOST`."""
    labels = evidence.pair.labels
    if labels is None or "teacher" not in evidence.tops or evidence.pair.shape[1] > 5000:
        return None
    names = {c: class_name(evidence.pair, c) for c in np.unique(labels)}
    return _by(evidence, labels, names, "By class", "class")


def per_group(evidence: Evidence) -> Table | None:
    groups = evidence.pair.groups
    if groups is None:
        return None
    found, numbers = np.unique(groups, return_inverse=True)
    return _by(evidence, numbers, {i: printable(g, 100) for i, g in enumerate(found)}, "By group", "group")


def _by(evidence: Evidence, of: NDArray, names: dict[int, str], title: str, what: str) -> Table:
    x, y, *_ = evidence.of(deviation.confidence)
    agree, labels = None, evidence.pair.labels
    if "teacher" in evidence.tops:
        agree = evidence.tops["teacher"] == evidence.tops["student"]
    with np.errstate(invalid="ignore"):  # infinite on both sides
        means = {"mean deviation": _placed(evidence, y - x)}
    means["KL"] = _placed(evidence, evidence.of(forward_and_reverse)[0])
    if labels is not None and evidence.sparse is None:
        *_, confidence, right = evidence.of(calibration.scores)  # of the student
        means["over-confidence"] = _placed(evidence, confidence - right)
    finite = np.isfinite(means["mean deviation"])
    of_finite = np.bincount(of[finite], minlength=int(of.max()) + 1)
    order = np.bincount(of[finite], means["mean deviation"][finite], len(of_finite)) / np.maximum(of_finite, 1)
    rows = []
    for number in sorted(names, key=lambda number: -abs(order[number]))[:MOST]:
        members = np.flatnonzero(of == number)
        n = len(members)
        cells: list[Cell] = [names[number], n]
        if labels is not None and agree is not None:
            for who in ("teacher", "student"):
                hits = float((evidence.tops[who][members] == labels[members]).sum())
                cells.append(share(f"{who} accuracy", hits, n, evidence.level))
        if agree is not None:
            cells.append(share("agreement", float(agree[members].sum()), n, evidence.level))
        for name, column in means.items():
            known = column[members][np.isfinite(column[members])]
            cells.append(mean_of(name, known, evidence.level) if len(known) else None)
        rows.append(tuple(cells))
    columns = [what, "n"] + (
        ["teacher accuracy", "student accuracy"] if labels is not None and agree is not None else []
    )
    units = {"mean deviation": " (nats)", "KL": " (nats)", "over-confidence": " of the student"}
    columns += (["agreement"] if agree is not None else []) + [name + units[name] for name in means]
    caption = f"Largest deviations first; {len(rows)} of {len(names)}. Means leave infinite values out. Many rows: a few intervals miss by chance."
    return Table(title, tuple(columns), tuple(rows), caption)


def _placed(evidence: Evidence, column: NDArray) -> NDArray:
    """(N,): a column of all examples, or of the sample that is looked at whole; NaN elsewhere."""
    if len(column) == evidence.n:
        return column
    placed = np.full(evidence.n, np.nan)
    placed[evidence.rows] = column
    return placed
