"""Results of the finished cells of the data-size study as arrays: (S, K) is S paired seeds by K sizes n."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from disobey.measures.agreement import MEASURES, kl_divergence
from disobey.measures.inference.measure import minus_twin
from disobey.measures.inference.runs import example_error, mean_over_runs, over_runs_and_examples
from disobey.measures.sample_efficiency import scales
from disobey.records.results import Estimate
from disobey.records.runs import RunRecord
from disobey.studies.data_size.cells import BUDGETS, KD, LABELS, MAIN, Budget, Cell, Design, Regime
from disobey.studies.data_size.closed_form import ClosedFormResults, closed_form
from disobey.studies.kit import design as kit
from disobey.studies.kit.evidence import CONTROL, Evidence
from disobey.studies.kit.memo import remembered
from disobey.training.recipe import Run

MIN_SEEDS = 5  # for intervals over seeds and examples
FIDELITY = ("agreement, train", "agreement, test", "gap", "KL, train", "KL, test", "gap in KL", "gap, labels")


@dataclass(frozen=True, eq=False)
class CellResults:
    """Results by cell, paired by seed: row i of every array is the same seed.

    Attributes:
        design: what was compared.
        seeds: the S seeds with all runs finished.
        cells: by cell and kind, one value per seed (S,): ``accuracy`` on test, its ``gain`` over labels on the same
            examples under the same condition, ``validation`` accuracy, ``nll`` on test (nats), ``chosen`` (the step of
            the checkpoint chosen on validation, as a fraction of all). For distillation in the main design also the
            kinds `FIDELITY`: agreement and KL (nats, τ = 1) with the teacher; the gaps say how much better a student
            copies its own training examples, ``gap, labels`` the same of the student on labels.
        teacher_accuracy: test accuracy of the main design's teacher.
        crossed: by size, the gain from distillation with an interval over seeds *and* test examples; None below five
            seeds.
        closed: students in closed form.
        evidence: of the arms; None where the results come from elsewhere: then intervals are over runs alone.
        arms: the arm trained in each cell.
    """

    design: Design
    seeds: tuple[int, ...]
    cells: Mapping[Cell, Mapping[str, NDArray]]
    teacher_accuracy: Estimate
    crossed: tuple[Estimate | None, ...]
    closed: ClosedFormResults
    evidence: Evidence | None = None
    arms: Mapping[Cell, kit.Arm] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        design: Design,
        arms: Mapping[Cell, kit.Arm],
        seeds: Sequence[int],
        records: kit.Records,
        kernels: int,
        *,
        crossed: bool = True,
    ) -> Self:
        """Reads the runs of all cells from disk.

        Args:
            design: what is compared.
            arms: the arm trained in each cell.
            seeds: the seeds that were asked for.
            records: finished runs.
            kernels: largest n of students in closed form.
            crossed: whether to read intervals of the gains over seeds and examples by resampling, for a table.

        Raises:
            ValueError: no seed has all its runs.
        """
        evidence = Evidence.read(kit.Design(tuple(arms.values()), tuple(seeds)), records, _numbers)
        distilled = {Cell(KD, n): arms[Cell(KD, n)] for n in design.sizes}
        teacher = next(iter(distilled.values())).compared_with
        assert teacher is not None
        cells = {cell: _arrays(evidence, arm) for cell, arm in arms.items()}
        return cls(
            design,
            evidence.seeds,
            cells | {cell: cells[cell] | _fidelity(evidence, arm) for cell, arm in distilled.items()},
            evidence.summary(teacher, "test_accuracy"),
            tuple(_over_seeds_and_examples(evidence, arm) if crossed else None for arm in distilled.values()),
            closed_form(design, arms, evidence, kernels),
            evidence,
            arms,
        )

    @property
    def budgets(self) -> list[Budget]:
        """The budgets for which distillation was run in the main design."""
        return [budget for budget in BUDGETS if self.has(LABELS, KD, budget=budget)]

    def sizes(self, arm: str, budget: Budget = "steps", regime: Regime = MAIN) -> tuple[int, ...]:
        """The sizes at which an arm was run, ascending; empty if it was not run."""
        return tuple(n for n in self.design.sizes if Cell(arm, n, budget, regime) in self.cells)

    def has(self, *arms: str, budget: Budget = "steps", regime: Regime = MAIN) -> bool:
        """Whether all these arms were run."""
        return all(self.sizes(arm, budget, regime) for arm in arms)

    def table(self, kind: str, arm: str, budget: Budget = "steps", regime: Regime = MAIN) -> NDArray:
        """One kind of result at the K sizes that were run, (S, K)."""
        cells = [Cell(arm, n, budget, regime) for n in self.sizes(arm, budget, regime)]
        return np.stack([self.cells[cell][kind] for cell in cells], axis=1)

    def small(self, kind: str, arm: str, budget: Budget = "steps", regime: Regime = MAIN) -> NDArray:
        """One kind of result, averaged over the small sizes, (S,)."""
        kept = [n in self.design.small for n in self.sizes(arm, budget, regime)]
        return self.table(kind, arm, budget, regime)[:, kept].mean(axis=1)

    def small_gain(self, regime: Regime = MAIN) -> NDArray:
        """The gain from distillation at small n for equal steps, (S,)."""
        return self.small("gain", KD, "steps", regime)

    def mean_gain(self, name: str, regime: Regime = MAIN) -> Estimate:
        """Mean of `small_gain` over seeds, over runs and examples."""
        error = self._example_error(KD, None, regime, regime)
        return mean_over_runs(self.small_gain(regime), name, example_error=error)

    def accuracy_difference(self, name: str, first: str, second: str, regime: Regime = MAIN) -> Estimate:
        """Test accuracy of one arm minus another at small n for equal steps, over runs and examples."""
        values = self.small("accuracy", first, regime=regime) - self.small("accuracy", second, regime=regime)
        return mean_over_runs(values, name, example_error=self._example_error(first, second, regime, regime))

    def added_gain(self, name: str, regime: Regime) -> Estimate:
        """The gain in a regime minus that of the main design, at small n, over runs and examples."""
        values = self.small_gain(regime) - self.small_gain()
        return mean_over_runs(values, name, example_error=self._example_error(KD, None, regime, MAIN))

    def _example_error(self, first: str, second: str | None, regime: Regime, beside: Regime) -> float:
        """Of a difference at small n: minus an arm, or minus labels (None), and minus the same in another regime."""
        if self.evidence is None:
            return 0.0
        key = ("example error", first, second, regime, beside)
        if key not in self.evidence.memo:
            table = self._right(first, second, regime)
            if table is not None and beside != regime:
                other = self._right(first, second, beside)
                table = None if other is None else table - other
            self.evidence.memo[key] = 0.0 if table is None else example_error(table)
        return self.evidence.memo[key]

    def _right(self, first: str, second: str | None, regime: Regime) -> NDArray | None:
        """(S, N) right or wrong, one arm minus another, mean over the small sizes; None where seeds differ in them."""
        assert self.evidence is not None
        tables = []
        for n in self.sizes(first, regime=regime):
            if n in self.design.small:
                arm = self.arms[Cell(first, n, regime=regime)]
                other = arm.control_arm() if second is None else self.arms[Cell(second, n, regime=regime)]
                tables += [(self.evidence.right(arm), self.evidence.right(other))]
        if any(own is None or other is None for own, other in tables):
            return None
        return np.mean([own - other for own, other in tables], axis=0)  # type: ignore[operator]

    def scales(self, budget: Budget) -> dict[str, NDArray]:
        """The gain from distillation on four scales, (S, K) each."""
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


def _arrays(evidence: Evidence, arm: kit.Arm) -> dict[str, NDArray]:
    arrays = {kind: evidence.per_seed(arm, kind) for kind in ("accuracy", "validation", "nll")}
    arrays["chosen"] = evidence.per_seed(arm, "chosen") / arm.recipe.optim.steps
    return arrays if arm.control is None else {**arrays, "gain": evidence.per_seed(arm, "accuracy", minus=CONTROL)}


def _fidelity(evidence: Evidence, arm: kit.Arm) -> dict[str, NDArray]:
    (kl_train, train), (kl_test, test) = (_copies(evidence, arm, split) for split in ("train", "test"))
    (_, labels_train), (_, labels_test) = (_copies(evidence, arm.control_arm(), split) for split in ("train", "test"))
    gaps = (train - test, kl_train, kl_test, kl_test - kl_train, labels_train - labels_test)
    return dict(zip(FIDELITY, (train, test, *gaps), strict=True))


def _copies(evidence: Evidence, arm: kit.Arm, split: str) -> tuple[NDArray, NDArray]:
    """KL to the teacher and agreement with it by seed, (S,) each."""
    rows = [_fidelity_of(evidence, arm, split, seed) for seed in evidence.seeds]
    kl, agreement = map(np.array, zip(*rows, strict=True))
    return kl, agreement


def _fidelity_of(evidence: Evidence, arm: kit.Arm, split: str, seed: int) -> tuple[float, float]:
    """(KL to the teacher, agreement with it) of one run."""
    assert arm.compared_with is not None
    runs = [evidence.records[Run(recipe, seed)] for recipe in (arm.recipe, arm.compared_with)]

    def read() -> tuple[float, float]:
        pair = evidence.predictions(arm, split=split, seed=seed)
        teacher, student = np.asarray(pair.teacher, np.float64), np.asarray(pair.student, np.float64)
        same = teacher.argmax(axis=1) == student.argmax(axis=1)
        return float(kl_divergence(teacher, student).mean()), float(same.mean())

    return remembered(evidence.records, ("fidelity", split, arm.teacher_step), runs, read)


def _over_seeds_and_examples(evidence: Evidence, arm: kit.Arm) -> Estimate | None:
    if len(evidence.seeds) < MIN_SEEDS:
        return None
    pairs = [evidence.predictions(arm, seed=seed) for seed in evidence.seeds]
    return over_runs_and_examples(minus_twin(MEASURES["student_accuracy"]), pairs)
