"""Figures of the data-size study."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from disobey.measures.fidelity import fidelity_law
from disobey.measures.inference.intervals import mean_over_runs
from disobey.measures.sample_efficiency import label_equivalence
from disobey.records.results import Axis, Chart, Estimate, Rule
from disobey.studies.data_size.cells import BUDGET_WORDS, OVERLAP, Budget, Regime
from disobey.studies.data_size.closed_form import ClosedFormResults
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.data_size.published import CIFAR100
from disobey.studies.data_size.shares import budgets_of, gain_is_sure, gains_on_scales, shares_of_gain
from disobey.studies.kit import pictures

SHOWN = ("A0", "A1", "A4", "A7", "A9a", "A10a", "A11", "A12")  # of many arms, those that a figure can hold
ZERO = Rule(0, 0, "labels")
N_AXIS = Axis("x", "training examples n", "log")


def charts(results: CellResults, closed: ClosedFormResults) -> list[Chart]:
    found = [_equivalence(results), _accuracies(results), _scales(results), _explained(results), _fidelity(results)]
    found += [*_regimes(results), *_closed(results, closed)]
    return found


def _short(results: CellResults, word: str) -> str:
    return results.design.arm(word).short


def _equivalence(results: CellResults) -> Chart:
    """How many times the labels: the answer to "how much data would labels need?"."""
    curve = label_equivalence(results.design.sizes, results.accuracy("A0"), results.accuracy("A1"))
    rows = []
    for n, factor, censored in zip(results.design.sizes, curve.factor, curve.censored, strict=True):
        rows.append((float(f"{n / results.design.total:.2g}"), results.design.data, factor, censored))
    if "cifar100" in results.design.data.lower():
        nan = float("nan")
        for point in CIFAR100.points:
            if point.equivalence is not None:
                estimate = Estimate("published", point.equivalence, nan, nan, 0.95, 5, "runs")
                rows.append(
                    (point.share, f"published ({CIFAR100.source})", estimate, "above" if point.at_least else "")
                )
    data = {
        "x": tuple(row[0] for row in rows),
        "y": tuple(row[2].value for row in rows),
        "low": tuple(_finite(row[2].low) for row in rows),
        "high": tuple(_finite(row[2].high) for row in rows),
        "curve": tuple(row[1] for row in rows),
        "censored": tuple({"above": "at least", "below": "at most", "": ""}[row[3]] for row in rows),
    }
    return Chart(
        "label-equivalence",
        "How many times as many labels would do as well",
        "line",
        data,
        Axis("x", "κ: examples of the student / all N", "log"),
        Axis("y", "labels needed / examples used", "log"),
        "Above 1 a student with a teacher does as well as one with that many times as many labelled examples.",
        f"95 % intervals over {len(results.seeds)} runs. Where no number of labels within N reaches the student, the factor is "
        "at least N/n and its band is open (drawn to the point).",
        color=Axis("curve", "", "nominal"),
        low="low",
        high="high",
        rules=(Rule(0, 1, "no gain"),),
        tooltip=("x", "curve", "y", "low", "high", "censored"),
    )


def _finite(bound: float) -> float:
    """An open side of an interval is not drawn."""
    return bound if np.isfinite(bound) and bound > 0 else float("nan")


def _accuracies(results: CellResults) -> Chart:
    arms = [arm for arm in results.design.arms if arm in SHOWN]
    rows = []
    for budget in budgets_of(results):
        for arm in arms:
            for n, column in zip(results.design.sizes, results.accuracy(arm, budget).T, strict=True):
                rows.append((n, _short(results, arm), BUDGET_WORDS[budget], mean_over_runs(column, "accuracy")))
    return pictures.estimates_chart(
        rows,
        "accuracy",
        "Test accuracy against the number of examples",
        N_AXIS,
        Axis("y", "test accuracy"),
        "Every arm's accuracy by number of examples, one panel a budget; bands are intervals over runs.",
        kind="line",
        color="arm",
    )


def _scales(results: CellResults) -> Chart:
    """Each scale as a share of its own largest mean gain: whether a gain is 'amplified' depends on the scale."""
    rows = []
    for budget in budgets_of(results):
        for scale, gains in gains_on_scales(results, budget).items():
            largest = float(np.abs(gains.mean(axis=0)).max()) or 1.0
            for n, column in zip(results.design.sizes, (gains / largest).T, strict=True):
                rows.append((n, scale, BUDGET_WORDS[budget], mean_over_runs(column, scale)))
    chart = pictures.estimates_chart(
        rows,
        "scales",
        "The gain of distillation on four scales, each as a share of its largest",
        N_AXIS,
        Axis("y", "gain / largest mean gain"),
        "The same students on four scales: the size at which the gain is largest depends on the scale.",
        kind="line",
        color="scale",
    )
    return _with_zero(chart)


def _with_zero(chart: Chart) -> Chart:
    return replace(chart, rules=(ZERO,))


def _explained(results: CellResults) -> Chart:
    """φ of every arm at small n, but of the wrong teachers (A18): they are far below labels and would hide the rest."""
    arms = [arm for arm in results.design.arms if arm not in ("A0", "A1") and not arm.startswith("A18")]
    sure = gain_is_sure(results)
    if sure:
        shares = shares_of_gain(results, arms)
        rows = [(_short(results, arm), "share of the gain", "", share) for arm, share in shares.items()]
        title, axis = (
            "What explains the gain: each arm's share of it, small n",
            "φ = (arm − labels) / (distillation − labels)",
        )
    else:
        rows = [
            (_short(results, arm), "gain", "", mean_over_runs(results.small_gain(arm), arm)) for arm in ["A1", *arms]
        ]
        title, axis = "Each arm's gain over labels, small n (no sure gain to share)", "accuracy − labels'"
    chart = pictures.estimates_chart(
        rows,
        "explained",
        title,
        Axis("x", "", "nominal"),
        Axis("y", axis),
        "An arm at 1 has all of distillation's gain, at 0 none of it; below 0 it is worse than labels.",
        kind="interval",
        color="measure",
    )
    return replace(chart, rules=(ZERO, Rule(0, 1, "distillation"))) if sure else _with_zero(chart)


def _fidelity(results: CellResults) -> Chart:
    law = fidelity_law(results.design.sizes, results.fidelity.gap)
    rows = [
        (n, "measured", "", mean_over_runs(column, "gap"))
        for n, column in zip(results.design.sizes, results.fidelity.gap.T, strict=True)
    ]
    nan = float("nan")
    if law.preferred != "none":
        line = f"fitted: n^−{law.exponent.value:.2f}" if law.preferred == "power law" else "fitted, with an offset"
        fitted = law.at(np.array(results.design.sizes))
        rows += [
            (n, line, "", Estimate("fit", float(y), nan, nan, 0.95, len(results.seeds), "runs"))
            for n, y in zip(results.design.sizes, fitted, strict=True)
        ]
    positive = all(row[3].value > 0 and not row[3].low <= 0 for row in rows)
    return pictures.estimates_chart(
        rows,
        "fidelity",
        "How the gap in fidelity closes: agreement with the teacher on train minus on test",
        N_AXIS,
        Axis("y", "agreement, train − test", "log" if positive else "linear"),
        "The gap by number of examples, with the fitted law.",
        kind="line",
        color="curve",
    )


def _regimes(results: CellResults) -> list[Chart]:
    """The gain of distillation by regime."""
    distilled = [cell for cell in results.cells if cell.arm == "A1" and cell.regime != OVERLAP]
    kinds: dict[tuple[Regime, Budget], None] = dict.fromkeys((c.regime, c.budget) for c in distilled)
    if not kinds:
        return []
    panels: dict[tuple[str, Budget], list[Regime]] = {}
    for regime, budget in kinds:
        panels.setdefault((_group(regime), budget), [OVERLAP]).append(regime)
    rows = []
    for (group, budget), regimes in panels.items():
        for regime in regimes:
            sizes = results.sizes("A1", budget, regime)
            for n, column in zip(sizes, results.gain("A1", budget, regime).T, strict=True):
                name = "main design" if regime == OVERLAP else regime.name
                rows.append((n, name, f"{group}, {BUDGET_WORDS[budget]}", mean_over_runs(column, "gain")))
    chart = pictures.estimates_chart(
        rows,
        "regimes",
        "The gain of distillation under other conditions",
        N_AXIS,
        Axis("y", "test accuracy − labels' under the same condition"),
        "One panel a kind of condition; the main design is in every panel.",
        kind="line",
        color="condition",
    )
    return [_with_zero(chart)]


def _group(regime: Regime) -> str:
    """Which panel a regime belongs to."""
    if regime.student:
        return "students"
    if regime.noise:
        return "wrong labels"
    if regime.augment:
        return "augmentation"
    return "data of the teacher" if regime.fresh or regime.teacher_train is not None else "teachers"


def _closed(results: CellResults, closed: ClosedFormResults) -> list[Chart]:
    """Students in closed form beside the network's."""
    if not closed.accuracies:
        return []
    rows = []
    for (kernel, target), table in closed.accuracies.items():
        for n, column in zip(closed.sizes, table.T, strict=True):
            rows.append((n, target, f"{kernel} kernel", mean_over_runs(column, "accuracy")))
    for arm, target in (("A0", "labels"), ("A1", "teacher")):
        for n, column in zip(closed.sizes, results.accuracy(arm, sizes=closed.sizes).T, strict=True):
            rows.append((n, target, "network", mean_over_runs(column, "accuracy")))
    for target, table in closed.probes.items():
        for n, column in zip(closed.sizes, table.T, strict=True):
            rows.append((n, target, "probe of the network's features", mean_over_runs(column, "accuracy")))
    return [
        pictures.estimates_chart(
            rows,
            "closed-form",
            "Students without features to learn, and probes of the features learned",
            N_AXIS,
            Axis("y", "test accuracy"),
            "Accuracy with labels and with the teacher's logits as targets, by kind of student.",
            kind="line",
            color="targets",
        )
    ]
