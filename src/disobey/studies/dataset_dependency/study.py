"""On which data does distillation pay?

The open question 4 of Nagarajan et al. (2023), arXiv:2301.12923: gains and deviations differ between data sets. Here
data sets are made or changed on purpose, and what is known of each before distilling is asked to predict the gain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from disobey.data.dataset import DataSpec
from disobey.data.load import load, resolve
from disobey.errors import refusal
from disobey.models.build import resolve as resolve_model
from disobey.models.spec import model_spec
from disobey.records.results import Block, Result
from disobey.studies.dataset_dependency.charts import effects_chart, prediction_chart, theory_chart
from disobey.studies.dataset_dependency.claims import CLAIMS, PAPER, THEORY, Scope
from disobey.studies.dataset_dependency.findings import Findings
from disobey.studies.dataset_dependency.properties import mean_properties
from disobey.studies.dataset_dependency.settings import Setting, planted_settings, resampled, short
from disobey.studies.dataset_dependency.tables import prediction_table, property_table, settings_table
from disobey.studies.dataset_dependency.theory import OneStep, one_step
from disobey.studies.kit.claims import Verdicts, judge
from disobey.studies.kit.design import Arm, Design, Records, factors
from disobey.studies.kit.evidence import CONTROL, STANDARD, Evidence
from disobey.studies.kit.methods import budget_words
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.targets.schedule import distill
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec

ACCURACY, DEVIATION = "student_accuracy", "low_deviation"
READ = tuple(measure for measure in STANDARD if measure.name in (ACCURACY, DEVIATION))


@dataclass(frozen=True)
class Families:
    """Data sets, budget and seeds."""

    data: tuple[str, ...] = ("digits-8x8", "mnist-5k", "languages")
    """data sets that are re-sampled: names of `disobey list` or paths"""
    train: int = 4000
    """most training examples of each"""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """paired seeds; each has its own label noise, teachers and students"""
    steps: int = 800
    """training steps of every network"""
    batch: int = 64
    """examples a step"""
    lr: float = 3e-3
    """largest learning rate (Adam, cosine)"""
    text_lr: float = 0.03
    """the same of networks for texts"""
    text_steps: int = 300
    """their training steps"""

    def __post_init__(self):
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise refusal("bad-seeds", "at least one seed, each once", self.seeds, "--seeds 0 1 2")
        names = [short(name) for name in self.data]
        if len(set(names)) != len(names):
            raise refusal("same-data-twice", "every data set once, and no two of one name", self.data)

    def optim(self, text: bool) -> OptimSpec:
        """The budget of a network."""
        lr, steps = (self.text_lr, self.text_steps) if text else (self.lr, self.steps)
        return OptimSpec("adam", lr, steps, self.batch)


@dataclass(frozen=True)
class DatasetDependency:
    """Trains teacher, student and control on planted data and on changed versions of data sets, and compares the gains.

    A setting is a data set with its label noise, classes, dimension and size; the student is a second network like its
    teacher. Versions of one data set are never on both sides of a prediction.
    """

    name: ClassVar[str] = "dataset-dependency"
    question: ClassVar[str] = "On which data does distillation pay, and can that be known before?"
    answers: ClassVar[tuple[str, ...]] = ("D5", "D1", "D2")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"ten-seeds": {"setup": Families(seeds=tuple(range(10)))}}

    setup: Families = Families()
    generated: int = 24
    """settings of the planted generator; 0: none"""
    model: str = "mlp:64x1"
    """network of teachers and students on images and features"""
    text_model: str = "text-bag"
    """the same on texts"""
    temperature: float = 4.0
    """distillation temperature"""
    weight: float = 1.0
    """of the distillation loss; labels have the rest"""
    draws: int = 6
    """of the planted case with a known answer, which trains nothing"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if self.generated < 0 or self.draws < 3 or not (self.generated or self.setup.data):
            got = f"generated={self.generated}, draws={self.draws}, data={self.setup.data}"
            raise refusal("nothing-to-compare", "generated settings or data sets, and at least 3 draws", got)

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds; evidence of nothing."""
        setup = Families(("digits-8x8",), train=200, seeds=(0, 1), steps=15, batch=16)
        return cls(setup, generated=10, model="mlp:8x1", draws=3, is_smoke=True)

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """Planted ones first, then those of every data set."""
        found = planted_settings(self.generated) if self.generated else []
        for name in self.setup.data:
            found += self._versions(name)
        return tuple(found)

    def _versions(self, name: str) -> list[Setting]:
        base = load(resolve(DataSpec(name)), 0)
        if len(base.classes) < 3:
            raise refusal("few-classes", "at least three classes", len(base.classes), where=name)
        size = min(len(base.train), self.setup.train)
        spec = DataSpec(name, train=None if size == len(base.train) else size)
        versions = resampled(spec, base.kind, size, len(base.classes))
        return [replace(setting, data=_fitting(setting.data)) for setting in versions]

    def arm(self, setting: Setting) -> Arm:
        """The student of a setting with its teacher and its control."""
        text = setting.text
        model, optim = resolve_model(model_spec(self.text_model if text else self.model)), self.setup.optim(text)
        teacher = Recipe(setting.data, model, optim, name="teacher")
        control = replace(teacher, replica=1, name="control")
        targets = distill(self.temperature, weight=self.weight)
        student = replace(control, targets=targets, teacher=teacher, name="student")
        return Arm(setting.label, student, control, teacher, factors=factors(setting=setting.label))

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """One for every setting, in the same order."""
        return tuple(self.arm(setting) for setting in self.settings)

    def design(self) -> Design:
        """Every student beside its control, paired by seed."""
        return Design(self.arms, self.setup.seeds)

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
        return self.design().runs()

    def findings(self, e: Evidence) -> Findings:
        """Gains, deviations and properties of every setting."""
        teachers = [[e.records[Run(_teacher(arm), seed)] for seed in e.seeds] for arm in self.arms]
        return Findings(
            self.settings,
            np.stack([e.per_seed(arm, ACCURACY, minus=CONTROL) for arm in self.arms]),
            np.stack([e.per_seed(arm, DEVIATION, split="train", minus=CONTROL) for arm in self.arms]),
            np.stack(
                [
                    mean_properties(setting.data, e.seeds, own, e.records)
                    for setting, own in zip(self.settings, teachers, strict=True)
                ]
            ),
        )

    def evidence(self, records: Records) -> Evidence:
        """What the runs of the complete seeds measured."""
        return Evidence.read(self.design(), records, READ, ("train", "test"))

    @cached_property
    def known_case(self) -> OneStep:
        """Students of one step."""
        return one_step(self.draws)

    def judged(self, f: Findings) -> Verdicts:
        """The rules on what was found."""
        scope = Scope(f"{len(f.settings)} settings of {len(f.families)} data sets")
        return judge(THEORY, self.known_case, [Scope("one-step students")]) + judge(CLAIMS, f, [scope])

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone."""
        return self.judged(self.findings(self.evidence(records)))

    def analyze(self, records: Records) -> Result:
        """Claims, figures and tables of the complete seeds."""
        e = self.evidence(records)
        f = self.findings(e)
        blocks: list[Block] = [
            *effects_chart(f),
            *prediction_chart(f),
            theory_chart(self.known_case),
            prediction_table(f),
            settings_table(f),
            property_table(),
        ]
        return conclude(self, e.seeds, self.judged(f), blocks, records=records, methods=self.methods(f), cite=PAPER)

    def methods(self, f: Findings) -> str:
        """What was trained, measured and regressed, in sentences."""
        return (
            f"Data: {_counted(f)}. Teacher, student and control are {self.model} (texts: {self.text_model}), trained "
            f"for {budget_words(self.setup.optim(False))} (texts: {self.setup.text_steps} steps at "
            f"{self.setup.text_lr:g}). Students minimize T²·KL at τ={self.temperature:g} with weight {self.weight:g}. "
            "Planted data: x = e_y + b e_s + noise along random orthonormal directions; similarity b, label noise, σ, "
            "dimension, spectrum slope and size are spread evenly over their ranges. Changed data: classes split, "
            "merged, halved to the most or the least confused, inputs projected to 16 principal directions (whitened "
            "or not), wrong labels, a quarter of the examples. Properties are read from training examples, and of the "
            "teacher from validation examples, "
            "too; none from the test split. Effects: least squares on standardized properties, one number a setting "
            "(the mean over seeds), on changed data with a mean for every data set; intervals over settings with CR2 "
            "standard errors and Bell–McCaffrey degrees of freedom. Predictions: ridge regression on all seven "
            "properties, penalty chosen by leaving out data sets among those fitted; the error is absolute; intervals "
            "over data sets."
        )


def _teacher(arm: Arm) -> Recipe:
    assert arm.teacher is not None
    return arm.teacher


def _fitting(data: DataSpec) -> DataSpec:
    """With its fingerprint, and no more examples than a version with fewer classes has."""
    found = resolve(data)
    size = len(load(replace(found, train=None, noise=0.0), 0).train)
    return found if found.train is None or found.train < size else replace(found, train=None)


def _counted(f: Findings) -> str:
    return ", ".join(f"{name} ({len(rows)} settings)" for name, rows in f.families.items())
