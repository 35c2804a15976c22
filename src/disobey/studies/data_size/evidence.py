"""What the finished cells of the data-size study left, read into arrays: (S, K) is S paired seeds by K sizes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from disobey.measures import agreement
from disobey.measures.inference.intervals import mean_over_runs, minus_twin, over_runs_and_examples
from disobey.measures.sample_efficiency import scales
from disobey.records.results import Estimate
from disobey.records.runs import RunRecord
from disobey.studies.data_size.cells import BUDGET_WORDS, KD, LABELS, OVERLAP, Budget, Cell, Design, Regime
from disobey.studies.data_size.closed_form import ClosedFormResults, closed_form
from disobey.studies.kit import design as kit
from disobey.studies.kit.evidence import CONTROL, Evidence

Kind: TypeAlias = Literal["accuracy", "gain", "validation", "nll", "chosen"]

MIN_SEEDS = 5  # for intervals over seeds and examples


@dataclass(frozen=True, eq=False)
class Fidelity:
    """How well distilled students copy their teacher: mean KL (nats, τ = 1) and agreement, (S, K) each."""

    train_kl: NDArray
    test_kl: NDArray
    train_agreement: NDArray
    test_agreement: NDArray

    @property
    def gap(self) -> NDArray:
        """Train minus test agreement: how much better a student copies what it has seen."""
        return self.train_agreement - self.test_agreement

    @property
    def kl_gap(self) -> NDArray:
        """Test minus train KL."""
        return self.test_kl - self.train_kl


@dataclass(frozen=True, eq=False)
class CellResults:
    """Results by cell, paired by seed: row i of every table is the same seed.

    Attributes:
        design: what was compared.
        seeds: those of which every run is finished.
        cells: by cell, one value a seed (S,) of each kind: test ``accuracy``, its ``gain`` over labels on the same examples
            under the same conditions, ``validation`` accuracy, ``nll`` (mean negative log-likelihood on test, nats),
            ``chosen`` (the step whose weights validation chose, as a share of all).
        teacher_accuracy: test accuracy of the main design's teacher.
        fidelity: of the distilled students of the main design, over all sizes.
        crossed: the gain of distillation at each size with an interval over other seeds *and* other test examples;
            None for few seeds.
        closed: students in closed form.
    """

    design: Design
    seeds: tuple[int, ...]
    cells: Mapping[Cell, Mapping[Kind, NDArray]]
    teacher_accuracy: Estimate
    fidelity: Fidelity
    crossed: tuple[Estimate | None, ...]
    closed: ClosedFormResults

    @classmethod
    def read(
        cls, design: Design, arms: Mapping[Cell, kit.Arm], seeds: Sequence[int], records: kit.Records, kernels: int
    ) -> Self:
        """Reads the runs of all cells, once.

        Args:
            design: what is compared.
            arms: what was trained in each of its cells.
            seeds: those that were asked for.
            records: finished runs.
            kernels: largest n of students in closed form.

        Raises:
            ValueError: no seed has all its runs.
        """
        evidence = Evidence.read(kit.Design(tuple(arms.values()), tuple(seeds)), records, _numbers)
        distilled = [arms[Cell(KD, n)] for n in design.sizes]
        teacher = distilled[-1].compared_with
        assert teacher is not None
        copies = np.array([[_copying(evidence, arm, seed) for arm in distilled] for seed in evidence.seeds])
        return cls(
            design,
            evidence.seeds,
            {cell: _arrays(evidence, arm) for cell, arm in arms.items()},
            evidence.summaries(teacher, "test_accuracy"),
            Fidelity(*np.moveaxis(copies, 2, 0)),
            tuple(_over_seeds_and_examples(evidence, arm) for arm in distilled),
            closed_form(design, arms, evidence, kernels),
        )

    @property
    def budgets(self) -> list[Budget]:
        """The budgets for which distillation was run in the main design."""
        return [budget for budget in BUDGET_WORDS if self.has(LABELS, KD, budget=budget)]

    def sizes(self, arm: str, budget: Budget = "steps", regime: Regime = OVERLAP) -> tuple[int, ...]:
        """The sizes at which an arm was run there, ascending; none: it was not."""
        return tuple(n for n in self.design.sizes if Cell(arm, n, budget, regime) in self.cells)

    def has(self, *arms: str, budget: Budget = "steps", regime: Regime = OVERLAP) -> bool:
        """Whether all these arms were run there."""
        return all(self.sizes(arm, budget, regime) for arm in arms)

    def table(self, kind: Kind, arm: str, budget: Budget = "steps", regime: Regime = OVERLAP) -> NDArray:
        """One kind of result at all sizes that were run, (S, K)."""
        cells = [Cell(arm, n, budget, regime) for n in self.sizes(arm, budget, regime)]
        return np.stack([self.cells[cell][kind] for cell in cells], axis=1)

    def small(self, kind: Kind, arm: str, budget: Budget = "steps", regime: Regime = OVERLAP) -> NDArray:
        """One kind of result averaged over the small sizes that were run, (S,)."""
        kept = [n in self.design.small for n in self.sizes(arm, budget, regime)]
        return self.table(kind, arm, budget, regime)[:, kept].mean(axis=1)

    def small_gain(self, regime: Regime = OVERLAP) -> NDArray:
        """Distillation's gain averaged over the small sizes, equal steps, (S,)."""
        return self.small("gain", KD, "steps", regime)

    def mean_gain(self, name: str, regime: Regime = OVERLAP) -> Estimate:
        """Mean of `small_gain` over seeds."""
        return mean_over_runs(self.small_gain(regime), name)

    def scales(self, budget: Budget) -> dict[str, NDArray]:
        """The gain of distillation on four scales, (S, K) each."""
        tables = [self.table(kind, arm, budget) for kind in ("accuracy", "nll") for arm in (LABELS, KD)]
        return scales(*tables, n_test=self.design.tests)


