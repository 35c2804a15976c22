"""Figures and galleries that several studies show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import Dataset
from disobey.measures.deviation import fitted_line, log_odds
from disobey.models.build import ModelSpec
from disobey.records.predictions import Predictions
from disobey.records.results import Axis, Chart, Estimate, Exhibit, Gallery, Rule
from disobey.training.presets import spec_text

SHOWN = 4_999  # points a chart: more become a histogram, and the page would carry them all


def model_word(spec: ModelSpec) -> str:
    return spec_text(spec)


def count_word(examples: int | None) -> str:
    """A number of training examples for a sentence: ``1,000``, or ``all``."""
    return "all" if examples is None else f"{examples:,}"


def logit_logit(predictions: Predictions, name: str, title: str) -> Chart:
    """Log-odds of the teacher's class: student and twin against the teacher, side by side, with fitted lines."""
    p = predictions
    top = np.asarray(p.teacher).argmax(axis=1)
    x = log_odds(np.asarray(p.teacher, dtype=np.float64), top)
    models = {"student": p.student} | ({} if p.twin is None else {"twin (no teacher)": p.twin})
    rows = _spread(len(p), SHOWN // len(models))
    kinds = _kinds(p, top)
    data: dict[str, list] = {key: [] for key in ("x", "y", "model", "teacher is", "example", "class")}
    lines = [Rule(1.0, 0.0, "obeys: y = x")]
    for model, log_probs in models.items():
        y = log_odds(np.asarray(log_probs, dtype=np.float64), top)
        slope, intercept = fitted_line(x, y)
        lines.append(Rule(slope, intercept, f"least squares, slope {slope:.2f}", model))
        finite = rows[np.isfinite(x[rows]) & np.isfinite(y[rows])]
        data["x"] += _rounded(x[finite])
        data["y"] += _rounded(y[finite])
        data["model"] += [model] * len(finite)
        data["teacher is"] += [kinds[i] for i in finite]
        data["example"] += [str(p.ids[i]) for i in finite]
        data["class"] += [_class(p, top[i]) for i in finite]
    slopes = ", ".join(f"{line.facet}: {line.label}" for line in lines[1:])
    return Chart(
        name,
        title,
        "scatter",
        {key: tuple(column) for key, column in data.items()},
        Axis("x", "teacher's log-odds of its class (nats)"),
        Axis("y", "student's log-odds of that class (nats)"),
        alt=f"Each point is an example. On the diagonal a student obeys its teacher. {slopes}.",
        caption="Below the diagonal the student is less confident than its teacher. The twin had no teacher: what it shows "
        "is selection and noise. " + (f"{len(rows):,} of {len(p):,} examples shown." if len(rows) < len(p) else ""),
        color=Axis("teacher is", "teacher is", "nominal"),
        facet=Axis("model", "", "nominal"),
        rules=tuple(lines),
        tooltip=("example", "class", "teacher is", "x", "y"),
    )


def most_disobeyed(predictions: Predictions, dataset: Dataset, title: str, count: int = 12) -> Gallery:
    """The examples on which the student departs most from its teacher's confidence, largest first."""
    p = predictions
    top = np.asarray(p.teacher).argmax(axis=1)
    x = log_odds(np.asarray(p.teacher, dtype=np.float64), top)
    y = log_odds(np.asarray(p.student, dtype=np.float64), top)
    gap = np.where(np.isfinite(y - x), np.abs(y - x), -1.0)
    split = dataset.split(p.split)
    place = {int(i): row for row, i in enumerate(split.ids)}
    exhibits = []
    for i in np.argsort(-gap, kind="stable")[:count]:
        lines = (
            f"true class: {_class(p, int(p.labels[i]))}" if p.labels is not None else "",
            _says("teacher", p.teacher[i], p),
            _says("student", p.student[i], p),
            *([] if p.twin is None else [_says("twin", p.twin[i], p)]),
            f"log-odds {x[i]:+.1f} → {y[i]:+.1f}",
        )
        row = place.get(int(p.ids[i]))
        exhibits.append(
            Exhibit(f"example {p.ids[i]}", tuple(filter(None, lines)), **_shown(dataset, split.inputs, row))
        )
    caption = (
        "Largest absolute change of the log-odds of the teacher's class; examples with a probability of 0 left out."
    )
    return Gallery(title, tuple(exhibits), caption)


def estimates_chart(
    rows: Sequence[tuple[float | str, str, str, Estimate]],
    name: str,
    title: str,
    x: Axis,
    y: Axis,
    alt: str,
    *,
    kind: Literal["line", "interval"],
    color: str = "model",
) -> Chart:
    """Estimates over x, by color and facet: rows of (x, color, facet, estimate). Facets that are all empty are none."""
    n = rows[0][3].n if rows else 0
    over = rows[0][3].over if rows else "runs"
    data = {
        "x": tuple(row[0] for row in rows),
        "y": tuple(row[3].value for row in rows),
        "low": tuple(row[3].low for row in rows),
        "high": tuple(row[3].high for row in rows),
        color: tuple(row[1] for row in rows),
        "setting": tuple(row[2] for row in rows),
    }
    return Chart(
        name,
        title,
        kind,
        data,
        x,
        y,
        alt,
        caption=f"95 % intervals over {n} {over}.",
        color=Axis(color, "", "nominal"),
        facet=Axis("setting", "", "nominal") if any(row[2] for row in rows) else None,
        low="low",
        high="high",
        tooltip=("x", color, "y", "low", "high"),
    )


def _kinds(p: Predictions, top: NDArray) -> list[str]:
    if p.labels is None:
        return ["unknown"] * len(p)
    kinds = np.where(top == p.labels, "right", "wrong").astype(object)
    if p.mislabelled is not None:
        kinds[np.asarray(p.mislabelled)] = "trained on a wrong label"
    return list(kinds)


def _class(p: Predictions, index: int) -> str:
    return str(index) if p.class_names is None else p.class_names[index]


def _says(who: str, log_probs: NDArray, p: Predictions) -> str:
    best = np.argsort(-np.asarray(log_probs), kind="stable")[:2]
    return f"{who}: " + ", ".join(f"{_class(p, int(c))} {np.exp(float(log_probs[c])):.1%}" for c in best)


def _shown(dataset: Dataset, inputs: NDArray, row: int | None) -> dict:
    if row is None or dataset.kind == "features":
        return {}
    if dataset.kind == "text":
        return {"text": dataset.text(inputs[row])}
    image = inputs[row] if inputs.shape[-1] == 3 else inputs[row][..., 0]
    return {"image": tuple(map(tuple, image.tolist())) if image.ndim == 2 else _nested(image)}


def _nested(image: NDArray) -> tuple:
    return tuple(tuple(tuple(pixel) for pixel in line) for line in image.tolist())


def _spread(n: int, most: int) -> NDArray:
    """At most ``most`` row numbers, evenly spread: no luck in what is shown."""
    return np.arange(n) if n <= most else np.unique(np.linspace(0, n - 1, most).astype(np.int64))


def _rounded(values: NDArray) -> list[float]:
    return [round(float(v), 3) for v in values]
