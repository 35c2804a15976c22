"""Charts of `state-tracking`: accuracy by length and sweeps, constant words, and convergence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from disobey.figures.estimates import estimates_chart
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Axis, Chart, Estimate
from disobey.studies.kit.sequences import TEST_SWEEPS, SequenceEvidence, Setting, swept
from disobey.studies.state_tracking.claims import EXACT, by_sweeps
from disobey.training.recipe import Recipe

WINDOW = 6  # powers of g averaged in the figure: the orders 2, 3 and 6 divide it, so a fixed answer is a flat line


def small_charts(groups: Sequence[Setting], e: SequenceEvidence) -> list[Chart]:
    """All of them, for the small groups of a study."""
    makers = (training_chart, test_chart, both_chart, constant_chart, iterations_chart, residual_chart)
    return [make(groups, e) for make in makers]


def training_chart(groups: Sequence[Setting], e: SequenceEvidence) -> Chart:
    """Accuracy by length and by sweeps in training."""
    arms = (
        (f"{swept(sweeps)} in training", s.label, recipe, None)
        for s in groups
        for sweeps, recipe in by_sweeps(s).items()
    )
    title = "From diagonal to dense: accuracy by sweeps in training"
    return lengths_chart(groups[0], arms, e, "sweeps-training", title)


def test_chart(groups: Sequence[Setting], e: SequenceEvidence) -> Chart:
    """Accuracy by length and by sweeps at test, of the exactly trained layer."""
    arms = (
        ("exact at test" if budget is None else f"{swept(budget)} at test", s.label, s.arms[EXACT], budget)
        for s in groups
        for budget in (*TEST_SWEEPS, None)
    )
    title = "The exactly trained layer with a limited number of sweeps at test"
    return lengths_chart(groups[0], arms, e, "sweeps-test", title)


def lengths_chart(
    any_group: Setting,
    arms: Iterable[tuple[str, str, Recipe, int | None]],
    e: SequenceEvidence,
    name: str,
    title: str,
) -> Chart:
    """Last answers right against length, by (label, group, recipe, sweeps at test)."""
    rows = [
        (float(n), label, group, mean_over_runs(e.last(recipe, n, budget), "accuracy"))
        for label, group, recipe, budget in arms
        for n in lengths_of(recipe)
    ]
    return estimates_chart(
        rows,
        name,
        title,
        Axis("x", "length of the word (tokens)", "log"),
        Axis("y", "last answer right"),
        f"{title}: share of right last answers against the length of the word, by group; training had words of up "
        f"to {any_group.near} tokens.",
        kind="line",
        color="budget",
    )


def both_chart(groups: Sequence[Setting], e: SequenceEvidence) -> Chart:
    """Sweeps in training against sweeps at test."""

    def short(n: int) -> str:
        return str(n) if n else EXACT

    rows = [
        (short(budget), short(sweeps), float(e.last(recipe, s.near, asked).mean()), s.label)
        for s in groups
        for sweeps, recipe in by_sweeps(s).items()
        for budget in (*TEST_SWEEPS, 0)
        for asked in (None if budget == sweeps == 0 else budget,)
    ]
    return Chart(
        "sweeps-both",
        f"Sweeps in training and at test, words of {groups[0].near} tokens",
        "heatmap",
        dict(zip(("test", "training", "accuracy", "group"), zip(*rows, strict=True), strict=True)),
        Axis("test", "sweeps at test", "nominal"),
        Axis("training", "sweeps in training", "nominal"),
        "Share of right last answers, mean over seeds, by the number of sweeps in training and at test, by group.",
        color=Axis("accuracy", "last answer right"),
        facet=Axis("group", "", "nominal"),
        tooltip=("training", "test", "accuracy"),
    )


def constant_chart(groups: Sequence[Setting], e: SequenceEvidence) -> Chart:
    """Constant words g^k: right answers against k."""
    rows = [
        (k, name, s.label, mean_over_runs(values, "accuracy"))
        for s in groups
        for name in (EXACT, "scale 2", swept(1), "diagonal (-1, 1)", "LSTM")
        if name in s.arms
        for k, values in _windows(e.history(s.arms[name], "eval_powers")[:, 0])
    ]
    return estimates_chart(
        rows,
        "constant-words",
        "Constant words: is the k-th power of g right?",
        Axis("x", f"k (middle of {WINDOW} powers)"),
        Axis("y", "share of elements g whose power is right"),
        "Share of the group's elements (but the identity) whose k-th power is answered correctly, mean of "
        f"{WINDOW} powers in a row, against the middle one, by layer.",
        kind="line",
        color="layer",
    )


def iterations_chart(groups: Sequence[Setting], e: SequenceEvidence) -> Chart:
    """Sweeps that trained layers need to converge."""
    rows = [
        (name, "tolerance 0.01", s.label, mean_over_runs(e.history(recipe, "eval_sweeps")[:, 1], name))
        for s in groups
        for name, recipe in s.arms.items()
        if e.knows(recipe, "eval_sweeps")
    ]
    return estimates_chart(
        rows,
        "iterations",
        f"Sweeps until every word of {groups[0].near} tokens changes by less than 1%",
        Axis("x", "arm", "nominal"),
        Axis("y", "sweeps (128: not met)"),
        "Number of sweeps that the trained layer needs to converge, by arm and group.",
        kind="interval",
        color="tolerance",
    )


def residual_chart(groups: Sequence[Setting], e: SequenceEvidence) -> Chart:
    """Convergence of the exactly trained layer beside what its spectral radius predicts."""
    rows: list[tuple[float, str, str, Estimate]] = []
    for s in groups:
        recipe = s.arms[EXACT]
        seen = np.maximum(e.history(recipe, "eval_residuals"), 1e-8)
        radius = e.history(recipe, "eval_radius").max(axis=1)
        for k in range(seen.shape[1]):
            predicted = np.maximum(seen[:, 0] * radius**k, 1e-8)
            rows.append((float(k + 1), "observed", s.label, mean_over_runs(seen[:, k], "residual")))
            rows.append((float(k + 1), "first × radius^k", s.label, mean_over_runs(predicted, "residual")))
    return estimates_chart(
        rows,
        "residuals",
        "Residual by sweep, and what the spectral radius predicts",
        Axis("x", "sweep"),
        Axis("y", "relative change in this sweep"),
        "Relative change of the states in every sweep of the exactly trained layer, beside a geometric decay at "
        "the largest spectral radius of (I-Λ)(I-Q).",
        kind="line",
        color="curve",
    )


def lengths_of(recipe: Recipe) -> tuple[int, ...]:
    """The lengths that a run was evaluated at."""
    assert recipe.sequence is not None
    return recipe.sequence.lengths


def _windows(curves: NDArray) -> Iterator[tuple[float, NDArray]]:
    """Middle and mean (S,) of `WINDOW` powers in a row, of curves (S, powers)."""
    width = min(WINDOW, curves.shape[1])
    for k in range(0, curves.shape[1] - width + 1, width):
        yield k + (width + 1) / 2, curves[:, k : k + width].mean(axis=1)
