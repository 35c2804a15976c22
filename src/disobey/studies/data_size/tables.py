"""Tables of the data-size study."""

from __future__ import annotations

from disobey.measures.inference.comparisons import smallest_p
from disobey.measures.inference.intervals import mean_over_runs, paired_difference
from disobey.measures.sample_efficiency import label_equivalence
from disobey.records.results import Cell, Estimate, Table
from disobey.studies.data_size.cells import BUDGET_WORDS, KD, LABELS, OVERLAP, Budget, Regime
from disobey.studies.data_size.charts import CENSORED
from disobey.studies.data_size.claims import sign_flips
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.data_size.shares import share_of_gain, sizes_in_words
from disobey.studies.kit.tables import table


def tables(results: CellResults) -> list[Table]:
    """All tables, in reading order; of other conditions only where there are any."""
    others = [conditions(results)] if any(cell.regime != OVERLAP for cell in results.cells) else []
    return [gains(results), arms(results), *others, fidelity(results), tests(results)]


def gains(results: CellResults) -> Table:
    """The gain of distillation at every size, by budget."""
    sizes, rows, columns = results.design.sizes, [], {}
    for budget in results.budgets:
        labels, kd = (results.table("accuracy", arm, budget) for arm in (LABELS, KD))
        columns = {"accuracy, labels": labels, "accuracy, distillation": kd, **results.scales(budget)}
        curve = label_equivalence(sizes, labels, kd)
        for k, n in enumerate(sizes):
            means = [mean_over_runs(column[:, k], name) for name, column in columns.items()]
            both = results.crossed[k] if budget == "steps" else None
            share, words = n / results.design.total, BUDGET_WORDS[budget]
            rows.append((words, n, share, *means, both, curve.factor[k], CENSORED[curve.censored[k]]))
    return Table(
        "The gain of distillation at every size",
        (
            "budget",
            "n",
            "κ",
            *(name.removeprefix("accuracy, ") for name in columns),
            "gap over seeds and examples",
            "labels needed / n",
            "censored",
        ),
        tuple(rows),
        "Means over paired seeds. Relative error change: share of labels' errors that is gone. NLL in nats, labels' minus the "
        "student's. The gap over seeds and examples draws both anew, crossed.",
    )


def arms(results: CellResults) -> Table:
    """Every arm at small n, by budget."""
    design = results.design

    def gain(arm: str, budget: Budget) -> Estimate | None:
        known = arm != LABELS and results.has(arm, budget=budget)
        return mean_over_runs(results.small("gain", arm, budget), "gain") if known else None

    def share(arm: str) -> Cell:
        found = None if arm in (LABELS, KD) else share_of_gain(results, arm)
        return found if found and found.known else None

    def at_all(arm: str) -> Cell:
        return None if arm == LABELS else mean_over_runs(results.table("gain", arm)[:, -1], "gain")

    def chosen(arm: str) -> Cell:
        known = results.has(arm, budget="convergence")
        return (
            mean_over_runs(results.table("chosen", arm, "convergence").mean(axis=1), "share of the steps")
            if known
            else None
        )

    columns = (
        ("arm", lambda arm: design.arm(arm).text),
        ("accuracy, small n", lambda arm: mean_over_runs(results.small("accuracy", arm), "accuracy")),
        ("gain, equal steps", lambda arm: gain(arm, "steps")),
        ("gain, to convergence", lambda arm: gain(arm, "convergence")),
        ("gain, equal epochs", lambda arm: gain(arm, "epochs")),
        ("φ, equal steps", share),
        ("gain at all N, equal steps", at_all),
        ("chosen after", chosen),
    )
    caption = (
        f"Small n: the mean over {sizes_in_words(design.small)} within each seed. Gains over labels on the same examples and "
        "budget, paired by seed. φ: share of distillation's gain, Fieller's interval; blank where that gain is not surely "
        "above 0. Chosen after: share of the steps to convergence after which validation was best, mean over sizes."
    )
    return table("Every arm", design.arms, columns, caption)


def conditions(results: CellResults) -> Table:
    """The gain under every regime."""
    rows = []
    taught = [cell for cell in results.cells if cell.regime != OVERLAP and cell.arm != LABELS]
    kinds: dict[tuple[Regime, Budget, str], None] = dict.fromkeys((c.regime, c.budget, c.arm) for c in taught)
    for regime, budget, arm in kinds:
        small = results.small("gain", arm, budget, regime)
        main = paired_difference(small, results.small_gain(), "minus the main gain") if budget == "steps" else None
        largest = results.sizes(arm, budget, regime)[-1]
        last = mean_over_runs(results.table("gain", arm, budget, regime)[:, -1], f"gain at n = {largest:,}")
        words = regime.name, BUDGET_WORDS[budget], results.design.arm(arm).text
        rows.append((*words, mean_over_runs(small, "gain"), main, largest, last))
    return Table(
        "Other conditions",
        ("condition", "budget", "arm", "gain, small n", "minus the main design's", "largest n", "gain there"),
        tuple(rows),
        "Gains over labels under the same condition, paired by seed. Teachers' accuracies are in the runs.",
    )


def fidelity(results: CellResults) -> Table:
    """How well distilled students copy their teacher, by size."""
    copies = results.fidelity
    columns = {
        "agreement, train": copies.train_agreement,
        "agreement, test": copies.test_agreement,
        "gap": copies.gap,
        "KL, train": copies.train_kl,
        "KL, test": copies.test_kl,
        "gap in KL": copies.kl_gap,
    }
    rows = [
        (n, *(mean_over_runs(column[:, k], name) for name, column in columns.items()))
        for k, n in enumerate(results.design.sizes)
    ]
    return Table(
        "Fidelity of distilled students, equal steps",
        ("n", *columns),
        tuple(rows),
        "Agreement: share of examples on which student and teacher choose the same class. KL(teacher‖student) in nats at τ=1. The "
        "gap in KL can fall below 0: on its own training examples a teacher's logits are more extreme and harder to copy.",
    )


def tests(results: CellResults) -> Table:
    """Permutation tests of the differences that the claims rest on."""
    return Table(
        "Tests",
        ("claim", "difference, small n", "mean", "sign-flip p", "Holm-adjusted p"),
        tuple(sign_flips(results)),
        "Two-sided permutation of signs over paired seeds, no normality assumed; adjusted for the number of rows (Holm). With "
        f"{len(results.seeds)} seeds no p-value can be below {smallest_p(len(results.seeds)):.2g} before adjustment.",
    )
