"""How well a number that is known beforehand ranks teachers by what their students will be.

Within each seed: rank correlation over the teachers, and what choosing the teacher with the largest number brings.
Teachers T, seeds S: tables (T, S).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, rankdata

from disobey.data.formats.answers import read_answers
from disobey.data.load import load
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.predictions import Predictions
from disobey.records.results import Estimate
from disobey.records.runs import RunRecord
from disobey.studies.kit.evidence import Evidence, rank_association
from disobey.studies.kit.memo import remembered
from disobey.studies.teacher_choice.properties import PROPERTIES
from disobey.studies.teacher_choice.teachers import Cell
from disobey.theory.kernel_students import KernelProblem
from disobey.training.recipe import Run

FEWEST_TEACHERS = 4  # below which a rank correlation says nothing
PILOT = "pilot"
CEILING = "the students' own validation accuracy"
ACCURACY = "accuracy"


@dataclass(frozen=True, eq=False)
class Ranking:
    """What was known of the teachers of one noise level, and how their students turned out.

    Attributes:
        teachers: names (T,).
        known: by what is known: (T, S), signed so that more should be better.
        students: test accuracies of the raw students (T, S).
    """

    teachers: tuple[str, ...]
    known: Mapping[str, NDArray]
    students: NDArray

    def correlation(self, name: str) -> Estimate:
        """Spearman's, mean over seeds."""
        return rank_association(list(self.known[name]), list(self.students), f"rank correlation, {name}")

    def by_seed(self, name: str) -> NDArray:
        """Spearman's correlation of each seed (S,)."""
        return np.array([spearman(x, y) for x, y in zip(self.known[name].T, self.students.T, strict=True)])

    def difference(self, name: str, other: str) -> Estimate:
        """Spearman's correlation of one minus that of another, paired by seed."""
        return mean_over_runs(self.by_seed(name) - self.by_seed(other), f"rank correlation, {name} − {other}")

    def kendall(self, name: str) -> Estimate:
        """Kendall's tau-b, mean over seeds."""
        pairs = zip(self.known[name].T, self.students.T, strict=True)
        found = [0.0 if np.ptp(x) == 0 or np.ptp(y) == 0 else float(np.asarray(kendalltau(x, y))[0]) for x, y in pairs]
        return mean_over_runs(found, f"Kendall's tau, {name}")

    def over_random(self, name: str) -> Estimate:
        """Accuracy of the chosen teacher's student minus the mean student's: what choosing by it brings."""
        chosen = self.known[name].argmax(axis=0)
        gained = self.students[chosen, np.arange(self.students.shape[1])] - self.students.mean(axis=0)
        return mean_over_runs(gained, f"chosen by {name} − at random")

    def regret(self, name: str = "") -> Estimate:
        """Accuracy of the best student of a seed minus the chosen one's; of one at random where no name is given."""
        chosen = self.known[name].argmax(axis=0) if name else None
        seeds = np.arange(self.students.shape[1])
        own = self.students.mean(axis=0) if chosen is None else self.students[chosen, seeds]
        return mean_over_runs(self.students.max(axis=0) - own, f"regret, {name or 'at random'}")


def spearman(x: NDArray, y: NDArray) -> float:
    """Rank correlation of two columns; 0 where one is constant.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 15.0]))
    0.5
    """
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])


def ranking_of(e: Evidence, cell: Cell, kernel: KernelProblem) -> Ranking:
    """Reads properties, pilots and students of a noise level."""
    raw, pilots = cell.of("raw"), cell.of("pilot")
    known = {name: [] for name in PROPERTIES}
    for arm in raw.values():
        rows = [_properties(e, Run(arm.recipe, seed), kernel) for seed in e.seeds]
        for name in PROPERTIES:
            known[name].append([row[name] for row in rows])
    tables = {name: np.array(rows) for name, rows in known.items()}
    tables[PILOT] = np.array([e.per_seed(pilots[name], ACCURACY, split="validation") for name in raw])
    tables[CEILING] = np.array([e.per_seed(arm, ACCURACY, split="validation") for arm in raw.values()])
    return Ranking(tuple(raw), tables, np.array([e.per_seed(arm, ACCURACY) for arm in raw.values()]))


def _properties(e: Evidence, student: Run, kernel: KernelProblem) -> Mapping[str, float]:
    """Properties of a student's teachers on validation examples, by name."""
    teaching = student.recipe.teaching
    teachers = [e.records[run] for run in student.teachers()]
    if teaching.saved:
        teachers = [e.records[student]]  # for the labels, and to remember by

    def make() -> Mapping[str, float]:
        if teaching.saved:
            answers = [_saved_answers(student, teachers[0])]
        else:
            answers = teacher_answers(teachers, teaching.step, bool(teaching.folds))
        rows = [{name: of(p, kernel) for name, of in PROPERTIES.items()} for p in answers]
        return {name: float(np.mean([row[name] for row in rows])) for name in PROPERTIES}

    return remembered(e.records, ("properties", teaching), teachers, make)


def _saved_answers(student: Run, record: RunRecord) -> Predictions:
    """What a teacher whose answers are saved says of the validation examples."""
    whole = load(replace(student.recipe.data, train=None, noise=0.0), student.seed)
    teaching = student.recipe.teaching
    log_probs = read_answers(teaching.saved, whole, teaching.saved_content)["validation"]
    labels, ids = record.examples["validation.labels"], record.examples["validation.ids"]
    return Predictions(log_probs, log_probs, labels, ids, "validation")


def teacher_answers(
    records: Sequence[RunRecord], step: int | None, apart: bool, split: str = "validation"
) -> list[Predictions]:
    """What teachers answer on a split: the mean of an ensemble; one by one (``apart``) where they are cross-fitted."""
    logs = [np.asarray(record.log_probs(split, step), dtype=np.float64) for record in records]
    if not apart and len(logs) > 1:
        logs = [np.logaddexp.reduce(np.stack(logs), axis=0) - np.log(len(logs))]
    labels, ids = records[0].examples[f"{split}.labels"], records[0].examples[f"{split}.ids"]
    return [Predictions(log, log, labels, ids, split) for log in logs]
