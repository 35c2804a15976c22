"""The planted part of the study `denoising`: closed forms against simulation, and what ageing does to a teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from disobey.figures.estimates import estimates_chart
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Axis, Cell, Chart, Rule, Table
from disobey.studies.kit.claims import ClaimSpec, Parts, Source, Verdicts, judge
from disobey.studies.kit.tables import Column, table
from disobey.studies.kit.verdicts import AllOf, Effect, Equivalence
from disobey.theory.class_similarity import SimilarClasses, flip_rate, predicted_ratios
from disobey.theory.class_similarity_simulation import simulate_snr, simulate_softmax_teacher

Simulated: TypeAlias = Mapping[SimilarClasses, Mapping[str, NDArray]]  # by model and name, one number a draw
OURS = Source("construction and formulas derived here (docs/theory.md)")
PUBLISHED = Source("arXiv 2301.12923, section on denoising gradients")
MARGIN = 0.05  # relative, of the SNR ratios
FLIP_MARGIN = 0.02  # absolute, of the flip rate
ARMS = {"distilled": "distillation", "cross_fitted": "cross-fitted distillation", "zeroed": "zeroed one-hot"}


@dataclass(frozen=True)
class Grid:
    """Models of similar classes over which theory meets simulation; N a multiple of C (C − 1)."""

    similarities: tuple[float, ...] = (0.0, 0.3, 0.6, 0.9)
    """weights of the secondary class in simulated examples"""
    noises: tuple[float, ...] = (0.2, 0.4)
    """standard deviations of their noise"""
    features: tuple[int, ...] = (180, 540)
    """numbers of their dimensions"""
    examples: int = 1800
    """of a simulation; a multiple of classes * (classes - 1)"""
    classes: int = 6
    """of a simulation"""
    draws: int = 24
    """simulations of every model"""

    def models(self) -> list[SimilarClasses]:
        """Every model of the grid."""
        return [
            SimilarClasses(self.examples, self.classes, features, similarity, noise)
            for similarity in self.similarities
            for noise in self.noises
            for features in self.features
        ]


def simulations(grid: Grid) -> Simulated:
    """Measured ratios and flip rates of every model, one a draw."""
    found: dict[SimilarClasses, Mapping[str, NDArray]] = {}
    for model in grid.models():
        drawn = [simulate_snr(model, seed) for seed in range(grid.draws)]
        found[model] = {name: np.array([getattr(d, name) for d in drawn]) for name in (*ARMS, "flip_rate")}
    return found


@dataclass(frozen=True)
class ClosedForm:
    """A closed form and its errors in the simulations of every model."""

    label: str
    errors: Mapping[SimilarClasses, NDArray]
    """(draws,) relative errors, of sign flips absolute ones"""


def _cells(_: None, form: ClosedForm) -> Parts:
    return Parts(
        [
            [
                mean_over_runs(errors, f"error, b={m.similarity:g}, σ={m.noise:g}, D={m.features}", over="draws")
                for m, errors in form.errors.items()
            ]
        ]
    )


def agreement(measured: Simulated) -> Verdicts:
    """D1: is theory right to within the margin in every cell of the grid?"""
    verdicts = Verdicts(())
    for arm, words in (*ARMS.items(), ("flip_rate", "sign flips")):
        flips = arm == "flip_rate"
        errors = {}
        for model, values in measured.items():
            expected = flip_rate(model) if flips else getattr(predicted_ratios(model), arm)
            errors[model] = values[arm] - expected if flips else values[arm] / expected - 1
        rule = AllOf((("error in every model", Equivalence(FLIP_MARGIN if flips else MARGIN)),))
        spec = ClaimSpec("D1", f"The closed form predicts the simulation: {words}.", OURS, rule, _cells)
        verdicts += judge((spec,), None, [ClosedForm(f"{len(errors)} models of similar classes", errors)])
    return verdicts


@dataclass(frozen=True)
class Similarity:
    """The simulated models of one class similarity, b."""

    label: str
    logs: NDArray
    """(draws,) log ratio of the SNR of distillation and one-hot gradients, mean over the models"""


def _mean_log_ratio(sign: int, name: str):
    return lambda _, cell: [mean_over_runs(sign * cell.logs, name, over="draws")]


CONTROL: ClaimSpec[None, Similarity] = ClaimSpec(
    "D2",
    "Without class similarity distillation's gradient is noisier than the labels' own.",
    PUBLISHED,
    Effect(),
    _mean_log_ratio(-1, "log SNR, one-hot − distillation"),
)
MECHANISM: ClaimSpec[None, Similarity] = ClaimSpec(
    "D2",
    "With strongly similar classes distillation denoises the gradient.",
    PUBLISHED,
    Effect(),
    _mean_log_ratio(1, "log SNR, distillation − one-hot"),
)


def without_similarity(measured: Simulated) -> Verdicts:
    """D2: the negative control of the mechanism (b = 0), and its positive counterpart (the largest b)."""
    largest = max(model.similarity for model in measured)
    verdicts = Verdicts(())
    for similarity, spec in sorted(({largest: MECHANISM} | {0.0: CONTROL}).items()):
        cells = [values["distilled"] for model, values in measured.items() if model.similarity == similarity]
        if cells:
            setting = Similarity(f"b={similarity:g}, mean over {len(cells)} models", np.log(np.stack(cells)).mean(0))
            verdicts += judge((spec,), None, [setting])
    return verdicts


def grid_chart(measured: Simulated) -> Chart:
    """Predicted against measured ratios."""
    data: dict[str, list[Cell]] = {"predicted": [], "measured": [], "arm": [], "model": []}
    for model, values in measured.items():
        expected = predicted_ratios(model)
        for arm, words in ARMS.items():
            data["predicted"].append(round(getattr(expected, arm), 4))
            data["measured"].append(round(float(values[arm].mean()), 4))
            data["arm"].append(words)
            data["model"].append(f"b={model.similarity:g}, σ={model.noise:g}, D={model.features}")
    return Chart(
        "theory",
        "Closed form against simulation: SNR over that of the one-hot gradient",
        "scatter",
        {key: tuple(column) for key, column in data.items()},
        Axis("predicted", "predicted SNR ratio"),
        Axis("measured", "simulated SNR ratio"),
        alt="Points on the diagonal are predicted right; above 1 the gradient is cleaner than the one-hot one.",
        caption="Mean over draws.",
        color=Axis("arm", "", "nominal"),
        rules=(Rule(1.0, 0.0, "theory = simulation"),),
        tooltip=("model", "arm", "predicted", "measured"),
    )


def grid_table(measured: Simulated) -> Table:
    """Theory, and beside it what was simulated, model by model."""

    def expected(model: SimilarClasses, arm: str) -> float:
        return flip_rate(model) if arm == "flip_rate" else getattr(predicted_ratios(model), arm)

    columns: list[Column[SimilarClasses]] = [
        ("model", lambda model: f"b={model.similarity:g}, σ={model.noise:g}, D={model.features}")
    ]
    for arm, words in zip((*ARMS, "flip_rate"), ("KD", "cross-fit", "zeroed", "flips"), strict=True):
        columns.append((words, lambda model, arm=arm: expected(model, arm)))
        columns.append(("simulated", lambda model, arm=arm: mean_over_runs(measured[model][arm], arm, over="draws")))
    first = next(iter(measured))
    caption = (
        f"C={first.classes}, N={first.examples:,}, a=1; theory, and beside it what was simulated: SNR over the one-hot "
        "gradient's, and the share of sign flips. Intervals over simulations."
    )
    return table("Theory and simulation", measured, columns, caption)


def ageing(model: SimilarClasses, seeds: Sequence[int], steps: Sequence[int]) -> Chart:
    """SNR of the distillation gradient as its softmax teacher memorizes the sample."""
    ages = [simulate_softmax_teacher(model, seed, steps=steps) for seed in seeds]
    rows = []
    for index, step in enumerate(sorted(set(steps))):
        moments = [age[index] for age in ages]
        series = {
            "one-hot": [look.one_hot for look in moments],
            "the teacher's weights": [look.teacher_weights for look in moments],
            "KD τ=1": [look.distilled[0] for look in moments],
            "KD τ=4": [look.distilled[1] for look in moments],
        }
        fitted = float(np.mean([look.accuracy for look in moments]))
        rows += [
            (step, name, "", mean_over_runs(values, f"{name}, accuracy {fitted:.2f}", over="draws"))
            for name, values in series.items()
        ]
    chart = estimates_chart(
        rows,
        "ageing",
        "A softmax teacher that memorizes stops denoising; temperature restores part of it (simulated)",
        Axis("x", "teacher's steps", "log"),
        Axis("y", "SNR of the gradient at the student's zero weights"),
        "One-hot is flat; distillation starts above it and falls as the teacher trains, less at temperature 4.",
        kind="line",
        color="gradient",
    )
    return chart
