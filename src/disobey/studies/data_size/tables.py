"""Tables and methods of the data-size study."""

from __future__ import annotations

from disobey.measures.inference.comparisons import smallest_p
from disobey.measures.inference.intervals import mean_over_runs, paired_difference
from disobey.measures.sample_efficiency import label_equivalence
from disobey.records.results import Cell, Table, Text
from disobey.studies.data_size.cells import BUDGET_WORDS, OVERLAP, Budget, Regime
from disobey.studies.data_size.claims import sign_flips
from disobey.studies.data_size.evidence import Grid
from disobey.studies.data_size.shares import arm_words, budgets_of, gains_on_scales, shares_of_gain, text_of
from disobey.studies.kit import pictures


def tables(grid: Grid) -> list[Table]:
    conditions = [_regime_table(grid)] if any(cell.regime != OVERLAP for cell in grid.readings) else []
    return [_gains(grid), _arms(grid), *conditions, _fidelity_table(grid), _tests(grid)]


def _gains(grid: Grid) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for budget in budgets_of(grid):
        scales = gains_on_scales(grid, budget)
        curve = label_equivalence(grid.study.grid, grid.accuracy("A0", budget), grid.accuracy("A1", budget))
        for k, n in enumerate(grid.study.grid):
            both = grid.over_seeds_and_examples(n) if budget == "steps" else None
            rows.append(
                (
                    BUDGET_WORDS[budget],
                    n,
                    n / grid.study.total,
                    mean_over_runs(grid.accuracy("A0", budget)[:, k], "accuracy, labels"),
                    mean_over_runs(grid.accuracy("A1", budget)[:, k], "accuracy, distillation"),
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


def _arms(grid: Grid) -> Table:
    rows: list[tuple[Cell, ...]] = []
    arms = arm_words(grid)
    accuracies = {arm: grid.small_accuracy(arm) for arm in arms}
    shares = shares_of_gain(grid, [arm for arm in arms if arm not in ("A0", "A1")])
    for arm in arms:
        by_budget = [
            mean_over_runs(grid.small_gain(arm, budget), "gain")
            if arm != "A0" and grid.has(arm, budget=budget)
            else None
            for budget in BUDGET_WORDS
        ]
        large = grid.gain(arm)[:, -1]
        rows.append(
            (
                text_of(grid, arm),
                mean_over_runs(accuracies[arm], "accuracy"),
                *by_budget,
                shares[arm] if arm in shares and shares[arm].known else None,
                mean_over_runs(large, "gain") if arm != "A0" else None,
                mean_over_runs(grid.chosen(arm, "convergence").mean(axis=1), "share of the steps")
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
        last = mean_over_runs(gains[:, -1], f"gain at n = {sizes[-1]:,}")
        rows.append(
            (
                regime.name,
                BUDGET_WORDS[budget],
                text_of(grid, arm),
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


def _fidelity_table(grid: Grid) -> Table:
    found = grid.fidelity
    tables = (found.train_agreement, found.test_agreement, found.gap, found.train_kl, found.test_kl, found.kl_gap)
    rows: list[tuple[Cell, ...]] = [
        (n, *(mean_over_runs(table[:, k], name) for table, name in zip(tables, _FIDELITY, strict=True)))
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
    teacher = pictures.model_word(study.model())
    accuracy = mean_over_runs(grid.teacher_accuracy, "accuracy")
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
