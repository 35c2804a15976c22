"""Where, and how, does a student deviate from its teacher, and does it pay?

Re-runs section 3 of Nagarajan et al. (2023), arXiv:2301.12923. Added here: a control (twin) beside every student, the
same student trained on labels alone. It is needed because choosing the teacher's most likely class makes any
independent model look less confident where the teacher is confident, and because noise attenuates least squares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from disobey.errors import refusal
from disobey.figures.gallery import most_disobeyed
from disobey.figures.logit_plot import logit_plot
from disobey.models.spec import spec_text
from disobey.records.results import Block, Chart, Estimate, Gallery, Levels, Result, Table
from disobey.studies.deviation import charts, tables
from disobey.studies.deviation.claims import ASSOCIATION, CLAIMS, JUDGED, PAPER, SPLITS
from disobey.studies.kit.candidates import candidate, labels_alone, recommendation
from disobey.studies.kit.claims import Verdicts, judge
from disobey.studies.kit.design import Arm, Design, Group, Records, factors
from disobey.studies.kit.evidence import Evidence
from disobey.studies.kit.examples import example_of
from disobey.studies.kit.methods import budget_words
from disobey.studies.kit.options import renamed
from disobey.studies.kit.presets import CIFAR_SPEED
from disobey.studies.kit.setup import Distillation, Setup
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.studies.kit.tables import table
from disobey.targets.schedule import distill
from disobey.training.recipe import Run

USUAL = 4.0  # temperature near which claims are judged unless another is asked for


@dataclass(frozen=True)
class Deviation:
    """Compares each student with its teacher and with its control (twin), on training and on test examples.

    Clean and noisy labels, self-distillation and a smaller student, a fully trained and an early-stopped teacher,
    several temperatures. Claims are judged in the main setting of every noise level: self-distillation from the fully
    trained teacher at ``temperature``.
    """

    name: ClassVar[str] = "deviation"
    question: ClassVar[str] = "Where does a student disobey its teacher, and does it pay?"
    answers: ClassVar[tuple[str, ...]] = ("C3",)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Data, architecture and T as published. The paper's budget is not known; this one is that of most CIFAR-100
        # tables: 240 epochs of batch 64, learning rate 0.05 divided by ten three times.
        "paper-cifar100": {
            "setup": Setup(
                "hub:uoft-cs/cifar100#fine_label",
                augment="crop-flip",
                steps=187_500,
                batch=64,
                lr=0.05,
                optimizer="sgd",
                decay="steps",
                weight_decay=5e-4,
            ),
            "teacher": "resnet56",
            "students": ("self", "resnet20"),
            "weight": 0.9,
        },
        "cifar-speed": {
            "setup": CIFAR_SPEED,
            "teacher": "resnet20",
            "students": ("resnet8",),
            "temperatures": (4.0,),
            "early": 0.0,
            "weight": 0.9,
        },
        "text": {"setup": Setup(data="languages")},
    }

    setup: Setup = Setup()
    teacher: str = ""
    """model of the teacher, NAME or NAME:WIDTH"""
    early: float = 0.25
    """fraction of its training after which the early-stopped teacher is taken; 0: none"""
    students: tuple[str, ...] = ("self", "small")
    """models of the students: self, small, large, NAME or NAME:WIDTH"""
    temperatures: tuple[float, ...] = (1.0, 4.0, 10.0)
    """distillation temperatures"""
    temperature: float | None = None
    """distillation temperature at which claims are judged"""
    label_noise: tuple[float, ...] = renamed("noise", (0.0, 0.2))
    """fractions of training labels to corrupt"""
    weight: float = 1.0
    """weight of the distillation loss; the rest is cross-entropy on the labels"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        _ = self.recipes  # refuses nonsense
        if not self.temperatures or not all(0 < t < float("inf") for t in self.temperatures):
            expected = "temperatures above 0, at least one"
            raise refusal("temperature-range", expected, self.temperatures, "--temperatures 1 4 10")
        if self.temperature not in (None, *self.temperatures):
            raise refusal(
                "temperature-not-trained",
                f"temperature to be one of temperatures {self.temperatures}",
                self.temperature,
                f"--temperature {self.judged_at:g}, or leave it out",
            )

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds, on digits."""
        setup = Setup(data="digits-8x8", seeds=(0, 1), steps=30)
        return cls(setup, "mlp:16", students=("self",), temperatures=(1.0, 4.0), label_noise=(0.2,), is_smoke=True)

    @property
    def judged_at(self) -> float:
        """The temperature at which claims are judged: the one that was asked for, else the trained one nearest to 4."""
        if self.temperature is not None and self.temperature in self.temperatures:
            return self.temperature
        return min(self.temperatures, key=lambda t: abs(math.log(t / USUAL)))

    @property
    def recipes(self) -> Distillation:
        """Teacher, students and controls as recipes."""
        return Distillation(self.setup, self.teacher, self.early)

    def chosen(self) -> Mapping[str, str]:
        """What open options stand for on these data."""
        nearest = f"{self.judged_at:g}: the one of --temperatures nearest to {USUAL:g}"
        return {**self.recipes.chosen(), "temperature": nearest}

    def design(self) -> Design:
        """Every arm, paired by seed."""
        arms = []
        for noise in self.label_noise:
            for student in self.students:
                arms += [self.arm(noise, student, False, temperature) for temperature in self.temperatures]
            if self.early:
                arms.append(self.arm(noise, self.students[0], True, self.judged_at))
        return Design(tuple(arms), self.setup.seeds)

    def arm(self, noise: float, student: str, early: bool, temperature: float) -> Arm:
        """One student in one setting."""
        teacher = "early-stopped" if early else "final"
        return self.recipes.arm(
            f"{noise:.0%} label noise, {student} student, {teacher} teacher, τ={temperature:g}",
            student,
            distill(temperature, weight=self.weight),
            noise,
            early=early,
            name=f"student {student} τ={temperature:g}" + (" early teacher" if early else ""),
            factors=factors(noise=noise, student=student, early=early, temperature=temperature),
        )

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
        return self.design().runs()

    def main(self, design: Design) -> tuple[Arm, ...]:
        """The arms that claims are judged on, one a noise level."""
        return design.where(student=self.students[0], early=False, temperature=self.judged_at)

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone."""
        return self.judged(Evidence.read(self.design(), records, JUDGED, SPLITS))

    def judged(self, e: Evidence) -> Verdicts:
        """Every claim on its settings."""
        arms = e.design.arms
        every = Group(f"students and controls of {len(arms)} settings, test", arms)
        return judge(CLAIMS, e, self.main(e.design)) + judge([ASSOCIATION], e, [every])

    def analyze(self, records: Records) -> Result:
        """Claims, charts and tables of the complete seeds."""
        e = Evidence.read(self.design(), records, splits=SPLITS)
        arms, main, verdicts = e.design.arms, self.main(e.design), self.judged(e)
        blocks = [
            *(block for arm in main for block in self.advice(e, arm, verdicts)),
            *(self.logits(arm, split, e) for arm in main for split in ("test", "train")),
            charts.slope_chart(arms, e),
            charts.gain_chart(arms, e),
            tables.gain_table(arms, e),
            *tables.deviation_tables(arms, e),
            *tables.calibration_tables(arms, e),
            tables.kind_table(main, e),
            self.teacher_table(e),
            *(self.gallery(arm, e) for arm in main),
        ]
        gains = verdicts.gains("C3", lambda setting: setting.split(",")[0])
        summary = f"{verdicts.summary()} Accuracy of the student minus its control: {gains}."
        study = replace(self, temperature=self.judged_at)  # what was chosen is written down
        return conclude(
            study, e.seeds, verdicts, blocks, records=records, methods=self.methods(e), cite=PAPER, summary=summary
        )

    def advice(self, e: Evidence, main: Arm, verdicts: Verdicts) -> tuple[Block, ...]:
        """Which teacher, temperature and weight to take for the first student at a noise level."""
        found = [labels_alone(e, main)]
        own = [arm for arm in e.design.where(noise=main["noise"], student=self.students[0]) if arm is not main]
        for arm in (main, *own):
            teacher = "early-stopped" if arm["early"] else "final"
            choice = (("teacher", teacher), ("temperature", f"{arm['temperature']:g}"), ("weight", f"{self.weight:g}"))
            name = f"{teacher} teacher, τ={arm['temperature']:g}, weight {self.weight:g}"
            cost = 1.0 + (self.early if arm["early"] else 1.0)
            found.append(candidate(e, arm, name, choice, plain=arm is main, cost=cost))
        return recommendation(e, found, verdicts, ("C3",), main.label, f"{main['noise']:.0%} label noise")

    def logits(self, arm: Arm, split: str, e: Evidence) -> Chart:
        """The first seed's examples, one by one."""
        first = e.predictions(arm, split=split, class_names=self.setup.dataset.classes)
        title, levels = "Where the student disobeys: log-odds of the teacher's class", self.levels(arm, split)
        about = f"Shown: {arm.label}, seed {e.seeds[0]}."
        return logit_plot(first, f"logits-{split}-noise{arm['noise']:g}", title, levels=levels, about=about)

    def levels(self, arm: Arm, split: str) -> Levels:
        """What a reader switches between in a picture of single examples."""
        return (("label noise", f"{arm['noise']:.0%}"), ("split", split))

    def gallery(self, arm: Arm, e: Evidence) -> Gallery:
        """The test examples of the first seed with the largest deviation."""
        first = e.predictions(arm, class_names=self.setup.dataset.classes)
        levels, about = self.levels(arm, "test"), f"Shown: {arm.label}, seed {e.seeds[0]}."
        show = example_of(first, self.setup.dataset)
        return most_disobeyed(first, "Most disobeyed test examples", show, levels=levels, about=about)

    def teacher_table(self, e: Evidence) -> Table:
        """Model and accuracy of every teacher."""

        def number(key: str) -> Callable[[float], Estimate]:
            return lambda noise: e.summary(self.recipes.teacher_recipe(noise), key)

        columns = (
            ("label noise", "{:.0%}".format),
            ("training labels reproduced", number("fitted")),
            ("train accuracy (true labels)", number("train_accuracy")),
            ("test accuracy", number("test_accuracy")),
        )
        caption = "An interpolating teacher reproduces all of its training labels, the corrupted ones too."
        return table("Teachers at the end of training", self.label_noise, columns, caption)

    def methods(self, e: Evidence) -> str:
        """What was trained and how, in sentences."""
        setup, rest = self.setup, 1 - self.weight
        source = next(iter(e.records.values())).info["data"]["source"]
        train, validation, test = (f"{len(setup.dataset.split(name)):,}" for name in ("train", "validation", "test"))
        objective = f"{self.weight:g} · T²·KL(teacher‖student) + {rest:g} · cross-entropy on the labels"
        objective = objective if rest else "T²·KL(teacher‖student)"
        return (
            f"Data: {setup.data} ({source}); {train} training, {validation} validation and {test} test examples. "
            f"Label noise is symmetric and in the training labels only. Teacher: {spec_text(self.recipes.model())}; "
            f"students: {', '.join(self.students)}. Every model is trained for {budget_words(setup.optim)}. Students "
            f"minimize {objective}. The control (twin) of a student has the same initialization, batches and labels "
            "and is trained on the labels alone: the two differ only in their targets, and both use a different "
            "initialization and batch order from the teacher's. The early-stopped teacher is the checkpoint after "
            f"{self.early:.0%} of the teacher's steps. The last weights are used; nothing was chosen on the test "
            "split.\n\nx and y are the log-odds of the teacher's most likely class under teacher and student: its "
            "logit minus the log-sum-exp of the other logits, in nats. Lowest quartile: the quarter of the split's "
            "examples with the smallest x. Differences are paired by seed."
        )
