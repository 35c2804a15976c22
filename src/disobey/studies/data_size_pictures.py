"""Figures, tables and methods of the data-size study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from disobey.measures.comparisons import smallest_p
from disobey.measures.fidelity import fidelity_law
from disobey.measures.intervals import mean_over_runs, paired_difference
from disobey.measures.sample_efficiency import label_equivalence, shares_explained
from disobey.records.results import Axis, Cell, Chart, Claim, Estimate, Rule, Table, Text
from disobey.studies import pictures
from disobey.studies.data_size_cells import OVERLAP, Budget, Regime, parsed
from disobey.studies.data_size_claims import sign_flips
from disobey.studies.data_size_closed import Closed
from disobey.studies.data_size_readings import Grid
from disobey.studies.data_size_rules import gains_on_scales
from disobey.studies.published import CIFAR100
from disobey.studies.rules import side

SHOWN = ("A0", "A1", "A4", "A7", "A9a", "A10a", "A11", "A12")  # of many arms, those that a figure can hold
BUDGET_WORDS: dict[Budget, str] = {
    "steps": "equal steps",
    "convergence": "to convergence, chosen on validation",
    "epochs": "equal epochs",
}
ZERO = Rule(0, 0, "labels")
N_AXIS = Axis("x", "training examples n", "log")


def charts(grid: Grid, closed: Closed) -> list[Chart]:
    found = [_equivalence(grid), _accuracies(grid), _scales(grid), _explained(grid), _fidelity(grid)]
    found += [*_regimes(grid), *_closed(grid, closed)]
    return found


def tables(grid: Grid, closed: Closed, claims: Sequence[Claim]) -> list[Table]:
    conditions = [_regime_table(grid)] if any(cell.regime != OVERLAP for cell in grid.readings) else []
    return [_gains(grid), _arms(grid), *conditions, _fidelity_table(grid), _tests(grid)]


def _budgets(grid: Grid) -> list[Budget]:
    return [budget for budget in BUDGET_WORDS if grid.has("A0", "A1", budget=budget)]


def _mean(values: NDArray, name: str) -> Estimate:
    return mean_over_runs(values, name)


def _text(grid: Grid, word: str) -> str:
    return parsed(word, grid.study.temperature).text


def _short(grid: Grid, word: str) -> str:
    return parsed(word, grid.study.temperature).short


def _arm_words(grid: Grid) -> list[str]:
    return list(dict.fromkeys(parsed(word, grid.study.temperature).word for word in grid.study.arms))


def _equivalence(grid: Grid) -> Chart:
    """How many times the labels: the answer to "how much data would labels need?"."""
    curve = label_equivalence(grid.study.grid, grid.accuracy("A0"), grid.accuracy("A1"))
    rows = []
    for n, factor, censored in zip(grid.study.grid, curve.factor, curve.censored, strict=True):
        rows.append((float(f"{n / grid.study.total:.2g}"), grid.study.setup.data, factor, censored))
    if "cifar100" in grid.study.setup.data.lower():
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
        f"95 % intervals over {len(grid.seeds)} runs. Where no number of labels within N reaches the student, the factor is "
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


def _accuracies(grid: Grid) -> Chart:
    arms = [arm for arm in _arm_words(grid) if arm in SHOWN]
    rows = []
    for budget in _budgets(grid):
        for arm in arms:
            for n, column in zip(grid.study.grid, grid.accuracy(arm, budget).T, strict=True):
                rows.append((n, _short(grid, arm), BUDGET_WORDS[budget], _mean(column, "accuracy")))
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


def _scales(grid: Grid) -> Chart:
    """Each scale as a share of its own largest mean gain: whether a gain is 'amplified' depends on the scale."""
    rows = []
    for budget in _budgets(grid):
        for scale, gains in gains_on_scales(grid, budget).items():
            largest = float(np.abs(gains.mean(axis=0)).max()) or 1.0
            for n, column in zip(grid.study.grid, (gains / largest).T, strict=True):
                rows.append((n, scale, BUDGET_WORDS[budget], _mean(column, scale)))
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


def _explained(grid: Grid) -> Chart:
    """φ of every arm at small n, but of the wrong teachers (A18): they are far below labels and would hide the rest."""
    sure = side(_mean(grid.small_gain("A1"), "gain")) > 0
    arms = [arm for arm in _arm_words(grid) if arm not in ("A0", "A1") and not arm.startswith("A18")]
    rows = []
    if sure:
        shares = shares_explained(
            {arm: grid.small_accuracy(arm) for arm in arms}, grid.small_accuracy("A0"), grid.small_accuracy("A1")
        )
        rows = [(_short(grid, arm), "share of the gain", "", share) for arm, share in shares.items()]
        title, axis = (
            "What explains the gain: each arm's share of it, small n",
            "φ = (arm − labels) / (distillation − labels)",
        )
    else:
        rows = [(_short(grid, arm), "gain", "", _mean(grid.small_gain(arm), arm)) for arm in ["A1", *arms]]
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


def _fidelity(grid: Grid) -> Chart:
    law = fidelity_law(grid.study.grid, grid.fidelity.gap)
    rows = [
        (n, "measured", "", _mean(column, "gap"))
        for n, column in zip(grid.study.grid, grid.fidelity.gap.T, strict=True)
    ]
    nan = float("nan")
    if law.preferred != "none":
        line = f"fitted: n^−{law.exponent.value:.2f}" if law.preferred == "power law" else "fitted, with an offset"
        fitted = law.at(np.array(grid.study.grid))
        rows += [
            (n, line, "", Estimate("fit", float(y), nan, nan, 0.95, len(grid.seeds), "runs"))
            for n, y in zip(grid.study.grid, fitted, strict=True)
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


def _regimes(grid: Grid) -> list[Chart]:
    """The gain of distillation by regime."""
    distilled = [cell for cell in grid.readings if cell.arm == "A1" and cell.regime != OVERLAP]
    kinds: dict[tuple[Regime, Budget], None] = dict.fromkeys((c.regime, c.budget) for c in distilled)
    if not kinds:
        return []
    panels: dict[tuple[str, Budget], list[Regime]] = {}
    for regime, budget in kinds:
        panels.setdefault((_group(regime), budget), [OVERLAP]).append(regime)
    rows = []
    for (group, budget), regimes in panels.items():
        for regime in regimes:
            sizes = grid.sizes("A1", budget, regime)
            for n, column in zip(sizes, grid.gain("A1", budget, regime).T, strict=True):
                name = "main design" if regime == OVERLAP else regime.name
                rows.append((n, name, f"{group}, {BUDGET_WORDS[budget]}", _mean(column, "gain")))
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


def _closed(grid: Grid, closed: Closed) -> list[Chart]:
    """Students in closed form beside the network's."""
    if not closed.accuracies:
        return []
    rows = []
    for (kernel, target), table in closed.accuracies.items():
        for n, column in zip(closed.sizes, table.T, strict=True):
            rows.append((n, target, f"{kernel} kernel", _mean(column, "accuracy")))
    for arm, target in (("A0", "labels"), ("A1", "teacher")):
        for n, column in zip(closed.sizes, grid.accuracy(arm, sizes=closed.sizes).T, strict=True):
            rows.append((n, target, "network", _mean(column, "accuracy")))
    for target, table in closed.probes.items():
        for n, column in zip(closed.sizes, table.T, strict=True):
            rows.append((n, target, "probe of the network's features", _mean(column, "accuracy")))
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