def _numbers(record: RunRecord, split: str) -> dict[Hashable, float]:
    log_probs, labels = record.log_probs(split), record.examples[f"{split}.labels"]
    return {
        "accuracy": record.summary[f"{split}_accuracy"],
        "validation": record.summary["validation_accuracy"],
        "nll": float(-np.asarray(log_probs, np.float64)[np.arange(len(labels)), labels].mean()),
        "chosen": record.summary["chosen_step"],
    }


def _arrays(evidence: Evidence, arm: kit.Arm) -> dict[Kind, NDArray]:
    arrays: dict[Kind, NDArray] = {kind: evidence.per_seed(arm, kind) for kind in ("accuracy", "validation", "nll")}
    arrays["chosen"] = evidence.per_seed(arm, "chosen") / arm.recipe.optim.steps
    return arrays if arm.control is None else {**arrays, "gain": evidence.per_seed(arm, "accuracy", minus=CONTROL)}


def _copying(evidence: Evidence, arm: kit.Arm, seed: int) -> tuple[float, ...]:
    """The numbers of `Fidelity` for one student."""
    kls, agreements = [], []
    for split in ("train", "test"):
        predictions = evidence.predictions(arm, split=split, seed=seed)
        teacher, student = (np.asarray(who, np.float64) for who in (predictions.teacher, predictions.student))
        kls.append(float(agreement.kl_divergence(teacher, student).mean()))
        agreements.append(float((teacher.argmax(1) == student.argmax(1)).mean()))
    return (*kls, *agreements)


def _over_seeds_and_examples(evidence: Evidence, arm: kit.Arm) -> Estimate | None:
    if len(evidence.seeds) < MIN_SEEDS:
        return None
    pairs = [evidence.predictions(arm, seed=seed) for seed in evidence.seeds]
    return over_runs_and_examples(minus_twin(agreement.MEASURES["student_accuracy"]), pairs)
