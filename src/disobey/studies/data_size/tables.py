"""Tables and methods of the data-size study."""

from __future__ import annotations

from disobey.measures.inference.comparisons import smallest_p
from disobey.measures.inference.intervals import mean_over_runs, paired_difference
from disobey.measures.sample_efficiency import label_equivalence
from disobey.records.results import Cell, Table, Text
from disobey.studies.data_size.cells import BUDGET_WORDS, OVERLAP, Budget, Regime
from disobey.studies.data_size.claims import sign_flips
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.data_size.shares import budgets_of, gains_on_scales, shares_of_gain, text_of


def tables(results: CellResults) -> list[Table]:
    conditions = [_regime_table(results)] if any(cell.regime != OVERLAP for cell in results.cells) else []
    return [_gains(results), _arms(results), *conditions, _fidelity_table(results), _tests(results)]


def _gains(results: CellResults) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for budget in budgets_of(results):
        scales = gains_on_scales(results, budget)
        curve = label_equivalence(results.design.sizes, results.accuracy("A0", budget), results.accuracy("A1", budget))
        for k, n in enumerate(results.design.sizes):
            both = results.crossed[k] if budget == "steps" else None
            rows.append(
                (
                    BUDGET_WORDS[budget],
                    n,
                    n / results.design.total,
                    mean_over_runs(results.accuracy("A0", budget)[:, k], "accuracy, labels"),
                    mean_over_runs(results.accuracy("A1", budget)[:, k], "accuracy, distillation"),
                    *(mean_over_runs(table[:, k], name) for name, table in scales.items()),
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


def _arms(results: CellResults) -> Table:
    rows: list[tuple[Cell, ...]] = []
    arms = results.design.arms
    accuracies = {arm: results.small_accuracy(arm) for arm in arms}
    shares = shares_of_gain(results, [arm for arm in arms if arm not in ("A0", "A1")])
    for arm in arms:
        by_budget = [
            mean_over_runs(results.small_gain(arm, budget), "gain")
            if arm != "A0" and results.has(arm, budget=budget)
            else None
            for budget in BUDGET_WORDS
        ]
        large = results.gain(arm)[:, -1]
        rows.append(
            (
                text_of(results, arm),
                mean_over_runs(accuracies[arm], "accuracy"),
                *by_budget,
                shares[arm] if arm in shares and shares[arm].known else None,
                mean_over_runs(large, "gain") if arm != "A0" else None,
                mean_over_runs(results.chosen(arm, "convergence").mean(axis=1), "share of the steps")
                if results.has(arm, budget="convergence")
                else None,
            )
        )
    columns = ("arm", "accuracy, small n", "gain, equal steps", "gain, to convergence", "gain, equal epochs", "φ, equal steps",
               "gain at all N, equal steps", "chosen after")  # fmt: skip
    sizes = ", ".join(f"{n:,}" for n in results.design.small)
    return Table(
        "Every arm",
        columns,
        tuple(rows),
        f"Small n: the mean over n = {sizes} within each seed. Gains over labels on the same examples and budget, paired by seed. "
        "φ: share of distillation's gain, Fieller's interval; blank where that gain is not surely above 0. Chosen after: "
        "share of the steps to convergence after which validation was best, mean over sizes.",
    )


def _regime_table(results: CellResults) -> Table:
    rows: list[tuple[Cell, ...]] = []
    taught = [cell for cell in results.cells if cell.regime != OVERLAP and cell.arm != "A0"]
    kinds: dict[tuple[Regime, Budget, str], None] = dict.fromkeys((c.regime, c.budget, c.arm) for c in taught)
    for regime, budget, arm in kinds:
        sizes = results.sizes(arm, budget, regime)
        gains = results.gain(arm, budget, regime)
        small = results.small_gain(arm, budget, regime)
        against = (
            paired_difference(small, results.small_gain("A1"), "minus the main gain") if budget == "steps" else None
        )
        last = mean_over_runs(gains[:, -1], f"gain at n = {sizes[-1]:,}")
        rows.append(
            (
                regime.name,
                BUDGET_WORDS[budget],
                text_of(results, arm),
                mean_over_runs(small, "gain"),
                against,
                sizes[-1],
                last,
            )
        )
    columns = ("condition", "budget", "arm", "gain, small n", "minus the main design's", "largest n", "gain there")
    return Table(
        "Other conditions",
        columns,
        tuple(rows),
        "Gains over labels under the same condition, paired by seed. Teachers' accuracies are in the runs.",
    )


_FIDELITY = ("agreement, train", "agreement, test", "gap", "KL, train", "KL, test", "gap in KL")


def _fidelity_table(results: CellResults) -> Table:
    found = results.fidelity
    tables = (found.train_agreement, found.test_agreement, found.gap, found.train_kl, found.test_kl, found.kl_gap)
    rows: list[tuple[Cell, ...]] = [
        (n, *(mean_over_runs(table[:, k], name) for table, name in zip(tables, _FIDELITY, strict=True)))
        for k, n in enumerate(results.design.sizes)
    ]
    return Table(
        "Fidelity of distilled students, equal steps",
        ("n", *_FIDELITY),
        tuple(rows),
        "Agreement: share of examples on which student and teacher choose the same class. KL(teacher‖student) in nats at τ=1. The "
        "gap in KL can fall below 0: on its own training examples a teacher's logits are more extreme and harder to copy.",
    )


def _tests(results: CellResults) -> Table:
    rows = sign_flips(results)
    least = smallest_p(len(results.seeds))
    return Table(
        "Tests",
        ("claim", "difference, small n", "mean", "sign-flip p", "Holm-adjusted p"),
        tuple(rows),
        "Two-sided permutation of signs over paired seeds, no normality assumed; adjusted for the number of rows (Holm). With "
        f"{len(results.seeds)} seeds no p-value can be below {least:.2g} before adjustment.",
    )


def methods(results: CellResults) -> Text:
    design = results.design
    optim = design.optim
    sizes = ", ".join(f"{n:,}" for n in design.sizes)
    accuracy = mean_over_runs(results.teacher_accuracy, "accuracy")
    return Text(
        "Methods",
        f"Data: {design.data}, N = {design.total:,} training examples; n = {sizes}, nested and stratified within a seed. All "
        f"arms of a seed share examples, initialization and batches. Students: {design.student}; teacher: {design.teacher} trained on all N "
        f"(test accuracy {accuracy.value:.3f} {accuracy.interval()}), another initialization. Equal steps: {optim.steps:,} of "
        f"{optim.batch} ({optim.name}, rate {optim.lr:g}, {optim.decay}) at every n; to convergence: {design.patience:g} times as many, "
        f"weights of the best of twenty looks at the validation split; equal epochs: {design.epochs:g}. Soft arms: τ²·KL at "
        f"τ={design.temperature:g}; arms A0–A18 are described in the documentation (targets), each keeps one part of what the teacher says "
        "and destroys the rest, drawn once per example. Equal rates and steps for every arm; amounts were chosen on validation, "
        "nothing on test. The unit is a seed (subset, initialization, batches, teacher). Intervals are 95 %, Student t over paired "
        f"seeds (n = {len(results.seeds)}), Fieller's for shares, inverted t-tests for sizes. Verdicts are not corrected for the number of "
        "claims; the table of tests is. Rules were fixed before the runs. Cite: Lanzillotta et al. 2025 (arXiv 2510.15516).",
    )