def _gains(grid: Grid) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for budget in _budgets(grid):
        scales = gains_on_scales(grid, budget)
        curve = label_equivalence(grid.study.grid, grid.accuracy("A0", budget), grid.accuracy("A1", budget))
        for k, n in enumerate(grid.study.grid):
            both = grid.over_seeds_and_examples(n) if budget == "steps" else None
            rows.append(
                (
                    BUDGET_WORDS[budget],
                    n,
                    n / grid.study.total,
                    _mean(grid.accuracy("A0", budget)[:, k], "accuracy, labels"),
                    _mean(grid.accuracy("A1", budget)[:, k], "accuracy, distillation"),
                    *(_mean(table[:, k], name) for name, table in scales.items()),
                    both,
                    curve.factor[k],
                    {"above": "at least", "below": "at most", "": ""}[curve.censored[k]],
                )
            )
    columns = ("budget", "n", "κ", "labels", "distillation", "accuracy gap", "relative error change", "logit-accuracy gap",
               "NLL gap", "gap over seeds and examples", "labels needed / n", "censored")  # fmt: skip
    return Table(
        "The gain of distillation at every size",
        columns,
        tuple(rows),
        "Means over paired seeds. Relative error change: share of labels' errors that is gone. NLL in nats, labels' minus the "
        "student's. The gap over seeds and examples draws both anew, crossed.",
    )


def _arms(grid: Grid) -> Table:
    rows: list[tuple[Cell, ...]] = []
    sure = side(_mean(grid.small_gain("A1"), "gain")) > 0
    arms = _arm_words(grid)
    accuracies = {arm: grid.small_accuracy(arm) for arm in arms}
    shares = shares_explained(accuracies, accuracies["A0"], accuracies["A1"])
    for arm in arms:
        by_budget = [
            _mean(grid.small_gain(arm, budget), "gain") if arm != "A0" and grid.has(arm, budget=budget) else None
            for budget in BUDGET_WORDS
        ]
        large = grid.gain(arm)[:, -1]
        rows.append(
            (
                _text(grid, arm),
                _mean(accuracies[arm], "accuracy"),
                *by_budget,
                shares[arm] if sure and arm not in ("A0", "A1") else None,
                _mean(large, "gain") if arm != "A0" else None,
                _mean(grid.chosen(arm, "convergence").mean(axis=1), "share of the steps")
                if grid.has(arm, budget="convergence")
                else None,
            )
        )
    columns = ("arm", "accuracy, small n", "gain, equal steps", "gain, to convergence", "gain, equal epochs", "φ, equal steps",
               "gain at all N, equal steps", "chosen after")  # fmt: skip
    sizes = ", ".join(f"{n:,}" for n in grid.study.small)
    return Table(
        "Every arm",
        columns,
        tuple(rows),
        f"Small n: the mean over n = {sizes} within each seed. Gains over labels on the same examples and budget, paired by seed. "
        "φ: share of distillation's gain, Fieller's interval; blank where that gain is not surely above 0. Chosen after: "
        "share of the steps to convergence after which validation was best, mean over sizes.",
    )


