"""Figures of the data-size study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from disobey.figures.estimates import Row, estimates_chart
from disobey.measures.fidelity import fidelity_law
from disobey.measures.inference.intervals import mean_over_runs
from disobey.measures.sample_efficiency import label_equivalence
from disobey.records.results import Axis, Chart, Estimate, Rule
from disobey.studies.data_size.cells import BUDGET_WORDS, KD, LABELS, OVERLAP, Budget, Regime
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.data_size.published import CIFAR100
from disobey.studies.data_size.shares import gain_is_sure, share_of_gain

SHOWN = (LABELS, KD, "A4", "A7", "A9a", "A10a", "A11", "A12")  # of many arms, those that a figure can hold
CENSORED = {"above": "at least", "below": "at most", "": ""}
NAN = float("nan")
ZERO = Rule(0, 0, "labels")


def charts(results: CellResults) -> list[Chart]:
    """All figures, in reading order; of regimes and of closed forms only where there are any."""
    figures = [equivalence(results), accuracies(results), scales(results), explained(results), fidelity(results)]
    if any(cell.regime != OVERLAP and cell.arm == KD for cell in results.cells):
        figures.append(regimes(results))
    if results.closed.accuracies:
        figures.append(closed_form(results))
    return figures


def curve(sizes: Sequence[int], table: NDArray, color: str, facet: str = "") -> list[Row]:
    """One row a size: the mean over seeds of a table (S, K)."""
    return [(n, color, facet, mean_over_runs(column, color)) for n, column in zip(sizes, table.T, strict=True)]


def lines(name: str, title: str, y: Axis, alt: str, color: str, rows: list[Row], *rules: Rule) -> Chart:
    """Curves over n."""
    x = Axis("x", "training examples n", "log")
    return replace(estimates_chart(rows, name, title, x, y, alt, kind="line", color=color), rules=rules)


def equivalence(results: CellResults) -> Chart:
    """How many times the labels: the answer to "how much data would labels need?"."""
    design = results.design
    measured = label_equivalence(design.sizes, *(results.table("accuracy", arm) for arm in (LABELS, KD)))
    censored = [CENSORED[side] for side in measured.censored]
    rows: list[Row] = []
    for n, factor in zip(design.sizes, measured.factor, strict=True):
        drawn = replace(factor, low=_drawn(factor.low), high=_drawn(factor.high))
        rows.append((float(f"{n / design.total:.2g}"), design.data, "", drawn))
    if "cifar100" in design.data.lower():
        for point in CIFAR100.points:
            if point.equivalence is not None:
                read_off = Estimate("published", point.equivalence, NAN, NAN, 0.95, 5, "runs")
                rows.append((point.share, f"published ({CIFAR100.source})", "", read_off))
                censored.append("at least" if point.at_least else "")
    chart = estimates_chart(
        rows,
        "label-equivalence",
        "How many times as many labels would do as well",
        Axis("x", "κ: examples of the student / all N", "log"),
        Axis("y", "labels needed / examples used", "log"),
        "Above 1 a student with a teacher does as well as one with that many times as many labelled examples.",
        kind="line",
        color="curve",
    )
    return replace(
        chart,
        data={key: column for key, column in chart.data.items() if key != "setting"} | {"censored": tuple(censored)},
        caption=f"{chart.caption} Where no number of labels within N reaches the student, the factor is "
        "at least N/n and its band is open (drawn to the point).",
        rules=(Rule(0, 1, "no gain"),),
        tooltip=("x", "curve", "y", "low", "high", "censored"),
    )


def _drawn(bound: float) -> float:
    """An open side of an interval is not drawn."""
    return bound if np.isfinite(bound) and bound > 0 else NAN


def accuracies(results: CellResults) -> Chart:
    """Every arm's accuracy over n, by budget."""
    design, rows = results.design, []
    for budget in results.budgets:
        for arm in design.arms:
            if arm in SHOWN:
                table = results.table("accuracy", arm, budget)
                rows += curve(design.sizes, table, design.arm(arm).short, BUDGET_WORDS[budget])
    title = "Test accuracy against the number of examples"
    alt = "Every arm's accuracy by number of examples, one panel a budget; bands are intervals over runs."
    return lines("accuracy", title, Axis("y", "test accuracy"), alt, "arm", rows)


