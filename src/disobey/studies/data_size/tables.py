"""Tables of the data-size study."""

from __future__ import annotations

from disobey.measures.inference.comparisons import smallest_p
from disobey.measures.inference.runs import mean_over_runs, paired_difference
from disobey.measures.sample_efficiency import label_equivalence
from disobey.records.results import Cell, Estimate, Table
from disobey.studies.data_size.cells import BUDGETS, KD, LABELS, MAIN, Budget, Regime
from disobey.studies.data_size.charts import CENSORED
from disobey.studies.data_size.claims import sign_flips
from disobey.studies.data_size.evidence import FIDELITY, CellResults
from disobey.studies.data_size.shares import share_of_gain, sizes_in_words
from disobey.studies.kit.tables import table


def tables(results: CellResults) -> list[Table]:
    """All tables in reading order; that of other conditions only if there are any."""
    others = [conditions(results)] if any(cell.regime != MAIN for cell in results.cells) else []
    return [gains(results), arms(results), *others, fidelity(results), tests(results)]


def gains(results: CellResults) -> Table:
    """The gain from distillation at every size, by budget."""
    sizes, rows, columns = results.design.sizes, [], {}
    for budget in results.budgets:
        labels, kd = (results.table("accuracy", arm, budget) for arm in (LABELS, KD))
        columns = {"accuracy, labels": labels, "accuracy, distillation": kd, **results.scales(budget)}
        curve = label_equivalence(sizes, labels, kd)
        for k, n in enumerate(sizes):
            means = [mean_over_runs(column[:, k], name) for name, column in columns.items()]
            both = results.crossed[k] if budget == "steps" else None
            share, words = n / results.design.total, BUDGETS[budget]
            rows.append((words, n, share, *means, both, curve.factor[k], CENSORED[curve.censored[k]]))
    names = [name.removeprefix("accuracy, ") for name in columns]
    return Table(
        "The gain from distillation at every size",
        ("budget", "n", "κ", *names, "gap over seeds and examples", "labels needed / n", "censored"),
        tuple(rows),
        "Means over paired seeds. Relative error change: fraction of the errors of labels that distillation removes. "
        "NLL gap: labels minus distillation, nats. The gap over seeds and examples resamples both, crossed.",
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
            mean_over_runs(results.table("chosen", arm, "convergence").mean(axis=1), "fraction of the steps")
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
        ("gain at N, equal steps", at_all),
        ("chosen at", chosen),
    )
    caption = (
        f"Small n: mean over {sizes_in_words(design.small)} within each seed. Gains are over labels with the same "
        "examples and budget, paired by seed. φ: share of the gain from distillation, Fieller's interval; blank "
        "without a gain. Chosen at: fraction of the steps to convergence at which validation accuracy was best, mean "
        "over sizes."
    )
    return table("Every arm", design.arms, columns, caption)


def conditions(results: CellResults) -> Table:
    """The gain under every regime."""
    rows = []
    taught = [cell for cell in results.cells if cell.regime != MAIN and cell.arm != LABELS]
    kinds: dict[tuple[Regime, Budget, str], None] = dict.fromkeys((c.regime, c.budget, c.arm) for c in taught)
    for regime, budget, arm in kinds:
        small = results.small("gain", arm, budget, regime)
        main = paired_difference(small, results.small_gain(), "minus the main gain") if budget == "steps" else None
        largest = results.sizes(arm, budget, regime)[-1]
        last = mean_over_runs(results.table("gain", arm, budget, regime)[:, -1], f"gain at n = {largest:,}")
        words = regime.name, BUDGETS[budget], results.design.arm(arm).text
        rows.append((*words, mean_over_runs(small, "gain"), main, largest, last))
    return Table(
        "Other conditions",
        ("condition", "budget", "arm", "gain, small n", "minus the main design", "largest n", "gain there"),
        tuple(rows),
        "Gains over labels under the same condition, paired by seed. The records of the runs have the teachers' "
        "accuracies.",
    )


def fidelity(results: CellResults) -> Table:
    """How well distilled students copy their teacher, by size."""
    arrays = {kind: results.table(kind, KD) for kind in FIDELITY}
    rows = [
        (n, *(mean_over_runs(array[:, k], kind) for kind, array in arrays.items()))
        for k, n in enumerate(results.design.sizes)
    ]
    return Table(
        "Fidelity of distilled students, equal steps",
        ("n", *FIDELITY),
        tuple(rows),
        "Agreement: fraction of examples for which student and teacher predict the same class. KL(teacher‖student) in "
        "nats at τ=1. The gap in KL can be negative: a teacher's logits on its own training examples are more extreme "
        "and harder to copy.",
    )


def tests(results: CellResults) -> Table:
    """Permutation tests of the differences that the claims rest on."""
    return Table(
        "Tests",
        ("claim", "difference, small n", "mean", "sign-flip p", "Holm-adjusted p"),
        tuple(sign_flips(results)),
        "Two-sided sign-flip permutation tests over paired seeds, adjusted for the number of rows by Holm's method. "
        f"With {len(results.seeds)} seeds no p-value can be below {smallest_p(len(results.seeds)):.2g} before "
        "adjustment.",
    )
