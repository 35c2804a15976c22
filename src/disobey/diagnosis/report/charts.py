"""What a diagnosis shows: the logit–logit plot, reliability, deviations by class, similarities, disobeyed examples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.errors import printable
from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.streaming import asking
from disobey.diagnosis.input.pair import class_name
from disobey.measures.calibration import reliability_curve as curve
from disobey.measures.deviation import binned_medians, confidence, fitted_line, log_odds
from disobey.measures.inference.intervals import on_twin
from disobey.measures.information import dark_knowledge, similarity_blocks
from disobey.records.predictions import Predictions
from disobey.records.results import Axis, Chart, Exhibit, Gallery, Rule

POINTS = 20_000  # of the logit–logit plot
HEAT = 40  # classes in a heat map
SHOWN = 12  # disobeyed examples
X_TITLE = "teacher's log-odds of its choice (nats)"


def logit_logit(evidence: Evidence) -> Chart:
    """Student (and twin, beside it) against teacher, one point an example, by whether the teacher is right."""
    sample = evidence.sample
    rows = np.arange(len(sample))
    if len(rows) > POINTS:
        rows = np.sort(np.random.default_rng(evidence.seed).choice(rows, POINTS, replace=False))
    part = sample.take(rows)
    sides = {"student": part} if part.twin is None else {"student": part, "twin": part.with_student(part.twin)}
    columns: dict[str, list] = {
        name: [] for name in ("x", "y", "teacher is", "model", "example", "label", "teacher", "chosen")
    }
    rules = [Rule(1.0, 0.0, "obeys (y = x)")]
    for name, predictions in sides.items():
        x, y, right, _ = _confidence(evidence, predictions, rows, name)
        keep = np.isfinite(x) & np.isfinite(y)
        if keep.sum() >= 2 and x[keep].std() > 0:
            rules.append(Rule(*fitted_line(x, y), f"least squares, {name}", name))
        columns["x"] += [round(float(v), 4) for v in x[keep]]
        columns["y"] += [round(float(v), 4) for v in y[keep]]
        columns["teacher is"] += _right_words(evidence, right[keep])
        columns["model"] += [name] * int(keep.sum())
        for key, value in _descriptions(evidence, predictions, rows[keep], keep).items():
            columns[key] += value
    data = {name: tuple(column) for name, column in columns.items()}
    return Chart(
        "logit-logit", "Where does the student disobey?", "scatter", data, Axis("x", X_TITLE),
        Axis("y", "the model's log-odds of the same class (nats)"),
        "Scatter plot of log-odds, teacher horizontally, student vertically. Points on the diagonal obey; the table "
        "'Deviation in logit space' holds the slopes.",
        caption="Below the diagonal the model is less confident than the teacher in the teacher's choice. Compare with the twin.",
        color=Axis("teacher is", "teacher is", "nominal"), facet=Axis("model", "model", "nominal"), rules=tuple(rules),
        tooltip=("example", "label", "teacher", "chosen"),
    )  # fmt: skip


def _confidence(evidence: Evidence, part: Predictions, rows: NDArray, name: str) -> tuple[NDArray, ...]:
    if evidence.sparse is not None:  # the lists' own columns: the coarse sample merges what is beyond them
        own = on_twin(asking(confidence)).columns if name == "twin" else confidence
        x, y, right, mislabelled = (column[evidence.rows[rows]] for column in evidence.columns[own])
        return x.astype(float), y.astype(float), right, mislabelled
    return confidence(part)  # type: ignore[return-value]


def _right_words(evidence: Evidence, right: NDArray) -> list[str]:
    if evidence.pair.labels is None:
        return ["not known"] * len(right)
    return ["right" if r else "wrong" for r in right]


def _descriptions(evidence: Evidence, part: Predictions, rows: NDArray, keep: NDArray) -> dict[str, list]:
    pair = evidence.pair
    ids = [printable(i, 80) for i in evidence.sample.ids[rows]]
    if evidence.sparse is not None:
        return {"example": ids, "label": [""] * len(ids), "teacher": [""] * len(ids), "chosen": [""] * len(ids)}
    labels = evidence.sample.labels
    names = [""] * len(ids) if labels is None else [class_name(pair, c) for c in labels[rows]]
    return {
        "example": ids,
        "label": names,
        "teacher": [class_name(pair, c) for c in part.teacher[keep].argmax(axis=1)],
        "chosen": [class_name(pair, c) for c in part.student[keep].argmax(axis=1)],
    }


def medians(evidence: Evidence) -> Chart | None:
    """Median and quartiles of the models' log-odds in bins of the teacher's."""
    if evidence.sparse is not None:
        return None
    sample = evidence.sample
    sides = (
        {"student": sample} if sample.twin is None else {"student": sample, "twin": sample.with_student(sample.twin)}
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
        "medians", "Typical confidence at each confidence of the teacher", "line",
        {k: tuple(v) for k, v in data.items()}, Axis("x", X_TITLE),
        Axis("y", "the model's log-odds, median (nats)"), "Line of medians with a band of quartiles, one line a model.",
        caption="Median (line) and quartiles (band) in 20 equally filled bins.", color=Axis("model", "model", "nominal"),
        low="low", high="high", rules=(Rule(1.0, 0.0, "obeys (y = x)"),),
    )  # fmt: skip


def reliability(evidence: Evidence) -> Chart | None:
    """Accuracy against confidence of teacher, student and twin."""
    sample = evidence.sample
    if evidence.labels is None or evidence.sparse is not None:
        return None
    sides = {"teacher": sample.teacher, "student": sample.student, "twin": sample.twin}
    data: dict[str, list] = {name: [] for name in ("confidence", "accuracy", "low", "high", "model", "n")}
    for name, log_probs in sides.items():
        if log_probs is None:
            continue
        found = curve(sample.with_student(log_probs), level=evidence.level)
        for key in ("confidence", "accuracy", "low", "high", "n"):
            data[key] += [round(float(v), 5) for v in getattr(found, key)]
        data["model"] += [name] * len(found.n)
    return Chart(
        "reliability", "Does confidence mean what it says?", "line", {k: tuple(v) for k, v in data.items()},
        Axis("confidence", "mean confidence of the bin"), Axis("accuracy", "accuracy of the bin"),
        "Reliability curves: accuracy against confidence in 15 equally filled bins, one curve a model.",
        caption=f"15 equally filled bins; bands are Wilson intervals at {evidence.level:.0%}. On the diagonal: calibrated.",
        color=Axis("model", "model", "nominal"), low="low", high="high", rules=(Rule(1.0, 0.0, "calibrated"),), tooltip=("n",),
    )  # fmt: skip


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
    return heat_map(
        evidence, means[np.ix_(chosen, chosen)], chosen, "class-deviation", "Which classes deviate from which?",
        (what, "class", "student − teacher probability"),
        "Positive: the student gives the class more probability than its teacher, on examples of the row's label."
        + (f" The {HEAT} classes that deviate most, of {classes}." if classes > HEAT else ""),
    )  # fmt: skip


def similarity(evidence: Evidence) -> Chart | None:
    """The teacher's class similarities, classes ordered by their groups."""
    sample = evidence.sample
    if evidence.sparse is not None or not 3 <= sample.n_classes <= HEAT:
        return None
    known = dark_knowledge(evidence.finite)
    order = np.argsort(similarity_blocks(known.similarity, max(2, round(np.sqrt(sample.n_classes)))), kind="stable")
    return heat_map(
        evidence, np.nan_to_num(known.similarity[np.ix_(order, order)]), order, "class-similarity",
        "What the teacher finds similar", ("label", "class", "share of the rest"),
        "The teacher's probability beyond the label, shared out; classes are ordered by groups of similar ones.",
    )  # fmt: skip