def scales(results: CellResults) -> Chart:
    """Each scale as a share of its own largest mean gain: whether a gain is 'amplified' depends on the scale."""
    rows = []
    for budget in results.budgets:
        for scale, gains in results.scales(budget).items():
            largest = float(np.abs(gains.mean(axis=0)).max()) or 1.0
            rows += curve(results.design.sizes, gains / largest, scale, BUDGET_WORDS[budget])
    title = "The gain of distillation on four scales, each as a share of its largest"
    alt = "The same students on four scales: the size at which the gain is largest depends on the scale."
    return lines("scales", title, Axis("y", "gain / largest mean gain"), alt, "scale", rows, ZERO)


def explained(results: CellResults) -> Chart:
    """φ of every arm at small n, but of the wrong teachers (A18): they are far below labels and would hide the rest."""
    arms = [results.design.arm(word) for word in results.design.arms]
    controls = [arm for arm in arms if arm.word not in (LABELS, KD) and not arm.name.startswith("A18")]
    rows: list[Row]
    if gain_is_sure(results):
        rows = [(arm.short, "share of the gain", "", share_of_gain(results, arm.word)) for arm in controls]
        title = "What explains the gain: each arm's share of it, small n"
        y, rules = "φ = (arm − labels) / (distillation − labels)", (ZERO, Rule(0, 1, "distillation"))
    else:
        shown = [results.design.arm(KD), *controls]
        rows = [(arm.short, "gain", "", mean_over_runs(results.small("gain", arm.word), "gain")) for arm in shown]
        title = "Each arm's gain over labels, small n (no sure gain to share)"
        y, rules = "accuracy − labels'", (ZERO,)
    alt = "An arm at 1 has all of distillation's gain, at 0 none of it; below 0 it is worse than labels."
    x, height = Axis("x", "", "nominal"), Axis("y", y)
    chart = estimates_chart(rows, "explained", title, x, height, alt, kind="interval", color="measure")
    return replace(chart, rules=rules)


def fidelity(results: CellResults) -> Chart:
    """The gap between train and test agreement over n, with the fitted law."""
    sizes, gap = results.design.sizes, results.fidelity.gap
    law, rows = fidelity_law(sizes, gap), curve(sizes, gap, "measured")
    if law.preferred != "none":
        name = f"fitted: n^−{law.exponent.value:.2f}" if law.preferred == "power law" else "fitted, with an offset"
        for n, value in zip(sizes, law.at(np.array(sizes)).tolist(), strict=True):
            rows.append((n, name, "", Estimate("fit", value, NAN, NAN, 0.95, len(results.seeds), "runs")))
    positive = all(row[3].value > 0 and not row[3].low <= 0 for row in rows)
    y = Axis("y", "agreement, train − test", "log" if positive else "linear")
    title = "How the gap in fidelity closes: agreement with the teacher on train minus on test"
    return lines("fidelity", title, y, "The gap by number of examples, with the fitted law.", "curve", rows)


def regimes(results: CellResults) -> Chart:
    """The gain of distillation by regime."""
    panels: dict[tuple[str, Budget], dict[Regime, None]] = {}
    for cell in results.cells:
        if cell.arm == KD and cell.regime != OVERLAP:
            panels.setdefault((_group(cell.regime), cell.budget), {OVERLAP: None})[cell.regime] = None
    rows = []
    for (group, budget), members in panels.items():
        for regime in members:
            sizes, gains = results.sizes(KD, budget, regime), results.table("gain", KD, budget, regime)
            name = "main design" if regime == OVERLAP else regime.name
            rows += curve(sizes, gains, name, f"{group}, {BUDGET_WORDS[budget]}")
    title, y = "The gain of distillation under other conditions", "test accuracy − labels' under the same condition"
    alt = "One panel a kind of condition; the main design is in every panel."
    return lines("regimes", title, Axis("y", y), alt, "condition", rows, ZERO)


def _group(regime: Regime) -> str:
    """Which panel a regime belongs to."""
    if regime.student:
        return "students"
    if regime.noise:
        return "wrong labels"
    if regime.augment:
        return "augmentation"
    return "data of the teacher" if regime.fresh or regime.teacher_train is not None else "teachers"


def closed_form(results: CellResults) -> Chart:
    """Students in closed form beside the network's."""
    words, rows = {"network": "network", "probe": "probe of the network's features"}, []
    for (student, target), table in results.closed.accuracies.items():
        rows += curve(results.closed.sizes, table, target, words.get(student, f"{student} kernel"))
    title = "Students without features to learn, and probes of the features learned"
    alt = "Accuracy with labels and with the teacher's logits as targets, by kind of student."
    return lines("closed-form", title, Axis("y", "test accuracy"), alt, "targets", rows)
