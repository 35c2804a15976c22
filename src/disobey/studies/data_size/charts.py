"""Figures of the data-size study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from disobey.figures.estimates import Row, estimates_chart
from disobey.measures.fidelity import fidelity_law
from disobey.measures.inference.runs import mean_over_runs
from disobey.measures.sample_efficiency import label_equivalence
from disobey.records.results import Axis, Chart, Estimate, Rule
from disobey.studies.data_size.cells import BUDGETS, IDS, KD, LABELS, MAIN, NAMES, Budget, Regime
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.data_size.published import CIFAR100
from disobey.studies.data_size.shares import PAPER, has_gain, share_of_gain

SHOWN = (LABELS, KD, *(NAMES[id] for id in ("A4", "A7", "A9a", "A10a", "A11", "A12")))  # as many as a figure can hold
CENSORED = {"above": "at least", "below": "at most", "": ""}
NAN = float("nan")
ZERO = Rule(0, 0, "labels")


def charts(results: CellResults) -> list[Chart]:
    """All figures in reading order; those of regimes and closed forms only if there are any."""
    figures = [equivalence(results), accuracies(results), scales(results), explained(results), fidelity(results)]
    if any(cell.regime != MAIN and cell.arm == KD for cell in results.cells):
        figures.append(regimes(results))
    if results.closed.accuracies:
        figures.append(closed_form(results))
    return figures


def curve(sizes: Sequence[int], table: NDArray, color: str, facet: str = "") -> list[Row]:
    """One row per size: the mean over seeds of an array (S, K)."""
    return [(n, color, facet, mean_over_runs(column, color)) for n, column in zip(sizes, table.T, strict=True)]


def lines(name: str, title: str, y: Axis, alt: str, color: str, rows: list[Row], *rules: Rule) -> Chart:
    """Curves over n."""
    x = Axis("x", "training examples n", "log")
    return replace(estimates_chart(rows, name, title, x, y, alt, kind="line", color=color), rules=rules)


def equivalence(results: CellResults) -> Chart:
    """The label-equivalence curve: how much more data labels would need."""
    design = results.design
    measured = label_equivalence(design.sizes, *(results.table("accuracy", arm) for arm in (LABELS, KD)))
    censored = [CENSORED[side] for side in measured.censored]
    rows: list[Row] = []
    for n, factor in zip(design.sizes, measured.factor, strict=True):
        drawn = replace(factor, low=_drawn(factor.low), high=_drawn(factor.high))
        rows.append((float(f"{n / design.total:.2g}"), design.data, "", drawn))
    if "cifar100" in design.data.lower():
        for point in CIFAR100:
            if point.equivalence is not None:
                read_off = Estimate("published", point.equivalence, NAN, NAN, 0.95, 5, "runs")
                rows.append((point.share, f"published ({PAPER.name})", "", read_off))
                censored.append("at least" if point.at_least else "")
    chart = estimates_chart(
        rows,
        "label-equivalence",
        "How many times as many labels reach the same accuracy",
        Axis("x", "κ: training examples n / N", "log"),
        Axis("y", "labels needed / n", "log"),
        "Above 1, a distilled student matches a student of that many times as many labels.",
        kind="line",
        color="curve",
    )
    return replace(
        chart,
        data={key: column for key, column in chart.data.items() if key != "setting"} | {"censored": tuple(censored)},
        caption=f"{chart.caption} Where no number of labels up to N matches the student, the factor is at least N/n "
        "and the interval is open (drawn up to the point).",
        rules=(Rule(0, 1, "no gain"),),
        tooltip=("x", "curve", "y", "low", "high", "censored"),
    )


def _drawn(bound: float) -> float:
    """A bound as it is drawn: not at all if the interval is open there."""
    return bound if np.isfinite(bound) and bound > 0 else NAN


def accuracies(results: CellResults) -> Chart:
    """Test accuracy of the arms over n, by budget."""
    design, rows = results.design, []
    for budget in results.budgets:
        for arm in design.arms:
            if arm in SHOWN:
                table = results.table("accuracy", arm, budget)
                rows += curve(design.sizes, table, design.arm(arm).short, BUDGETS[budget])
    title = "Test accuracy by number of training examples"
    alt = "Accuracy of every arm over n, one panel per budget; bands are intervals over runs."
    return lines("accuracy", title, Axis("y", "test accuracy"), alt, "arm", rows)


def scales(results: CellResults) -> Chart:
    """Each scale divided by its largest mean gain: whether little data amplify the gain depends on the scale."""
    rows = []
    for budget in results.budgets:
        for scale, gains in results.scales(budget).items():
            largest = float(np.abs(gains.mean(axis=0)).max()) or 1.0
            rows += curve(results.design.sizes, gains / largest, scale, BUDGETS[budget])
    title = "The gain from distillation on four scales, each divided by its largest value"
    alt = "The same students on four scales: the n with the largest gain depends on the scale."
    return lines("scales", title, Axis("y", "gain / largest mean gain"), alt, "scale", rows, ZERO)


def explained(results: CellResults) -> Chart:
    """φ of every arm at small n. Wrong teachers (A18) are left out: far below labels, they would hide the rest."""
    arms = [results.design.arm(word) for word in results.design.arms]
    controls = [arm for arm in arms if arm.word not in (LABELS, KD) and not IDS[arm.name].startswith("A18")]
    rows: list[Row]
    if has_gain(results):
        rows = [(arm.short, "share of the gain", "", share_of_gain(results, arm.word)) for arm in controls]
        title = "What explains the gain: share of each arm, small n"
        y, rules = "φ = (arm − labels) / (distillation − labels)", (ZERO, Rule(0, 1, "distillation"))
    else:
        shown = [results.design.arm(KD), *controls]
        rows = [(arm.short, "gain", "", mean_over_runs(results.small("gain", arm.word), "gain")) for arm in shown]
        title = "Gain of each arm over labels, small n (no gain to explain)"
        y, rules = "accuracy − labels", (ZERO,)
    alt = "An arm at 1 has the whole gain from distillation, at 0 none of it; below 0 it is worse than labels."
    x, height = Axis("x", "", "nominal"), Axis("y", y)
    chart = estimates_chart(rows, "explained", title, x, height, alt, kind="interval", color="measure")
    return replace(chart, rules=rules)


def fidelity(results: CellResults) -> Chart:
    """The gap between train and test agreement over n, with the fitted law."""
    sizes, gap = results.design.sizes, results.table("gap", KD)
    law, rows = fidelity_law(sizes, gap), curve(sizes, gap, "measured")
    if law.preferred != "none":
        name = f"fitted: n^−{law.exponent.value:.2f}" if law.preferred == "power law" else "fitted, with an offset"
        for n, value in zip(sizes, law.at(np.array(sizes)).tolist(), strict=True):
            rows.append((n, name, "", Estimate("fit", value, NAN, NAN, 0.95, len(results.seeds), "runs")))
    positive = all(row[3].value > 0 and not row[3].low <= 0 for row in rows)
    y = Axis("y", "agreement, training − test", "log" if positive else "linear")
    title = "The fidelity gap: agreement with the teacher on training minus test examples"
    return lines("fidelity", title, y, "The gap over n, with the fitted law.", "curve", rows)


def regimes(results: CellResults) -> Chart:
    """The gain from distillation by regime."""
    panels: dict[tuple[str, Budget], dict[Regime, None]] = {}
    for cell in results.cells:
        if cell.arm == KD and cell.regime != MAIN:
            panels.setdefault((_group(cell.regime), cell.budget), {MAIN: None})[cell.regime] = None
    rows = []
    for (group, budget), members in panels.items():
        for regime in members:
            sizes, gains = results.sizes(KD, budget, regime), results.table("gain", KD, budget, regime)
            rows += curve(sizes, gains, regime.name, f"{group}, {BUDGETS[budget]}")
    title, y = "The gain from distillation under other conditions", "test accuracy − labels (same condition)"
    alt = "One panel per kind of condition; every panel shows the main design."
    return lines("regimes", title, Axis("y", y), alt, "condition", rows, ZERO)


def _group(regime: Regime) -> str:
    """The panel of a regime."""
    if regime.student:
        return "students"
    if regime.noise:
        return "corrupted labels"
    if regime.augment:
        return "augmentation"
    return "the teacher's data" if regime.fresh or regime.teacher_train is not None else "teachers"


def closed_form(results: CellResults) -> Chart:
    """Accuracies of students in closed form, of probes and of the networks."""
    words, rows = {"network": "network", "probe": "probe of the network's features"}, []
    for (student, target), table in results.closed.accuracies.items():
        rows += curve(results.closed.sizes, table, target, words.get(student, f"{student} kernel"))
    title = "Students that learn no features, and probes of learned features"
    alt = "Accuracy with labels or the teacher's logits as targets, by kind of student."
    return lines("closed-form", title, Axis("y", "test accuracy"), alt, "targets", rows)
