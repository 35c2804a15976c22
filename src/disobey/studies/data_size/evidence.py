"""What the finished cells of the data-size study left, as tables (S, K): S paired seeds by K sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from disobey.measures import agreement
from disobey.measures.inference.intervals import minus_twin, over_runs_and_examples
from disobey.records.predictions import Predictions
from disobey.records.results import Estimate
from disobey.records.runs import RunRecord, pair
from disobey.studies.data_size.cells import OVERLAP, Budget, Cell, Regime
from disobey.training.recipe import Run

if TYPE_CHECKING:
    from disobey.studies.data_size.study import DataSize

FEWEST = 5  # seeds for intervals over seeds and examples


@dataclass(frozen=True, eq=False)
class Reading:
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

    sizes: tuple[int, ...]
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
class Grid:
    """Readings by cell. Everything is paired by seed: row i of every table is the same seed."""

    study: DataSize
    seeds: tuple[int, ...]
    readings: Mapping[Cell, Reading]
    records: Mapping[Run, RunRecord]

    @classmethod
    def read(
        cls, study: DataSize, cells: Sequence[Cell], seeds: tuple[int, ...], records: Mapping[Run, RunRecord]
    ) -> Grid:
        known: dict[tuple[Run, ...], Reading] = {}
        readings = {}
        for cell in cells:
            recipe = study.recipe(cell)
            runs = tuple(Run(recipe, seed) for seed in seeds)
            if runs not in known:  # labels of different regimes are often the same runs
                known[runs] = _reading([records[run] for run in runs], recipe.optim.steps)
            readings[cell] = known[runs]
        return cls(study, seeds, readings, records)

    def sizes(self, arm: str, budget: Budget = "steps", regime: Regime = OVERLAP) -> tuple[int, ...]:
        """The sizes at which an arm was run there, ascending; none: it was not."""
        return tuple(n for n in self.study.grid if Cell(arm, n, budget, regime) in self.readings)

    def has(self, *arms: str, budget: Budget = "steps", regime: Regime = OVERLAP) -> bool:
        return all(self.sizes(arm, budget, regime) for arm in arms)

    def accuracy(
        self, arm: str, budget: Budget = "steps", regime: Regime = OVERLAP, sizes: Sequence[int] | None = None
    ) -> NDArray:
        """Test accuracies (S, K) at ``sizes``, all where not given."""
        return self._table("accuracy", arm, budget, regime, sizes)

    def nll(self, arm: str, budget: Budget = "steps", regime: Regime = OVERLAP) -> NDArray:
        return self._table("nll", arm, budget, regime, None)

    def gain(
        self, arm: str, budget: Budget = "steps", regime: Regime = OVERLAP, sizes: Sequence[int] | None = None
    ) -> NDArray:
        """Accuracy over that of labels on the same examples (S, K)."""
        sizes = self.sizes(arm, budget, regime) if sizes is None else sizes
        return self.accuracy(arm, budget, regime, sizes) - self.labels(budget, regime, sizes)

    def labels(self, budget: Budget, regime: Regime, sizes: Sequence[int]) -> NDArray:
        """Accuracies of a regime's student without its teacher."""
        return self.accuracy("A0", budget, regime.of_labels, sizes)

    def small(self, table: NDArray, sizes: Sequence[int]) -> NDArray:
        """Mean over the small sizes, one value a seed (S,)."""
        return table[:, [n in self.study.small for n in sizes]].mean(axis=1)

    def small_gain(self, arm: str, budget: Budget = "steps", regime: Regime = OVERLAP) -> NDArray:
        """Gain over labels averaged over the small sizes that were run (S,)."""
        return self.small(self.gain(arm, budget, regime), self.sizes(arm, budget, regime))

    def small_accuracy(self, arm: str, *, validation: bool = False) -> NDArray:
        """Mean accuracy over the small sizes of the main design (S,)."""
        kind = "validation" if validation else "accuracy"
        return self.small(self._table(kind, arm, "steps", OVERLAP, None), self.sizes(arm))

    def chosen(self, arm: str, budget: Budget) -> NDArray:
        return self._table("chosen", arm, budget, OVERLAP, None)

    def _table(self, kind: str, arm: str, budget: Budget, regime: Regime, sizes: Sequence[int] | None) -> NDArray:
        sizes = self.sizes(arm, budget, regime) if sizes is None else sizes
        return np.stack([getattr(self.readings[Cell(arm, n, budget, regime)], kind) for n in sizes], axis=1)

    @cached_property
    def n_test(self) -> int:
        return len(self.study.setup.dataset.test)

    @cached_property
    def teacher_accuracy(self) -> NDArray:
        """Test accuracy of the main design's teacher, one a seed."""
        run = self.run(Cell("A1", self.study.grid[-1]), 0).teachers()[0]
        return np.array([self.records[Run(run.recipe, seed)].summary["test_accuracy"] for seed in self.seeds])

    @cached_property
    def fidelity(self) -> Fidelity:
        """Of the distilled students of the main design."""
        found = np.array([[self._fidelity(n, i) for n in self.study.grid] for i in range(len(self.seeds))])
        return Fidelity(self.study.grid, *np.moveaxis(found, 2, 0))

    def run(self, cell: Cell, seed_index: int) -> Run:
        return Run(self.study.recipe(cell), self.seeds[seed_index])

    def pair(self, n: int, seed_index: int, split: str = "test", *, twin: bool = False) -> Predictions:
        """Teacher and distilled student of the main design, with the student of labels as the twin."""
        student = self.run(Cell("A1", n), seed_index)
        teacher = self.records[student.teachers()[0]]
        other = self.records[self.run(Cell("A0", n), seed_index)] if twin else None
        return pair(teacher, self.records[student], split, twin=other)

    def over_seeds_and_examples(self, n: int) -> Estimate | None:
        """The gain of distillation at n with an interval over other seeds *and* other test examples; None for few seeds."""
        if len(self.seeds) < FEWEST:
            return None
        pairs = [self.pair(n, i, twin=True) for i in range(len(self.seeds))]
        return over_runs_and_examples(minus_twin(agreement.MEASURES["student_accuracy"]), pairs)

    def _fidelity(self, n: int, seed_index: int) -> tuple[float, float, float, float]:
        kls, agreements = [], []
        for split in ("train", "test"):
            p = self.pair(n, seed_index, split)
            teacher, student = np.asarray(p.teacher, np.float64), np.asarray(p.student, np.float64)
            kls.append(float(agreement.kl_divergence(teacher, student).mean()))
            agreements.append(float((teacher.argmax(1) == student.argmax(1)).mean()))
        return (*kls, *agreements)  # type: ignore[return-value]


def _reading(records: Sequence[RunRecord], steps: int) -> Reading:
    summaries = [record.summary for record in records]
    return Reading(
        np.array([s["test_accuracy"] for s in summaries]),
        np.array([s["validation_accuracy"] for s in summaries]),
        np.array([_nll(record) for record in records]),
        np.array([s["chosen_step"] / steps for s in summaries]),
    )


def _nll(record: RunRecord) -> float:
    log_probs, labels = record.log_probs("test"), record.examples["test.labels"]
    return float(-np.asarray(log_probs, np.float64)[np.arange(len(labels)), labels].mean())
