"""When should a student start, and stop, listening to its teacher?

Re-runs section 5.3 of Nagarajan et al. (2023), arXiv:2301.12923: switching between training on labels and distillation.
Added here: the share of the gain that a schedule recovers has its own interval and is undefined where there is no gain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar, Self

from disobey.errors import refusal
from disobey.models.spec import model_spec, spec_text
from disobey.records.results import Block, Result
from disobey.studies.kit.candidates import candidate, labels_alone, recommendation
from disobey.studies.kit.claims import Verdicts, judge
from disobey.studies.kit.design import Arm, Design, Records, factors
from disobey.studies.kit.evidence import Evidence
from disobey.studies.kit.methods import budget_words
from disobey.studies.kit.options import renamed
from disobey.studies.kit.presets import CIFAR_SPEED
from disobey.studies.kit.setup import Distillation, Setup
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.studies.loss_switching.charts import line_chart, map_chart, map_table, schedule_table, winners
from disobey.studies.loss_switching.claims import ACCURACY, AGE, CLAIMS, JUDGED, NOISE, PAPER, Condition, Series
from disobey.targets.schedule import distill, labels, switch
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import Teaching

SIZES = ("self", "small", "large")  # models in a word that the data choose


@dataclass(frozen=True)
class LossSwitching:
    """Trains on one objective and then on the other, switching at a given fraction of training.

    The ends of the axis are plain training on labels and plain distillation, the same runs as in the study `deviation`.
    """

    name: ClassVar[str] = "loss-switching"
    question: ClassVar[str] = "When should a student start, and stop, listening to its teacher?"
    answers: ClassVar[tuple[str, ...]] = ("S1", "S2")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "text": {"setup": Setup(data="languages")},
        "cifar-speed": {
            "setup": CIFAR_SPEED,
            "teacher": "resnet20",
            "student": "resnet8",
            "switch_points": (0.0, 0.5, 1.0),
        },
        # Quality of the teacher by noise, for the map of where labels after the teacher win.
        "grid": {
            "teacher": "mlp:100",
            "teachers": ("0.1", "0.25", "0.5", "final", "mlp:25", "mlp:400"),
            "label_noise": (0.0, 0.2, 0.4),
            "switch_points": (0.5,),
        },
        "all-points": {"switch_points": (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0), "windows": (0.0, 0.2)},
    }

    setup: Setup = Setup()
    teacher: str = ""
    """model of the teacher, NAME or NAME:WIDTH"""
    early: float = 0.25
    """fraction of its training after which the early-stopped teacher is taken; 0: none"""
    switch_points: tuple[float, ...] = renamed("shares", (0.0, 0.25, 0.5, 0.75, 1.0))
    """fractions of training at which to switch"""
    windows: tuple[float, ...] = renamed("over", (0.0,))
    """fractions of training over which the two losses are blended; 0: an abrupt switch"""
    temperature: float = 4.0
    """distillation temperature"""
    label_noise: tuple[float, ...] = renamed("noise", (0.0, 0.2))
    """fractions of training labels to corrupt"""
    teachers: tuple[str, ...] = ("final",)
    """teachers beside each other: final, early (see --early), a fraction of its training, or another model in a word"""
    student: str = "self"
    """model of the student: self, small, large, NAME or NAME:WIDTH"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        _ = self.recipes  # refuses nonsense
        if not all(0 <= point <= 1 for point in self.switch_points):
            raise refusal("bad-switch-point", "switch points, fractions of training, in [0, 1]", self.switch_points)
        if "early" in self.teachers and not self.early:
            raise refusal("no-early-teacher", "--early above 0 for --teachers early", self.early, "--early 0.25")
        known = [word if self.age(word) is None else self.age(word) for word in self.teachers]
        if not known or len(set(known)) < len(known):
            raise refusal("same-teachers", "at least one teacher, each once", self.teachers, "--teachers final 0.1")

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds, on digits."""
        setup = Setup(data="digits-8x8", seeds=(0, 1), steps=30)
        return cls(setup, "mlp:16", switch_points=(0.0, 0.5, 1.0), label_noise=(0.2,), is_smoke=True)

    @property
    def recipes(self) -> Distillation:
        """Teacher, students and controls as recipes."""
        return Distillation(self.setup, self.teacher, self.early)

    def chosen(self) -> Mapping[str, str]:
        """What open options stand for on these data."""
        return self.recipes.chosen()

    def age(self, word: str) -> float | None:
        """The fraction of its training after which a teacher is taken; None: another model, at its end."""
        if word in ("final", "early"):
            return 1.0 if word == "final" else self.early
        try:
            age = float(word)
        except ValueError:
            _ = word in SIZES or model_spec(word)  # refuses what is no model
            return None
        if not 0 < age < 1:
            raise refusal("bad-teacher-age", "a fraction of the teacher's training between 0 and 1", word, "final")
        return age

    def step(self, word: str) -> int | None:
        """The kept checkpoint that is meant; None: the last weights."""
        age = self.age(word)
        return None if age in (None, 1.0) else max(round(age * self.setup.optim.steps), 1)

    def teacher_recipe(self, word: str, noise: float) -> Recipe:
        """The teacher: one for all ages, which keeps every checkpoint that is asked for; or another model."""
        usual = self.recipes.teacher_recipe(noise)
        if self.age(word) is None:
            model = self.setup.model(word, self.teacher)
            return replace(usual, model=model, keep=(), name=f"teacher {spec_text(model)}")
        kept = {step for step in map(self.step, self.teachers) if step is not None}
        return replace(usual, keep=tuple(sorted({*usual.keep, *kept})))

    def teacher_name(self, word: str) -> str:
        """A teacher in words."""
        if word in ("final", "early"):
            return "final" if word == "final" else "early-stopped"
        age = self.age(word)
        return spec_text(self.setup.model(word, self.teacher)) if age is None else f"{age:.0%}-trained"

    def arm(self, noise: float, teacher: str, first: str, window: float, at: float) -> Arm:
        """One schedule; at the ends of the axis there is no switch, hence no window."""
        window = window if 0 < at < 1 else 0.0
        kd, one_hot = distill(self.temperature), labels()
        objectives = (one_hot, kd) if first == "labels first" else (kd, one_hot)
        name = f"{first} until {at:.0%}" + (f" over {window:.0%}" if window else "")
        targets = switch(*objectives, at=at, over=window)
        levels = factors(noise=noise, teacher=teacher, first=first, window=window, at=at)
        arm = self.recipes.arm(name, self.student, targets, noise, name=name, factors=levels)
        recipe, step = self.teacher_recipe(teacher, noise), self.step(teacher)
        taught = arm.recipe
        if targets.uses_teacher:
            taught = replace(taught, teacher=recipe, teaching=Teaching(step=step))
        return replace(arm, recipe=taught, teacher=recipe, teacher_step=step)

    def design(self) -> Design:
        """Every arm, paired by seed."""
        points = sorted({0.0, 1.0, *self.switch_points})
        grid = product(self.label_noise, self.teachers, ("labels first", "teacher first"), self.windows, points)
        return Design(tuple(dict.fromkeys(self.arm(*cell) for cell in grid)), self.setup.seeds)

    def conditions(self, design: Design) -> list[Condition]:
        """The settings that claims are judged on."""
        found = []
        for noise, teacher in product(self.label_noise, self.teachers):
            name = self.teacher_name(teacher)
            here, half = {"noise": noise, "teacher": teacher}, {"at": 0.5, "window": 0.0}
            found.append(
                Condition(
                    f"{noise:.0%} label noise, {name} teacher",
                    design.where(**here),
                    design.one(**here, first="labels first", at=0.0),
                    late=design.maybe(**here, first="labels first", **half),
                    then_labels=design.maybe(**here, first="teacher first", **half),
                    levels=(("label noise", f"{noise:.0%}"), ("teacher", name)),
                    age=self.age(teacher),
                    noise=noise,
                    teacher=name,
                )
            )
        return found

    def by_age(self, conditions: list[Condition]) -> list[Series]:
        """The teachers of one model along its training, a series for each noise level; none for a single age."""
        found = []
        for noise in self.label_noise:
            own = tuple(c for c in conditions if c.noise == noise and c.age is not None and c.then_labels)
            ages = tuple(c.age for c in own if c.age is not None)
            if len(set(ages)) > 1:
                label = f"{noise:.0%} label noise, teachers from {max(ages):.0%} to {min(ages):.0%} of their training"
                found.append(Series(label, own, ages, (("label noise", f"{noise:.0%}"),)))
        return found

    def by_noise(self, conditions: list[Condition]) -> list[Series]:
        """The noise levels of every teacher; none for a single level."""
        found = []
        for word in self.teachers:
            name = self.teacher_name(word)
            own = tuple(c for c in conditions if c.teacher == name and c.then_labels)
            noises = tuple(c.noise for c in own)
            if len(set(noises)) > 1:
                label = f"{name} teacher, label noise from {min(noises):.0%} to {max(noises):.0%}"
                found.append(Series(label, own, noises, (("teacher", name),)))
        return found

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
        return self.design().runs()

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone."""
        return self.judged(Evidence.read(self.design(), records, JUDGED))

    def judged(self, e: Evidence) -> Verdicts:
        """Every claim on its settings."""
        conditions = self.conditions(e.design)
        series = judge([AGE], e, self.by_age(conditions)) + judge([NOISE], e, self.by_noise(conditions))
        return judge(CLAIMS, e, conditions) + series

    def analyze(self, records: Records) -> Result:
        """Claims, charts and tables of the complete seeds."""
        e = Evidence.read(self.design(), records)
        conditions, verdicts = self.conditions(e.design), self.judged(e)
        deviation = "Deviation in the teacher's lowest quartile (nats)"
        grid = [c for c in conditions if c.then_labels]
        blocks = [
            *(block for noise in self.label_noise for block in self.advice(e, noise, conditions, verdicts)),
            *([map_chart(grid, e), map_table(grid, e, verdicts)] if len(grid) > 1 else []),
            line_chart(conditions, e, ACCURACY, "accuracy", "Test accuracy"),
            line_chart(conditions, e, "low_deviation", "deviation", deviation),
            schedule_table(conditions, e),
            *([winners(conditions, e)] if len(conditions) > 1 else []),
        ]
        summary = f"{verdicts.summary()} Gain of distillation over training on labels: {verdicts.gains('S0')}."
        return conclude(
            self, e.seeds, verdicts, blocks, records=records, methods=self.methods(), cite=PAPER, summary=summary
        )

    def advice(self, e: Evidence, noise: float, conditions: list[Condition], verdicts: Verdicts) -> tuple[Block, ...]:
        """Which teacher and which schedule to take at a noise level."""
        own = [c for c in conditions if c.noise == noise]
        found = [labels_alone(e, own[0].distilled)]
        for c in own:
            for arm in (c.distilled, *(arm for arm in c.arms if 0 < arm.number("at") < 1)):
                schedule = "distillation to the end" if arm is c.distilled else arm.label
                choice = (("teacher", c.teacher), ("schedule", schedule), ("temperature", f"{self.temperature:g}"))
                plain = arm is own[0].distilled
                cost = 1.0 + (1.0 if c.age is None else c.age)
                found.append(candidate(e, arm, f"{schedule}, {c.teacher} teacher", choice, plain=plain, cost=cost))
        where = f"{noise:.0%} label noise"
        return recommendation(e, found, verdicts, [spec.id for spec in CLAIMS], own[0].label, where)

    def methods(self) -> str:
        """What was trained and how, in sentences."""
        return (
            f"Data: {self.setup.data}. Every schedule trains the same student ({self.student}) from the same "
            f"initialization on the same batches for {budget_words(self.setup.optim)}. Only the loss differs: "
            f"cross-entropy on the labels, or T²·KL(teacher‖student) at τ={self.temperature:g}. 'Until' is the "
            "fraction of steps before the switch; a window blends the two losses linearly around it. The control "
            "(twin) is the student trained on labels from the first to the last step. The share of the gain "
            "recovered is (accuracy − labels) / (distillation − labels), a ratio of paired means with Fieller's "
            "interval; it is undefined where the gain's own interval does not lie above 0."
        )
