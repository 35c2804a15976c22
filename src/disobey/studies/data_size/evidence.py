"""What the finished cells of the data-size study left, read into arrays: (S, K) is S paired seeds by K sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from disobey.measures import agreement
from disobey.measures.inference.intervals import minus_twin, over_runs_and_examples
from disobey.records.predictions import Predictions
from disobey.records.results import Estimate
from disobey.records.runs import RunRecord, pair
from disobey.studies.data_size.cells import OVERLAP, Budget, Cell, Design, Regime
from disobey.training.recipe import Run

RunOf: TypeAlias = Callable[[Cell, int], Run]  # a cell and a seed to the run of its student
Records: TypeAlias = Mapping[Run, RunRecord]

MIN_SEEDS = 5  # for intervals over seeds and examples


@dataclass(frozen=True, eq=False)
class CellResult:
    """One cell, one value a seed (S,): accuracies, mean negative log-likelihood (nats), and the steps trained.

    chosen: the step whose weights validation chose, as a share of the steps (1: the last).
    """

    accuracy: NDArray
    validation: NDArray
    nll: NDArray
    chosen: NDArray


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
        cells: results by cell.
        teacher_accuracy: test accuracy of the main design's teacher, (S,).
        fidelity: of the distilled students of the main design, over all sizes.
        crossed: the gain of distillation at each size with an interval over other seeds *and* other test examples;
            None for few seeds.
    """

    design: Design
    seeds: tuple[int, ...]
    cells: Mapping[Cell, CellResult]
    teacher_accuracy: NDArray
    fidelity: Fidelity
    crossed: tuple[Estimate | None, ...]

    @classmethod
    def read(cls, design: Design, seeds: tuple[int, ...], records: Records, run_of: RunOf) -> Self:
        """Reads the runs of all cells, once."""
        known: dict[tuple[Run, ...], CellResult] = {}
        cells = {}
        for cell in design.cells():
            runs = tuple(run_of(cell, seed) for seed in seeds)
            if runs not in known:  # labels of different regimes are often the same runs
                known[runs] = _result([records[run] for run in runs], runs[0].recipe.optim.steps)
            cells[cell] = known[runs]
        teachers = [run_of(Cell("A1", design.sizes[-1]), seed).teachers()[0] for seed in seeds]
        teacher_accuracy = np.array([records[run].summary["test_accuracy"] for run in teachers])
        copies = np.array([[_copying(n, seed, records, run_of) for n in design.sizes] for seed in seeds])
        fidelity = Fidelity(*np.moveaxis(copies, 2, 0))
        crossed = tuple(_over_seeds_and_examples(n, seeds, records, run_of) for n in design.sizes)
        return cls(design, seeds, cells, teacher_accuracy, fidelity, crossed)

    def sizes(self, arm: str, budget: Budget = "steps", regime: Regime = OVERLAP) -> tuple[int, ...]:
        """The sizes at which an arm was run there, ascending; none: it was not."""
        return tuple(n for n in self.design.sizes if Cell(arm, n, budget, regime) in self.cells)

    def has(self, *arms: str, budget: Budget = "steps", regime: Regime = OVERLAP) -> bool:
        """Whether all these arms were run there."""
        return all(self.sizes(arm, budget, regime) for arm in arms)

    def accuracy(
        self, arm: str, budget: Budget = "steps", regime: Regime = OVERLAP, sizes: Sequence[int] | None = None
    ) -> NDArray:
        """Test accuracies (S, K) at ``sizes``, all where not given."""
        return self._table("accuracy", arm, budget, regime, sizes)

    def nll(self, arm: str, budget: Budget = "steps") -> NDArray:
        """Mean negative log-likelihoods on test (S, K), nats, of the main design."""
        return self._table("nll", arm, budget)

    def gain(self, arm: str, budget: Budget = "steps", regime: Regime = OVERLAP) -> NDArray:
        """Accuracy over that of labels on the same examples, under the same conditions (S, K)."""
        sizes = self.sizes(arm, budget, regime)
        return self.accuracy(arm, budget, regime, sizes) - self.accuracy("A0", budget, regime.of_labels, sizes)

    def small(self, table: NDArray, sizes: Sequence[int]) -> NDArray:
        """Mean over the small sizes, one value a seed (S,)."""
        return table[:, [n in self.design.small for n in sizes]].mean(axis=1)

    def small_gain(self, arm: str, budget: Budget = "steps", regime: Regime = OVERLAP) -> NDArray:
        """Gain over labels averaged over the small sizes that were run (S,)."""
        return self.small(self.gain(arm, budget, regime), self.sizes(arm, budget, regime))

    def small_accuracy(self, arm: str, regime: Regime = OVERLAP, *, validation: bool = False) -> NDArray:
        """Mean accuracy over the small sizes, equal steps (S,)."""
        table = self._table("validation" if validation else "accuracy", arm, "steps", regime)
        return self.small(table, self.sizes(arm, regime=regime))

    def chosen(self, arm: str, budget: Budget) -> NDArray:
        """Shares of the steps after which validation was best (S, K), of the main design."""
        return self._table("chosen", arm, budget)

    def _table(
        self, kind: str, arm: str, budget: Budget, regime: Regime = OVERLAP, sizes: Sequence[int] | None = None
    ) -> NDArray:
        sizes = self.sizes(arm, budget, regime) if sizes is None else sizes
        return np.stack([getattr(self.cells[Cell(arm, n, budget, regime)], kind) for n in sizes], axis=1)


def _result(records: Sequence[RunRecord], steps: int) -> CellResult:
    summaries = [record.summary for record in records]
    return CellResult(
        np.array([summary["test_accuracy"] for summary in summaries]),
        np.array([summary["validation_accuracy"] for summary in summaries]),
        np.array([_nll(record) for record in records]),
        np.array([summary["chosen_step"] / steps for summary in summaries]),
    )


def _nll(record: RunRecord) -> float:
    log_probs, labels = record.log_probs("test"), record.examples["test.labels"]
    return float(-np.asarray(log_probs, np.float64)[np.arange(len(labels)), labels].mean())


def _pair(n: int, seed: int, split: str, records: Records, run_of: RunOf, *, twin: bool = False) -> Predictions:
    """Teacher and distilled student of the main design, with the student of labels as the twin."""
    student = run_of(Cell("A1", n), seed)
    control = records[run_of(Cell("A0", n), seed)] if twin else None
    return pair(records[student.teachers()[0]], records[student], split, twin=control)


def _copying(n: int, seed: int, records: Records, run_of: RunOf) -> tuple[float, ...]:
    """The numbers of `Fidelity` for one student."""
    kls, agreements = [], []
    for split in ("train", "test"):
        predictions = _pair(n, seed, split, records, run_of)
        teacher, student = (np.asarray(who, np.float64) for who in (predictions.teacher, predictions.student))
        kls.append(float(agreement.kl_divergence(teacher, student).mean()))
        agreements.append(float((teacher.argmax(1) == student.argmax(1)).mean()))
    return (*kls, *agreements)


def _over_seeds_and_examples(n: int, seeds: tuple[int, ...], records: Records, run_of: RunOf) -> Estimate | None:
    if len(seeds) < MIN_SEEDS:
        return None
    pairs = [_pair(n, seed, "test", records, run_of, twin=True) for seed in seeds]
    return over_runs_and_examples(minus_twin(agreement.MEASURES["student_accuracy"]), pairs)
