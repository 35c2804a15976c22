"""The students of a design as candidates of a recommendation: what `recommend` asks, read from finished runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from disobey.records.results import Block, Levels
from disobey.records.runs import RunRecord
from disobey.studies.kit.claims import Verdicts
from disobey.studies.kit.design import Arm
from disobey.studies.kit.evidence import Evidence
from disobey.studies.kit.recommend import Candidate, ExampleError, recommend, recommend_blocks
from disobey.training.recipe import Run

LABELS_ALONE = "labels alone"


def candidate(e: Evidence, arm: Arm, name: str, choice: Levels, *, plain: bool = False, cost: float = 1.0) -> Candidate:
    """A student as something that a user could do.

    Args:
        e: the evidence, of any measures.
        arm: the student.
        name: in words.
        choice: what is to be set.
        plain: whether it is a default that only evidence displaces.
        cost: in trainings of a student on labels alone.
    """
    records = [e.records[Run(arm.recipe, seed)] for seed in e.seeds]
    validation, test = (np.array([_accuracy(record, split) for record in records]) for split in ("validation", "test"))
    return Candidate(name, choice, validation, test, plain, cost, arm)


def labels_alone(e: Evidence, arm: Arm) -> Candidate:
    """The arm's control, the plainest candidate of all."""
    choice = (("teacher", "none"), ("schedule", LABELS_ALONE))
    return candidate(e, arm.control_arm(), LABELS_ALONE, choice, plain=True)


def examples_error(e: Evidence) -> ExampleError:
    """The standard error of a difference of two candidates that is due to the test examples; subjects are arms."""

    def error(one: Candidate, other: Candidate) -> float:
        assert isinstance(one.subject, Arm)
        assert isinstance(other.subject, Arm)
        return e.example_error(one.subject, minus=other.subject)

    return error


def recommendation(
    e: Evidence, candidates: Sequence[Candidate], verdicts: Verdicts, ids: Sequence[str], setting: str, where: str
) -> tuple[Block, ...]:
    """What the evidence supports in one setting, with the claims that bear on it.

    Args:
        e: the evidence.
        candidates: the plainest first; every one with its arm as subject.
        verdicts: all that was judged.
        ids: of the claims that are shown beside it.
        setting: whose claims.
        where: the setting in the words of titles.
    """
    error = examples_error(e)
    claims = [c for c in verdicts.corrected().claims if c.name in ids and c.setting == setting]
    return recommend_blocks(recommend(candidates, error), error, claims, where)


def _accuracy(record: RunRecord, split: str) -> float:
    return float((record.log_probs(split).argmax(axis=1) == record.examples[f"{split}.labels"]).mean())
