"""The figures of `dataset-dependency`."""

from __future__ import annotations

import numpy as np

from disobey.figures.estimates import Row, estimates_chart
from disobey.records.results import Axis, Chart, Rule
from disobey.studies.dataset_dependency.findings import Findings
from disobey.studies.dataset_dependency.theory import SIMILARITIES, OneStep

PARTS = {"planted": "planted data", "re-sampled": "re-sampled data"}


def effects_chart(f: Findings) -> list[Chart]:
    """Standardized effects of properties on the gain and on the deviation; nothing where there are too few settings."""
    kinds = (("", "gain", "gain (points)", True), (" deviation", "deviation", "deviation (nats)", False))
    charts = []
    for suffix, name, words, points in kinds:
        rows: list[Row] = [
            (property_, f"{where} (n={fit.settings})", "", fit.estimate(property_))
            for part, where in PARTS.items()
            if (fit := f.fits[part + suffix]) is not None
            for property_ in fit.names
        ]
        if rows:
            chart = estimates_chart(
                rows,
                f"effects-{name}",
                f"What the {name} depends on",
                Axis("x", "", "nominal"),
                Axis("y", f"{words} for a standard deviation"),
                f"Change of the {name} of a student over its control for one standard deviation of each property, all "
                "properties in one regression; intervals over settings.",
                kind="interval",
                color="data",
                points=points,
                zero="no effect",
            )
            charts.append(chart)
    return charts


def prediction_chart(f: Findings) -> list[Chart]:
    """Predicted and found gain of every setting, its data set left out."""
    predicted = f.left_out[0]
    if np.isnan(predicted).any():
        return []
    data = {
        "predicted": tuple(float(100 * value) for value in predicted),
        "found": tuple(float(100 * value) for value in f.gain),
        "data set": tuple(setting.family for setting in f.settings),
        "setting": tuple(setting.label for setting in f.settings),
    }
    chart = Chart(
        "predicted",
        "Predicted and found gain, its data set left out",
        "scatter",
        data,
        Axis("predicted", "predicted gain (points)"),
        Axis("found", "gain found (points)"),
        "Gain of every setting against its prediction from the properties on all other data sets.",
        caption="One point a setting, mean over seeds. On the line predictions are exact.",
        color=Axis("data set", "", "nominal"),
        rules=(Rule(1.0, 0.0, "as predicted"),),
        tooltip=("setting", "predicted", "found"),
    )
    return [chart]


def theory_chart(step: OneStep) -> Chart:
    """Log SNR ratio against measured similarity, draw by draw, and what the closed form says."""
    draws = step.similarity.shape[1]
    measured = [(float(x), float(y)) for x, y in zip(step.similarity.ravel(), step.log_ratio.ravel(), strict=True)]
    form = list(zip(step.similarity.mean(axis=1).tolist(), step.predicted.tolist(), strict=True))
    data = {
        "similarity": tuple(x for x, _ in (*measured, *form)),
        "ratio": tuple(y for _, y in (*measured, *form)),
        "what": ("one draw",) * len(measured) + ("closed form",) * len(form),
    }
    return Chart(
        "one-step",
        "Students of one step: the case with a known answer",
        "scatter",
        data,
        Axis("similarity", "class similarity, measured"),
        Axis("ratio", "log SNR, distillation − labels"),
        "Logarithm of the SNR of the distillation gradient over that of the one-hot gradient against measured class "
        "similarity, for draws of the generator, with the closed form.",
        caption=f"Planted similarities {', '.join(f'{b:g}' for b in SIMILARITIES)}, {draws} draws each.",
        color=Axis("what", "", "nominal"),
        rules=(Rule(0.0, 0.0, "as good as labels"),),
    )