def heat_map(evidence, cells: NDArray, classes: NDArray, name: str, title: str, axes: tuple, caption: str) -> Chart:
    names = [class_name(evidence.pair, c) for c in classes]
    rows, columns = np.meshgrid(np.arange(len(classes)), np.arange(len(classes)), indexing="ij")
    data = {
        axes[0]: tuple(names[i] for i in rows.ravel()),
        axes[1]: tuple(names[i] for i in columns.ravel()),
        "value": tuple(round(float(v), 5) for v in cells.ravel()),
    }
    return Chart(
        name, title, "heatmap", data, Axis(axes[1], axes[1], "nominal"), Axis(axes[0], axes[0], "nominal"),
        f"Heat map of {axes[2]}, {axes[0]} by {axes[1]}.", caption=caption, color=Axis("value", axes[2]),
    )  # fmt: skip


def most_disobeyed(evidence: Evidence) -> Gallery | None:
    """The examples with the largest |y − x|, with both distributions, and their image or text."""
    if evidence.sparse is not None:
        return None
    sample, pair = evidence.sample, evidence.pair
    top = sample.teacher.argmax(axis=1)
    finite = evidence.finite  # a probability of 0 is a large deviation, not an infinite one
    gap = log_odds(finite.student, top) - log_odds(finite.teacher, top)
    gap = np.where(np.isfinite(gap), gap, 0)
    rows = np.argsort(-np.abs(gap), kind="stable")[:SHOWN]
    images = _images(evidence, evidence.rows[rows])
    exhibits = []
    for place, row in enumerate(rows):
        lines = [f"label: {class_name(pair, int(sample.labels[row]))}"] if sample.labels is not None else []
        lines += [f"{who}: {_distribution(evidence, getattr(sample, who)[row])}" for who in ("teacher", "student", "twin")
                  if getattr(sample, who) is not None]  # fmt: skip
        lines.append(f"deviation: {gap[row]:+.2f} nats")
        text = "" if pair.texts is None else printable(pair.texts[evidence.rows[row]], 600)
        exhibits.append(Exhibit(printable(sample.ids[row], 80), tuple(lines), text, images[place] if images else ()))
    return Gallery("Most disobeyed examples", tuple(exhibits),
                   "Largest differences of log-odds of the teacher's choice; the three most likely classes of each model.")  # fmt: skip