def _regime_table(grid: Grid) -> Table:
    rows: list[tuple[Cell, ...]] = []
    taught = [cell for cell in grid.readings if cell.regime != OVERLAP and cell.arm != "A0"]
    kinds: dict[tuple[Regime, Budget, str], None] = dict.fromkeys((c.regime, c.budget, c.arm) for c in taught)
    for regime, budget, arm in kinds:
        sizes = grid.sizes(arm, budget, regime)
        gains = grid.gain(arm, budget, regime)
        small = grid.small_gain(arm, budget, regime)
        against = paired_difference(small, grid.small_gain("A1"), "minus the main gain") if budget == "steps" else None
        last = _mean(gains[:, -1], f"gain at n = {sizes[-1]:,}")
        rows.append(
            (regime.name, BUDGET_WORDS[budget], _text(grid, arm), _mean(small, "gain"), against, sizes[-1], last)
        )
    columns = ("condition", "budget", "arm", "gain, small n", "minus the main design's", "largest n", "gain there")
    return Table(
        "Other conditions",
        columns,
        tuple(rows),
        "Gains over labels under the same condition, paired by seed. Teachers' accuracies are in the runs.",
    )


_FIDELITY = ("agreement, train", "agreement, test", "gap", "KL, train", "KL, test", "gap in KL")


def _fidelity_table(grid: Grid) -> Table:
    found = grid.fidelity
    tables = (found.train_agreement, found.test_agreement, found.gap, found.train_kl, found.test_kl, found.kl_gap)
    rows: list[tuple[Cell, ...]] = [
        (n, *(_mean(table[:, k], name) for table, name in zip(tables, _FIDELITY, strict=True)))
        for k, n in enumerate(found.sizes)
    ]
    return Table(
        "Fidelity of distilled students, equal steps",
        ("n", *_FIDELITY),
        tuple(rows),
        "Agreement: share of examples on which student and teacher choose the same class. KL(teacher‖student) in nats at τ=1. The "
        "gap in KL can fall below 0: on its own training examples a teacher's logits are more extreme and harder to copy.",
    )


def _tests(grid: Grid) -> Table:
    rows = sign_flips(grid)
    least = smallest_p(len(grid.seeds))
    return Table(
        "Tests",
        ("claim", "difference, small n", "mean", "sign-flip p", "Holm-adjusted p"),
        tuple(rows),
        "Two-sided permutation of signs over paired seeds, no normality assumed; adjusted for the number of rows (Holm). With "
        f"{len(grid.seeds)} seeds no p-value can be below {least:.2g} before adjustment.",
    )


def methods(grid: Grid) -> Text:
    study = grid.study
    optim = study.base.optim
    sizes = ", ".join(f"{n:,}" for n in study.grid)
    teacher = pictures.model_word(study.base.model())
    accuracy = _mean(grid.teacher_accuracy, "accuracy")
    return Text(
        "Methods",
        f"Data: {study.setup.data}, N = {study.total:,} training examples; n = {sizes}, nested and stratified within a seed. All "
        f"arms of a seed share examples, initialization and batches. Students: {study.student_word}; teacher: {teacher} trained on all N "
        f"(test accuracy {accuracy.value:.3f} {accuracy.interval()}), another initialization. Equal steps: {optim.steps:,} of "
        f"{optim.batch} ({optim.name}, rate {optim.lr:g}, {optim.decay}) at every n; to convergence: {study.patience:g} times as many, "
        f"weights of the best of twenty looks at the validation split; equal epochs: {study.epochs:g}. Soft arms: τ²·KL at "
        f"τ={study.temperature:g}; arms A0–A18 are described in the documentation (targets), each keeps one part of what the teacher says "
        "and destroys the rest, drawn once per example. Equal rates and steps for every arm; amounts were chosen on validation, "
        "nothing on test. The unit is a seed (subset, initialization, batches, teacher). Intervals are 95 %, Student t over paired "
        f"seeds (n = {len(grid.seeds)}), Fieller's for shares, inverted t-tests for sizes. Verdicts are not corrected for the number of "
        "claims; the table of tests is. Rules were fixed before the runs. Cite: Lanzillotta et al. 2025 (arXiv 2510.15516).",
    )
