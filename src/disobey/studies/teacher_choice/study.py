"""Which teacher?

Teachers along their own training, of several sizes, ensembles and cross-fitted ones; students of each as it is, at its
fitted temperature, and of its order of classes alone; what is known of a teacher before anything is distilled from it,
and short pilots, against how its student turns out; and what follows for these data.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np

from disobey.data.dataset import DataSpec
from disobey.data.flat import flat_inputs
from disobey.data.load import load
from disobey.errors import refusal
from disobey.records.results import Block, Result
from disobey.records.runs import RunRecord
from disobey.studies.kit.claims import Verdicts, judge
from disobey.studies.kit.design import Design, Records
from disobey.studies.kit.evidence import Evidence
from disobey.studies.kit.methods import budget_words
from disobey.studies.kit.setup import Setup, by_data
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.studies.teacher_choice.advice import advice_blocks
from disobey.studies.teacher_choice.charts import age_chart, grid_chart, ranking_chart, students_chart
from disobey.studies.teacher_choice.claims import CLAIMS, HARUTYUNYAN, RANK_CLAIMS, Setting
from disobey.studies.teacher_choice.given import given_teachers
from disobey.studies.teacher_choice.linear import linear_table
from disobey.studies.teacher_choice.properties import kernel_of
from disobey.studies.teacher_choice.ranking import ranking_of
from disobey.studies.teacher_choice.tables import property_table, ranking_table, student_table
from disobey.studies.teacher_choice.teachers import EARLY, FULL, LONG, SIZES, Cell, Choice
from disobey.theory.kernel_students import KernelProblem
from disobey.training.recipe import Run, closure

SPLITS = ("validation", "test")


def student_numbers(record: RunRecord, split: str) -> Mapping[Hashable, float]:
    """Accuracy and NLL of a run on a split."""
    log_probs, labels = record.log_probs(split), record.examples[f"{split}.labels"]
    of_labels = log_probs[np.arange(len(labels)), labels]
    right = log_probs.argmax(axis=1) == labels
    return {"accuracy": float(right.mean()), "nll": -float(of_labels.mean(dtype=np.float64))}


@lru_cache(maxsize=2)
def validation_kernel(spec: DataSpec) -> KernelProblem:
    """The kernel of the validation inputs, which all seeds share."""
    return kernel_of(flat_inputs(load(spec, 0), "validation"))


@dataclass(frozen=True)
class TeacherChoice:
    """Distils from many teachers, ranks them beforehand, and says which one the evidence supports."""

    name: ClassVar[str] = "teacher-choice"
    question: ClassVar[str] = "Which teacher, at which temperature and weight?"
    answers: ClassVar[tuple[str, ...]] = ("W1", "W6", "W2")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"text": {"setup": Setup(data="languages")}}

    setup: Setup = Setup()
    teachers: tuple[str, ...] = ()
    """your own teachers, the default first: saved answers (.npz, a run's folder), hf:NAME or FILE.py:FACTORY"""
    student: str = ""
    """model of the student, NAME or NAME:WIDTH"""
    teacher: str = ""
    """model of the default teacher"""
    large: str = ""
    """model of the large teacher, and of the strong student of a weak teacher"""
    ages: tuple[float, ...] = (0.05, 0.1, 0.25)
    """shares of training after which early teachers are taken"""
    over: float = 3.0
    """training of the over-trained teacher, as a multiple"""
    members: int = 3
    """teachers in the ensemble"""
    folds: int = 2
    """parts of the cross-fitted teacher"""
    temperature: float = 4.0
    """distillation temperature outside the grid"""
    temperatures: tuple[float, ...] = (1.0, 4.0, 10.0)
    """temperatures of the grid"""
    weights: tuple[float, ...] = (0.5, 1.0)
    """weights of the teacher in the grid; the rest is labels"""
    pilot: float = 0.1
    """share of the steps of a pilot student"""
    label_noise: tuple[float, ...] = (0.0, 0.2)
    """fractions of training labels to corrupt; your own teachers are asked about the labels as they are"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if EARLY not in self.ages or not all(0 < age < 1 for age in self.ages):
            raise refusal("bad-ages", f"shares of training in (0, 1), {EARLY:g} among them", self.ages)
        if self.over <= 1 or self.members < 2 or self.folds < 2:
            got = f"over={self.over}, members={self.members}, folds={self.folds}"
            raise refusal("bad-teachers", "over above 1, members and folds of at least 2", got)
        if not 0 < self.pilot < 1:
            raise refusal("bad-pilot", "a share of the steps in (0, 1)", self.pilot, "--pilot 0.1")
        if min((self.temperature, *self.temperatures)) <= 0 or not all(0 < w <= 1 for w in self.weights):
            got = f"{self.temperatures} and {self.weights}"
            raise refusal("bad-grid", "temperatures above 0 and weights in (0, 1]", got)

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds, on digits."""
        setup = Setup(data="digits-8x8", seeds=(0, 1), steps=20)
        return cls(
            setup,
            student="mlp:4",
            teacher="mlp:8",
            large="mlp:16",
            ages=(0.25,),
            members=2,
            temperatures=(4.0,),
            weights=(0.5,),
            label_noise=(0.2,),
            is_smoke=True,
        )

    # which runs

    @property
    def sizes(self) -> tuple[str, str, str]:
        """Models of student, default teacher and large teacher: small networks, chosen by the kind of data."""
        own = SIZES[self.setup.dataset.kind]
        return self.student or own[0], self.teacher or own[1], self.large or own[2]

    def chosen(self) -> Mapping[str, str]:
        """What open options stand for on these data."""
        names = ("student", "teacher", "large")
        return {name: by_data(word, self.setup.data) for name, word in zip(names, self.sizes, strict=True)}

    def cells(self) -> list[Cell]:
        """All students, one cell a noise level."""
        choice = Choice(self.setup, self.sizes, self.ages, self.over, self.members, self.folds)
        grid = [(t, w) for t in sorted(set(self.temperatures)) for w in sorted(set(self.weights))]
        given = given_teachers(self.teachers, self.setup) if self.teachers else None
        noises = (0.0,) if given else self.label_noise
        return [choice.cell(noise, self.temperature, grid, self.pilot, given) for noise in noises]

    def design(self) -> Design:
        """Every student, paired by seed."""
        return Design(tuple(arm for cell in self.cells() for arm in cell.arms), self.setup.seeds)

    def plan(self) -> list[Run]:
        """The runs seed by seed, teachers first."""
        return closure(self.design().runs())

    # what they say

    def settings(self, e: Evidence) -> list[Setting]:
        """The noise levels with how their teachers rank."""
        kernel = validation_kernel(self.setup.spec)
        return [Setting(cell, ranking_of(e, cell, kernel)) for cell in self.cells()]

    def evidence(self, records: Records) -> Evidence:
        """What the students measured."""
        return Evidence.read(self.design(), records, student_numbers, SPLITS)

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone."""
        e = self.evidence(records)
        return self.judged(e, self.settings(e))

    def judged(self, e: Evidence, settings: list[Setting]) -> Verdicts:
        """Every claim at every noise level."""
        return judge((*CLAIMS, *RANK_CLAIMS), e, settings)

    def analyze(self, records: Records) -> Result:
        """Claims, recommendation, figures and tables of the complete seeds."""
        e = self.evidence(records)
        settings = self.settings(e)
        verdicts = self.judged(e, settings)
        said, advised = [], []
        for s in settings:
            words, blocks = advice_blocks(e, s.cell, self.temperature, verdicts.corrected().claims)
            said.append(words)
            advised += blocks
        ages = [(age, f"after {age:.0%}") for age in sorted(set(self.ages))]
        ages += [(1.0, FULL), (self.over, LONG)]
        shown: list[Block] = [
            *advised,
            students_chart(e, settings),
            *([] if self.teachers else [age_chart(e, settings, ages)]),
            grid_chart(e, settings),
            ranking_chart(settings),
            ranking_table(settings),
            property_table(settings),
            student_table(e, settings),
            *([] if self.teachers else [linear_table()]),
        ]
        summary = f"{verdicts.summary()} {' '.join(said)}"
        return conclude(
            self, e.seeds, verdicts, shown, records=records, methods=self.methods(), cite=HARUTYUNYAN, summary=summary
        )

    def methods(self) -> str:
        """What was trained and how, in sentences."""
        student, teacher, large = self.sizes
        teachers = (
            f"The default teacher is {teacher}, fully trained; early ones are its own checkpoints or runs that stop on "
            f"the same schedule, the over-trained one has {self.over:g} times the steps, the large one is {large}. "
            "Weak to strong: the strong student is the large model, its ceiling the same model on labels; teacher and "
            "student see the same training examples. "
        )
        if self.teachers:
            teachers = f"Teachers, trained elsewhere and not here: {', '.join(self.teachers)}, the default first. "
        return (
            f"Data: {self.setup.data}. Students ({student}) minimize T²·KL at τ={self.temperature:g} for "
            f"{budget_words(self.setup.optim)}. {teachers}Fitted: the teacher's logits are divided by the temperature "
            "that fits the labels of the validation examples, before softening. Ranks: every example gets the same "
            f"mean profile of probabilities in its own order of classes. Pilots have {self.pilot:.0%} of the steps on "
            "a schedule of their own and are read on validation examples, as are all properties. Supervision "
            "complexity uses the Laplace kernel of the inputs in place of the tangent kernel. The recommendation "
            "chooses on validation examples and corrects for all comparisons. Validation labels are clean at every "
            "noise level."
        )
