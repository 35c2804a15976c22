"""When does it matter to listen? One-hot training and distillation, switched during training.

After Nagarajan et al. 2023 (arXiv 2301.12923), section 5.3: switching from one-hot to distillation mid-training recovers
most of the gain, and one-hot after distillation can keep or improve it. Ours: the share recovered as a ratio with an
interval of its own, "undefined" where there is no gain to share, and the grid of teacher age and noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.comparisons import ratio_over_runs
from disobey.measures.inference.intervals import paired_difference
from disobey.records.results import Axis, Block, Cell, Chart, Claim, Estimate, Result, Table, Text
from disobey.records.runs import RunRecord, pair
from disobey.studies.kit import pictures
from disobey.studies.kit import verdicts as rules
from disobey.studies.kit.evidence import Evidence, measured
from disobey.studies.kit.setup import Setup, complete_seeds
from disobey.targets.schedule import Schedule, distill, labels, switch
from disobey.training.recipe import Recipe, Run

SOURCE = "arXiv 2301.12923"
Direction = Literal["labels first", "teacher first"]
DIRECTIONS: tuple[Direction, ...] = ("labels first", "teacher first")


@dataclass(frozen=True)
class Arm:
    """One student: noise, teacher age, who speaks first, until which share of training, over which window."""

    noise: float
    early: bool
    first: Direction
    at: float
    over: float


@dataclass(frozen=True)
class LossSwitching:
    """Starts with one objective and goes on with the other at a share of training: labels then teacher, teacher then labels.

    The ends of both axes are plain one-hot training and plain distillation, the same runs as in the study `deviation`.
    """

    name: ClassVar[str] = "loss-switching"
    question: ClassVar[str] = "When should a student start, and stop, listening to its teacher?"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "text": {"setup": Setup(data="languages")},
        "grid": {"teachers": ("final", "early"), "noise": (0.0, 0.2, 0.4)},
        "all-shares": {"shares": (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0), "over": (0.0, 0.2)},
    }

    setup: Setup = Setup()
    shares: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """shares of training at which to switch"""
    over: tuple[float, ...] = (0.0,)
    """windows of the switch as shares of training; 0 is abrupt"""
    temperature: float = 4.0
    """of distillation"""
    noise: tuple[float, ...] = (0.0, 0.2)
    """shares of wrong training labels"""
    teachers: tuple[Literal["final", "early"], ...] = ("final",)
    """the teacher at the end of its training, or stopped early"""
    student: str = "self"
    """model of the student: self, small, large, NAME or NAME:WIDTH"""

    def __post_init__(self):
        if not all(0 <= share <= 1 for share in self.shares):
            raise ValueError(f"expected shares of training in [0, 1], came {self.shares}")
        if "early" in self.teachers and not self.setup.early:
            raise ValueError("expected --early above 0 where the early-stopped teacher is asked for")

    @classmethod
    def smoke(cls) -> Self:
        setup = Setup(data="digits-8x8", teacher="mlp:16", seeds=(0, 1), steps=30)
        return cls(setup, shares=(0.0, 0.5, 1.0), noise=(0.2,))

    def schedule(self, cell: Arm) -> Schedule:
        kd, one_hot = distill(self.temperature), labels()
        first, then = (one_hot, kd) if cell.first == "labels first" else (kd, one_hot)
        return switch(first, then, at=cell.at, over=cell.over)

    def recipe(self, cell: Arm) -> Recipe:
        name = f"{cell.first} until {cell.at:.0%}" + (f" over {cell.over:.0%}" if cell.over else "")
        targets = self.schedule(cell)
        return self.setup.student_recipe(self.student, targets, cell.noise, early=cell.early, name=name)

    def cells(self) -> list[Arm]:
        """All cells; ends of the axes do not depend on the window and stand once."""
        found = [
            Arm(noise, teacher == "early", first, at, over if 0 < at < 1 else 0.0)
            for noise in self.noise
            for teacher in self.teachers
            for first in DIRECTIONS
            for over in self.over
            for at in sorted({0.0, 1.0, *self.shares})
        ]
        return list(dict.fromkeys(found))

    def plan(self) -> list[Run]:
        recipes = dict.fromkeys(
            r for cell in self.cells() for r in (self.setup.teacher_recipe(cell.noise), self.recipe(cell))
        )
        return [Run(recipe, seed) for seed in self.setup.seeds for recipe in recipes]

    def analyze(self, records: Mapping[Run, RunRecord]) -> Result:
        cells = self.cells()
        teachers = [self.setup.teacher_recipe(noise) for noise in self.noise]
        seeds = complete_seeds(self.setup.seeds, [*teachers, *(self.recipe(c) for c in cells)], records)
        evidence = {cell: self._evidence(cell, records, seeds) for cell in cells}
        groups = [(noise, teacher == "early") for noise in self.noise for teacher in self.teachers]
        claims = [claim for noise, early in groups for claim in self._claims(noise, early, evidence)]
        blocks: list[Block] = [
            *claims,
            self._chart(cells, evidence, "student_accuracy", "accuracy", "Test accuracy by moment of the switch"),
            self._chart(
                cells, evidence, "low_deviation", "deviation", "Deviation in the teacher's lowest quartile, test"
            ),
            self._table(cells, evidence),
        ]
        if len(groups) > 1:
            blocks.append(self._winners(groups, evidence))
        blocks.append(self._methods(seeds))
        smoke = self == type(self).smoke()
        return Result(self.name, self.question, tuple(blocks), _summary(claims), smoke, {"data": self.setup.data})

    def _evidence(self, cell: Arm, records: Mapping[Run, RunRecord], seeds: tuple[int, ...]) -> Evidence:
        teacher, step = self.setup.teacher_recipe(cell.noise), self.setup.early_step if cell.early else None
        return measured(
            [
                pair(records[Run(teacher, seed)], records[Run(self.recipe(cell), seed)], "test", step=step)
                for seed in seeds
            ]
        )

    def _ends(self, noise: float, early: bool, evidence: Mapping[Arm, Evidence]) -> tuple[NDArray, NDArray]:
        """Accuracies of plain one-hot training and of plain distillation, one a seed."""
        one_hot = evidence[Arm(noise, early, "labels first", 1.0, 0.0)].student["student_accuracy"]
        kd = evidence[Arm(noise, early, "labels first", 0.0, 0.0)].student["student_accuracy"]
        return one_hot, kd

    def recovered(self, arm: Arm, evidence: Mapping[Arm, Evidence]) -> Estimate:
        """Share of the gain of distillation over one-hot that this schedule has; NaN where there is no sure gain."""
        one_hot, kd = self._ends(arm.noise, arm.early, evidence)
        name = "share of the gain recovered"
        gain = paired_difference(kd, one_hot)
        if rules.side(gain) <= 0:  # a share of a loss, or of nothing, means nothing
            return Estimate(name, math.nan, math.nan, math.nan, gain.level, gain.n, "runs")
        return ratio_over_runs(evidence[arm].student["student_accuracy"] - one_hot, kd - one_hot, name=name)

    def _claims(self, noise: float, early: bool, evidence: Mapping[Arm, Evidence]) -> list[Claim]:
        one_hot, kd = self._ends(noise, early, evidence)
        setting = f"{noise:.0%} noise, {'early-stopped' if early else 'final'} teacher, τ={self.temperature:g}"
        gain = paired_difference(kd, one_hot, "accuracy, distillation − one-hot")
        claims = [
            rules.above_zero("S0", "There is a gain to recover: distillation beats one-hot.", gain, SOURCE, setting)
        ]
        late = Arm(noise, early, "labels first", 0.5, 0.0)
        if late in evidence:
            claims.append(
                rules.most_recovered(
                    "S1",
                    "Switching from labels to the teacher at half of training recovers most of distillation's gain.",
                    self.recovered(late, evidence),
                    SOURCE,
                    setting,
                )
            )
        then_labels = Arm(noise, early, "teacher first", 0.5, 0.0)
        if then_labels in evidence:
            after = evidence[then_labels].student["student_accuracy"]
            claims.append(
                rules.above_zero(
                    "S2",
                    "Labels after the teacher (switch at half) beat distillation to the end.",
                    paired_difference(after, kd, "accuracy, teacher then labels − distillation"),
                    SOURCE,
                    setting,
                )
            )
        return claims

    def _chart(self, cells, evidence: Mapping[Arm, Evidence], measure: str, name: str, title: str) -> Chart:
        rows = []
        for cell in cells:
            color = cell.first + (f", over {cell.over:.0%}" if cell.over else "")
            facet = f"{cell.noise:.0%} noise, {'early' if cell.early else 'final'} teacher"
            rows.append((cell.at, color, facet, evidence[cell].estimate(measure)))
        return pictures.estimates_chart(
            rows,
            name,
            title,
            Axis("x", "share of training before the switch"),
            Axis("y", title.split(",")[0]),
            f"{title}: labels first runs from distillation (0) to one-hot (1), teacher first the other way round; "
            "bands are 95 % intervals over runs.",
            kind="line",
            color="schedule",
        )

    def _table(self, cells: list[Arm], evidence: Mapping[Arm, Evidence]) -> Table:
        columns = ("noise", "teacher", "first", "until", "window", "test accuracy", "minus one-hot", "minus distillation",
                   "share of the gain recovered", "agreement", "slope (OLS)", "lowest quartile: mean y−x")  # fmt: skip
        rows: list[tuple[Cell, ...]] = []
        for cell in cells:
            e = evidence[cell]
            one_hot, kd = self._ends(cell.noise, cell.early, evidence)
            accuracy = e.student["student_accuracy"]
            share = self.recovered(cell, evidence)
            rows.append(
                (
                    f"{cell.noise:.0%}",
                    "early" if cell.early else "final",
                    cell.first,
                    f"{cell.at:.0%}",
                    f"{cell.over:.0%}" if cell.over else "abrupt",
                    e.estimate("student_accuracy"),
                    paired_difference(accuracy, one_hot),
                    paired_difference(accuracy, kd),
                    share if share.known else "undefined: no sure gain to share",
                    e.estimate("agreement"),
                    e.estimate("ols_slope"),
                    e.estimate("low_deviation"),
                )
            )
        return Table(
            "Every schedule",
            columns,
            tuple(rows),
            "Mean over seeds with intervals over runs; differences paired by seed; the share is a ratio of paired means "
            "with Fieller's interval.",
        )

    def _winners(self, groups: list[tuple[float, bool]], evidence: Mapping[Arm, Evidence]) -> Chart:
        """Where each schedule wins: accuracy over distillation to the end, by condition."""
        rows = []
        for noise, early in groups:
            _, kd = self._ends(noise, early, evidence)
            for arm, e in evidence.items():
                is_plain_kd = (arm.first, arm.at) in (("labels first", 0.0), ("teacher first", 1.0))
                is_repeated = (arm.first, arm.at) == ("teacher first", 0.0)  # one-hot stands under "labels first"
                if (arm.noise, arm.early, arm.over) != (noise, early, 0.0) or is_plain_kd or is_repeated:
                    continue
                name = "one-hot" if arm.at == 1 else f"{arm.first} until {arm.at:.0%}"
                rows.append((name, noise, early, float(np.mean(e.student["student_accuracy"] - kd))))
        data = {
            "schedule": tuple(r[0] for r in rows),
            "condition": tuple(f"{r[1]:.0%} noise, {'early' if r[2] else 'final'} teacher" for r in rows),
            "gain": tuple(r[3] for r in rows),
        }
        return Chart(
            "winners",
            "Where each schedule wins: test accuracy minus distillation to the end",
            "heatmap",
            data,
            Axis("condition", "condition", "nominal"),
            Axis("schedule", "schedule", "nominal"),
            alt="Accuracy of each schedule minus plain distillation's, by noise and age of the teacher.",
            caption="Mean over seeds; the table has the intervals.",
            color=Axis("gain", "accuracy − distillation"),
        )

    def _methods(self, seeds: tuple[int, ...]) -> Text:
        optim = self.setup.optim
        return Text(
            "Methods",
            f"Data: {self.setup.data}. Every schedule trains the same student ({self.student}) from the same initialization "
            f"on the same batches for {optim.steps:,} steps of {optim.batch} ({optim.name}, rate {optim.lr:g}, {optim.decay}); "
            f"only the loss changes: cross-entropy on the labels, or T²·KL(teacher‖student) at τ={self.temperature:g}. "
            "'Until' is the share of steps before the switch; a window blends both losses linearly around it. The share of "
            "the gain recovered is (accuracy − one-hot) / (distillation − one-hot), a ratio of paired means with Fieller's "
            "interval; it is undefined where the gain's own interval does not lie above 0. Intervals are Student t over "
            f"{len(seeds)} paired seeds (95 %). No correction for the number of claims; rules were fixed before the runs. "
            "Cite: Nagarajan et al., NeurIPS 2023 (arXiv 2301.12923).",
        )


def _summary(claims: list[Claim]) -> str:
    counts = {
        verdict: sum(c.verdict == verdict for c in claims) for verdict in ("supported", "refuted", "inconclusive")
    }
    parts = ", ".join(f"{n} {verdict}" for verdict, n in counts.items() if n)
    gains = "; ".join(
        f"{c.setting.split(', τ')[0]}: {c.evidence[0].value:+.2%} {c.verdict}" for c in claims if c.name == "S0"
    )
    return f"Of {len(claims)} claims, {parts}. Gain of distillation over one-hot training: {gains}."
