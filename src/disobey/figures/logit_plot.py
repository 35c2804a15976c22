"""The logit plot: a student's log-odds of its teacher's class against the teacher's own, an example a point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from disobey.errors import printable
from disobey.figures.examples import class_word, kinds
from disobey.measures.deviation import confidence, fitted_line
from disobey.records.predictions import Predictions
from disobey.records.results import Axis, Chart, Levels, Rule

POINTS = 4_999  # of all models together: from 5,000 a report draws a histogram, whose points cannot be told apart
X_TITLE = "teacher's log-odds of its class (nats)"


def logit_plot(
    predictions: Predictions,
    name: str,
    title: str,
    *,
    columns: Mapping[str, Sequence[NDArray]] | None = None,
    classes: bool = True,
    levels: Levels = (),
    about: str = "",
) -> Chart:
    """Student and, beside it, the control (twin) against the teacher, with least-squares lines over all examples.

    Args:
        predictions: N examples. Of many, evenly spaced ones are drawn, `POINTS` at most for all models together.
        name: stem of the SVG file.
        title: above the chart.
        columns: by model ("student", "twin"), the columns (N,) of `deviation.confidence` where they are known already.
        classes: whether a point's label and classes are named; not where the predictions hold a coarse picture only.
        levels: what sets this plot apart from others under the same title.
        about: which model it is, for the caption.
    """
    models = {"student": predictions.student} | ({} if predictions.twin is None else {"twin": predictions.twin})
    rows = spaced(len(predictions), POINTS // len(models))
    told = ("example", "label", "teacher", "predicted") if classes else ("example",)
    data: dict[str, list] = {key: [] for key in ("x", "y", "model", "teacher is", *told)}
    lines = [Rule(1.0, 0.0, "obeys: y = x")]
    for key, log_probs in models.items():
        beside = predictions.with_student(log_probs)
        found = confidence(beside) if columns is None else columns[key]
        x, y = (np.asarray(column, dtype=np.float64) for column in found[:2])
        model = "control (twin)" if key == "twin" else key
        lines += _fit(x, y, model)
        drawn = beside.take(rows)
        points = {"x": x[rows].round(3), "y": y[rows].round(3), "model": np.full(len(rows), model)}
        points |= {"teacher is": kinds(drawn, np.asarray(found[2])[rows])} | _described(drawn, classes)
        finite = np.isfinite(points["x"]) & np.isfinite(points["y"])
        for column in data:
            data[column] += points[column][finite].tolist()
    slopes = ", ".join(f"{line.facet}: {line.label}" for line in lines[1:])
    some = f" {len(rows):,} of {len(predictions):,} examples shown." if len(rows) < len(predictions) else ""
    control = "" if len(models) == 1 else " The control had no teacher: what it shows is selection and noise."
    return Chart(
        name,
        title,
        "scatter",
        {key: tuple(column) for key, column in data.items()},
        Axis("x", X_TITLE),
        Axis("y", "student's log-odds of that class (nats)"),
        alt=f"Each point is an example. On the diagonal a student obeys its teacher. {slopes}.",
        caption=f"Below the diagonal the student is less confident than its teacher.{control}{some} {about}".rstrip(),
        color=Axis("teacher is", "teacher is", "nominal"),
        facet=Axis("model", "", "nominal"),
        rules=tuple(lines),
        tooltip=told,
        key="example",
        levels=levels,
    )


def spaced(n: int, most: int) -> NDArray:
    """At most ``most`` of n row numbers, evenly spaced: nothing random in what is shown.

    >>> spaced(10, 4)
    array([0, 3, 6, 9])
    """
    return np.arange(n) if n <= most else np.unique(np.linspace(0, n - 1, most).astype(np.int64))


def _fit(x: NDArray, y: NDArray, model: str) -> list[Rule]:
    finite = np.isfinite(x) & np.isfinite(y)
    if finite.sum() < 2 or x[finite].std() == 0:
        return []
    slope, intercept = fitted_line(x, y)
    return [Rule(slope, intercept, f"least squares, slope {slope:.2f}", model)]


def _described(drawn: Predictions, classes: bool) -> dict[str, NDArray]:
    words = {"example": [printable(i, 80) for i in drawn.ids]}
    if classes:
        numbers = {
            "label": drawn.labels,
            "teacher": drawn.teacher.argmax(axis=1),
            "predicted": drawn.student.argmax(axis=1),
        }
        words |= {
            key: [""] * len(drawn) if of is None else [class_word(drawn, c) for c in of] for key, of in numbers.items()
        }
    return {key: np.array(column, dtype=object) for key, column in words.items()}
