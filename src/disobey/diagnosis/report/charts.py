"""What a diagnosis shows: the logit plot, reliability, deviations by class, similarities, disobeyed examples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.report.tables import CONTROL
from disobey.figures import gallery
from disobey.figures.examples import class_word
from disobey.figures.gallery import Look
from disobey.figures.heatmap import heat_map, matrix_cells
from disobey.figures.logit_plot import X_TITLE, logit_plot
from disobey.measures.calibration import reliability_curve as curve
from disobey.measures.deviation import binned_medians, confidence
from disobey.measures.inference.measure import columns_on
from disobey.measures.information import dark_knowledge, similarity_blocks
from disobey.records.results import Axis, Chart, Gallery, Rule

HEAT = 40  # classes in a heat map


def logits(evidence: Evidence) -> Chart:
    """Student (and control, beside it) against teacher, one point an example, by whether the teacher is right."""
    functions = {"student": confidence, "twin": columns_on(confidence, "twin")}
    columns = {}
    for name, function in functions.items():
        if name == "student" or evidence.sample.twin is not None:
            found = evidence.of(
                function
            )  # of top-k lists their own columns: the coarse sample merges what is beyond them
            columns[name] = [c if len(c) == len(evidence.rows) else c[evidence.rows] for c in found]
    dense = evidence.sparse is None
    return logit_plot(evidence.sample, "logit-logit", "Where does the student disobey?", columns=columns, classes=dense)


def medians(evidence: Evidence) -> Chart | None:
    """Median and quartiles of the models' log-odds in bins of the teacher's."""
    if evidence.sparse is not None:
        return None
    sample = evidence.sample
    sides = (
        {"student": sample} if sample.twin is None else {"student": sample, CONTROL: sample.with_student(sample.twin)}
    )
    data: dict[str, list] = {name: [] for name in ("x", "y", "low", "high", "model")}
    for name, predictions in sides.items():
        x, y = confidence(predictions)[:2]
        keep = np.isfinite(x) & np.isfinite(y)
        if keep.sum() < 40:
            return None
        bins = binned_medians(x[keep], y[keep], bins=20)
        for key, column in (("x", bins.x), ("y", bins.median), ("low", bins.low), ("high", bins.high)):
            data[key] += [round(float(v), 4) for v in column]
        data["model"] += [name] * len(bins.x)
    return Chart(
        "medians",
        "Typical confidence at each confidence of the teacher",
        "line",
        {k: tuple(v) for k, v in data.items()},
        Axis("x", X_TITLE),
        Axis("y", "the model's log-odds, median (nats)"),
        "Line of medians with a band of quartiles, one line a model.",
        caption="Median (line) and quartiles (band) in 20 equally filled bins.",
        color=Axis("model", "model", "nominal"),
        low="low",
        high="high",
        rules=(Rule(1.0, 0.0, "obeys: y = x"),),
    )


def reliability(evidence: Evidence) -> Chart | None:
    """Accuracy against confidence of teacher, student and control."""
    sample = evidence.sample
    if evidence.labels is None or evidence.sparse is not None:
        return None
    sides = {"teacher": sample.teacher, "student": sample.student, CONTROL: sample.twin}
    data: dict[str, list] = {name: [] for name in ("confidence", "accuracy", "low", "high", "model", "n")}
    for name, log_probs in sides.items():
        if log_probs is None:
            continue
        found = curve(sample.with_student(log_probs), level=evidence.level)
        for key in ("confidence", "accuracy", "low", "high", "n"):
            data[key] += [round(float(v), 5) for v in getattr(found, key)]
        data["model"] += [name] * len(found.n)
    over = "" if evidence.codes is None else " over clusters"
    return Chart(
        "reliability",
        "Is confidence equal to accuracy?",
        "line",
        {k: tuple(v) for k, v in data.items()},
        Axis("confidence", "mean confidence of the bin"),
        Axis("accuracy", "accuracy of the bin"),
        "Reliability curves: accuracy against confidence in 15 equally filled bins, one curve a model.",
        caption=f"15 equally filled bins; bands: Wilson intervals at {evidence.level:.0%}{over}. Diagonal: calibrated.",
        color=Axis("model", "model", "nominal"),
        low="low",
        high="high",
        rules=(Rule(1.0, 0.0, "calibrated"),),
        tooltip=("n",),
    )


def class_deviation(evidence: Evidence) -> Chart | None:
    """Mean difference of probability, student minus teacher, by label (or teacher's choice) and class."""
    sample = evidence.sample
    if evidence.sparse is not None:
        return None
    rows = sample.teacher.argmax(axis=1) if sample.labels is None else sample.labels
    classes = sample.n_classes
    sums, counts = np.zeros((classes, classes)), np.bincount(rows, minlength=classes)
    for chunk, labels in zip(sample.chunks(4096), np.split(rows, range(4096, len(rows), 4096)), strict=True):
        np.add.at(sums, labels, np.exp(chunk.student) - np.exp(chunk.teacher))
    means = sums / np.maximum(counts, 1)[:, None]
    chosen = np.arange(classes)
    if classes > HEAT:
        chosen = np.sort(np.argsort(-np.abs(means).sum(axis=1) * (counts > 0))[:HEAT])
    what = "label" if sample.labels is not None else "teacher's choice"
    names = [class_word(sample, c) for c in chosen]
    return heat_map(
        matrix_cells(means[np.ix_(chosen, chosen)], names, names),
        "class-deviation",
        "Which classes deviate from which?",
        Axis("class", "class", "nominal"),
        Axis(what, what, "nominal"),
        Axis("value", "student − teacher probability"),
        f"Heat map of student − teacher probability, {what} by class.",
        caption="Above 0: on examples of the row's label the student gives the class more probability than the teacher."
        + (f" The {HEAT} classes that deviate most, of {classes}." if classes > HEAT else ""),
    )


def similarity(evidence: Evidence) -> Chart | None:
    """The teacher's class similarities, classes ordered by their groups."""
    sample = evidence.sample
    if evidence.sparse is not None or not 3 <= sample.n_classes <= HEAT:
        return None
    known = dark_knowledge(evidence.finite)
    order = np.argsort(similarity_blocks(known.similarity, max(2, round(np.sqrt(sample.n_classes)))), kind="stable")
    names = [class_word(sample, c) for c in order]
    return heat_map(
        matrix_cells(np.nan_to_num(known.similarity[np.ix_(order, order)]), names, names),
        "class-similarity",
        "What the teacher finds similar",
        Axis("class", "class", "nominal"),
        Axis("label", "label", "nominal"),
        Axis("value", "share of the rest"),
        "Heat map of share of the rest, label by class.",
        caption="How the teacher's probability beyond the label is shared; similar classes stand side by side.",
    )


def most_disobeyed(evidence: Evidence) -> Gallery | None:
    """The examples with the largest |y − x|, with both distributions, and their image or text."""
    if evidence.sparse is not None:
        return None

    def show(rows: NDArray) -> list[Look]:
        places, texts = evidence.rows[rows], evidence.pair.texts
        words = [""] * len(rows) if texts is None else [str(texts[place]) for place in places]
        return [Look(text, image) for text, image in zip(words, _images(evidence, places), strict=True)]

    return gallery.most_disobeyed(evidence.sample, "Most disobeyed examples", show)


def _images(evidence: Evidence, rows: NDArray) -> list[NDArray | None]:
    """These rows' images, from (N, H, W), (N, H, W, 3) or (N, 3, H, W), read block by block."""
    matrix = evidence.pair.images
    if matrix is None or len(matrix.shape) not in (3, 4) or matrix.shape[0] != evidence.n:
        return [None] * len(rows)
    found: dict[int, NDArray] = {}
    start = 0
    for block in matrix.blocks(256):
        for row in rows[(rows >= start) & (rows < start + len(block))]:
            found[int(row)] = np.array(block[row - start], dtype=np.float64)
        start += len(block)
    return [found[int(row)] for row in rows]