def _distribution(evidence: Evidence, log_probs: NDArray) -> str:
    best = np.argsort(-log_probs, kind="stable")[:3]
    return ", ".join(f"{class_name(evidence.pair, c)} {np.exp(log_probs[c]):.3f}" for c in best)


def _images(evidence: Evidence, rows: NDArray) -> list[tuple]:
    """Nested tuples of 0–255 of these rows' images, from (N, H, W), (N, H, W, 3) or (N, 3, H, W)."""
    matrix = evidence.pair.images
    if matrix is None or len(matrix.shape) not in (3, 4) or matrix.shape[0] != evidence.n:
        return []
    found: dict[int, NDArray] = {}
    start = 0
    for block in matrix.blocks(256):
        for row in rows[(rows >= start) & (rows < start + len(block))]:
            found[int(row)] = np.array(block[row - start], dtype=np.float64)
        start += len(block)
    out = []
    for row in rows:
        image = found[int(row)]
        if image.ndim == 3 and image.shape[0] in (1, 3):
            image = np.moveaxis(image, 0, -1)
        image = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
        low, high = np.nanmin(image), np.nanmax(image)
        if low < 0 or high <= 1 or high > 255:  # normalized: stretched, so that something is seen
            image = 255 * (image - low) / max(high - low, 1e-12)
        pixels = np.nan_to_num(image[:256, :256]).astype(int)
        out.append(_nested(pixels))
    return out


def _nested(array: NDArray):
    return tuple(_nested(part) for part in array) if array.ndim > 1 else tuple(int(v) for v in array)
