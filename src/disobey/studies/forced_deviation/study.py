"""Is a student's deviation from its teacher the cause of its gain?

Nagarajan et al. (2023), arXiv:2301.12923, observe that students exaggerate their teacher's confidence and gain. Here
the deviation is set instead of observed: targets are reshaped so that an obedient student has a given slope, or
underfits the examples on which the teacher is least confident (control: as many random ones), and other students
match the teacher as closely as a long budget allows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from disobey.data.dataset import Kind
from disobey.errors import refusal
from disobey.records.results import Block, Result
from disobey.studies.forced_deviation.claims import (
    ACCURACY,
    CLAIMS,
    ECE,
    FACTOR,
    NLL,
    PAPER,
    READ,
    SPLITS,
    Level,
    causal_words,
)
from disobey.studies.forced_deviation.tables import arm_table, dose_chart, taken_table
from disobey.studies.kit.candidates import candidate, labels_alone, recommendation
from disobey.studies.kit.claims import Verdicts, judge
from disobey.studies.kit.design import Arm, Design, Records, factors
from disobey.studies.kit.evidence import Evidence
from disobey.studies.kit.methods import budget_words
from disobey.studies.kit.setup import Distillation, Setup
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.targets.reshape import KEPT
from disobey.targets.schedule import Schedule, distill, match
from disobey.training.recipe import Run
from disobey.training.specs import Teaching

# Thirteen students a noise level, two of them trained for three times as long, must fit into minutes.
SMALL: Mapping[Kind, str] = {"image": "mlp:100"}
ADVICE = ("F0", "F1", "F5", "F6")  # claims that bear on what to set


@dataclass(frozen=True)
class ForcedDeviation:
    """Trains students on reshaped targets that force a given deviation, beside students that match exactly."""

    name: ClassVar[str] = "forced-deviation"
    question: ClassVar[str] = "Is disobeying the teacher the cause of a student's gain?"
    answers: ClassVar[tuple[str, ...]] = ("F1", "F4")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"text": {"setup": Setup(data="languages")}}

    setup: Setup = Setup()
    teacher: str = ""
    """model of the teacher, NAME or NAME:WIDTH"""
    student: str = "self"
    """model of the student: self, small, large, NAME or NAME:WIDTH"""
    slopes: tuple[float, ...] = (0.7, 1.0, 1.3, 1.6)
    """forced slopes of the student's log-odds on the teacher's; 1 is plain distillation"""
    temperature: float = 4.0
    """distillation temperature"""
    label_noise: tuple[float, ...] = (0.0, 0.2)
    """fractions of training labels to corrupt"""
    long: float = 3.0
    """steps of the students that match exactly, as a multiple of the others'"""
    members: int = 3
    """teachers in the ensemble"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if len(set(self.slopes)) < 2 or not all(0 < s < math.inf for s in self.slopes):
            raise refusal("bad-slopes", "at least two different slopes above 0", self.slopes, "--slopes 0.7 1 1.3 1.6")
        if self.long < 1 or self.members < 2:
            got = f"long={self.long}, members={self.members}"
            raise refusal("bad-match-budget", "long of at least 1 and members of at least 2", got)

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds, on digits."""
        setup = Setup(data="digits-8x8", seeds=(0, 1), steps=20)
        return cls(setup, "mlp:8", slopes=(0.7, 1.0, 1.6), label_noise=(0.2,), members=2, is_smoke=True)

    @property
    def recipes(self) -> Distillation:
        """Teacher, students and controls as recipes; the teacher keeps what `deviation`'s keeps, so runs are shared."""
        return Distillation(self.setup, self.teacher or SMALL.get(self.setup.dataset.kind, ""), 0.25)

    def chosen(self) -> Mapping[str, str]:
        """What open options stand for on these data."""
        return self.recipes.chosen()

    def arms(self, noise: float) -> dict[str, Arm]:
        """The students of a noise level, by name."""

        def arm(name: str, targets: Schedule, **change: Any) -> Arm:
            made = self.recipes.arm(
                f"{noise:.0%} label noise, {name}", self.student, targets, noise, factors=factors(noise=noise, arm=name)
            )
            return replace(made, recipe=replace(made.recipe, name=name, **change))

        def forced(control: str, amount: float) -> Schedule:
            return distill(self.temperature, control=control, amount=amount)

        optim = self.setup.optim
        long = replace(optim, steps=round(self.long * optim.steps))
        return {
            "plain": arm("plain", distill(self.temperature)),
            **{f"s={s:g}": arm(f"s={s:g}", forced("sloped", s)) for s in self.slopes if s != 1},
            "underfit lowest": arm("underfit lowest", forced("underfit_lowest_kept", FACTOR)),
            "underfit random": arm("underfit random", forced("underfit_random_kept", FACTOR)),
            "match KL": arm("match KL", distill(1.0), optim=long),
            "match MSE": arm("match MSE", match("mse"), optim=long),
            "ensemble": arm("ensemble", distill(self.temperature), teaching=Teaching(members=self.members)),
        }

    def levels(self) -> list[Level]:
        """The settings that claims are judged on, one a noise level."""
        found = []
        for noise in self.label_noise:
            arms = self.arms(noise)
            doses = tuple((s, arms["plain" if s == 1 else f"s={s:g}"]) for s in sorted(set(self.slopes)))
            label = f"{noise:.0%} label noise"
            found.append(Level(label, arms, doses, (("label noise", f"{noise:.0%}"),)))
        return found

    def design(self) -> Design:
        """Every arm, paired by seed."""
        return Design(tuple(arm for level in self.levels() for arm in level.arms.values()), self.setup.seeds)

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
        return self.design().runs()

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone."""
        return self.judged(Evidence.read(self.design(), records, READ, SPLITS))

    def judged(self, e: Evidence) -> Verdicts:
        """Every claim at every noise level."""
        return judge(CLAIMS, e, self.levels())

    def analyze(self, records: Records) -> Result:
        """Claims, dose-response and table of the complete seeds."""
        e, levels = Evidence.read(self.design(), records, READ, SPLITS), self.levels()
        verdicts = self.judged(e)
        measures = ((ACCURACY, "test accuracy"), (NLL, "NLL (nats)"), (ECE, "ECE, debiased"))
        blocks = [
            *(block for level in levels for block in self.advice(e, level, verdicts)),
            *(dose_chart(levels, e, *which) for which in measures),
            arm_table(levels, e),
            taken_table(levels, e),
        ]
        causal = "; ".join(causal_words(verdicts, level.label) for level in levels)
        summary = f"{verdicts.summary()} Is the deviation a cause of accuracy? {causal}."
        return conclude(
            self, e.seeds, verdicts, blocks, records=records, methods=self.methods(), cite=PAPER, summary=summary
        )

    def advice(self, e: Evidence, level: Level, verdicts: Verdicts) -> tuple[Block, ...]:
        """What to set on these data: slope, temperature, loss and teachers. The underfits are tests, no candidates."""
        usual = (("teacher", "one"), ("temperature", f"{self.temperature:g}"))
        found = [labels_alone(e, level.arms["plain"])]
        for name, arm in level.arms.items():
            plain = name == "plain"
            if plain:
                found.append(candidate(e, arm, "plain distillation", usual, plain=True, cost=2.0))
            elif name.startswith("s="):
                found.append(candidate(e, arm, f"slope {name}", (*usual, ("slope", name[2:])), cost=2.0))
            elif name.startswith("match"):
                choice = (("teacher", "one"), ("loss", f"{name.split()[1]}, for {self.long:g} times the steps"))
                found.append(candidate(e, arm, name.replace("match", "exact match,"), choice, cost=1 + self.long))
            elif name == "ensemble":
                choice = (("teacher", f"ensemble of {self.members}"), usual[1])
                found.append(candidate(e, arm, name, choice, cost=1.0 + self.members))
        return recommendation(e, found, verdicts, ADVICE, level.label, level.label)

    def methods(self) -> str:
        """What was trained and how, in sentences."""
        return (
            f"Data: {self.setup.data}. Students ({self.student}) minimize T²·KL at τ={self.temperature:g} for "
            f"{budget_words(self.setup.optim)}. Forced slope s: the log-odds of the teacher's most likely class are "
            "multiplied by s at temperature 1, before softening; the other classes keep their proportions. Forced "
            f"underfit: in the lowest quarter the distance to the median is multiplied by {FACTOR:g}, but no example "
            f"loses more than {1 - KEPT:.0%} of the lead that its most likely class has over the next, so none changes "
            "its class; the control deals the same decreases to as many random examples that can take them so. Exact "
            f"matches train on KL at τ=1 and on squared differences of logits for {self.long:g} times the steps, so "
            "they differ from plain distillation in budget, too. The "
            f"ensemble averages {self.members} teachers; measures compare with the first. A dose-response is the "
            "change over the range of s along a least-squares line on log s in each seed. All else is equal and paired."
        )
