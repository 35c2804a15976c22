"""When does it matter to listen? One-hot training and distillation, switched during training.

After Nagarajan et al. 2023 (arXiv 2301.12923), section 5.3: switching from one-hot to distillation mid-training recovers
most of the gain, and one-hot after distillation can keep or improve it. Ours: the share recovered as a ratio with an
interval of its own, "undefined" where there is no gain to share, and the grid of teacher age and noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from disobey.records.results import Axis, Chart, Result, Table
from disobey.studies.kit import pictures
from disobey.studies.kit.claims import ClaimSpec, Skip, Source, judge
from disobey.studies.kit.design import Arm, Design, Records, factors
from disobey.studies.kit.evidence import Evidence
from disobey.studies.kit.setup import Distillation, Setup
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.studies.kit.tables import table
from disobey.studies.kit.verdicts import ABOVE_ZERO, most_of
from disobey.targets.schedule import distill, labels, switch
from disobey.training.recipe import Run

PAPER = Source("arXiv 2301.12923", "Nagarajan et al., NeurIPS 2023 (arXiv 2301.12923)")
ACCURACY = "student_accuracy"
ORDERS = ("labels first", "teacher first")


@dataclass(frozen=True)
class Condition:
    """The schedules of one noise and one teacher, by the part they play."""

    label: str
    name: str
    arms: tuple[Arm, ...]
    one_hot: Arm
    kd: Arm
    late: Arm | None  # labels, then the teacher from half of training on
    then_labels: Arm | None  # the teacher, then labels


CLAIMS: tuple[ClaimSpec[Evidence, Condition], ...] = (
    ClaimSpec(
        "S0",
        "There is a gain to recover: distillation beats one-hot.",
        PAPER,
        ABOVE_ZERO,
        lambda e, c: [e.mean(c.kd, ACCURACY, minus=c.one_hot, name="accuracy, distillation − one-hot")],
    ),
    ClaimSpec(
        "S1",
        "Switching from labels to the teacher at half of training recovers most of distillation's gain.",
        PAPER,
        most_of(0.5),
        lambda e, c: [e.share(c.late, ACCURACY, of=c.kd, over=c.one_hot)] if c.late else Skip("needs --shares 0.5"),
    ),
    ClaimSpec(
        "S2",
        "Labels after the teacher (switch at half) beat distillation to the end.",
        PAPER,
        ABOVE_ZERO,
        lambda e, c: (
            [e.mean(c.then_labels, ACCURACY, minus=c.kd, name="accuracy, teacher then labels − distillation")]
            if c.then_labels
            else Skip("needs --shares 0.5")
        ),
    ),
)


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
    teacher: str = ""
    """model of the teacher, NAME or NAME:WIDTH"""
    early: float = 0.25
    """fraction of its training after which the early-stopped teacher is taken; 0: none"""
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
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        _ = self.recipes  # refuses nonsense
        if not all(0 <= share <= 1 for share in self.shares):
            raise ValueError(f"expected shares of training in [0, 1], came {self.shares}")
        if "early" in self.teachers and not self.early:
            raise ValueError("expected --early above 0 where the early-stopped teacher is asked for")

    @classmethod
    def smoke(cls) -> Self:
        setup = Setup(data="digits-8x8", seeds=(0, 1), steps=30)
        return cls(setup, "mlp:16", shares=(0.0, 0.5, 1.0), noise=(0.2,), is_smoke=True)

    @property
    def recipes(self) -> Distillation:
        return Distillation(self.setup, self.teacher, self.early)

    def chosen(self) -> Mapping[str, str]:
        return self.recipes.chosen()

    def arm(self, noise: float, teacher: str, first: str, over: float, at: float) -> Arm:
        """The ends of the axis do not depend on the window: there it is 0."""
        over, early = over if 0 < at < 1 else 0.0, teacher == "early"
        kd, one_hot = distill(self.temperature), labels()
        objectives = (one_hot, kd) if first == "labels first" else (kd, one_hot)
        name = f"{first} until {at:.0%}" + (f" over {over:.0%}" if over else "")
        return self.recipes.arm(
            name,
            self.student,
            switch(*objectives, at=at, over=over),
            noise,
            early=early,
            control=False,
            name=name,
            factors=factors(noise=noise, teacher=teacher, first=first, at=at, over=over),
        )

    def design(self) -> Design:
        arms = [
            self.arm(noise, teacher, first, over, at)
            for noise in self.noise
            for teacher in self.teachers
            for first in ORDERS
            for over in self.over
            for at in sorted({0.0, 1.0, *self.shares})
        ]
        return Design(tuple(dict.fromkeys(arms)), self.setup.seeds)

    def conditions(self, design: Design) -> list[Condition]:
        return [
            Condition(
                f"{noise:.0%} noise, {'early-stopped' if teacher == 'early' else 'final'} teacher, τ={self.temperature:g}",
                f"{noise:.0%} noise, {teacher} teacher",
                design.where(noise=noise, teacher=teacher),
                one_hot=design.one(noise=noise, teacher=teacher, first="labels first", at=1.0),
                kd=design.one(noise=noise, teacher=teacher, first="labels first", at=0.0),
                late=design.maybe(noise=noise, teacher=teacher, first="labels first", at=0.5, over=0.0),
                then_labels=design.maybe(noise=noise, teacher=teacher, first="teacher first", at=0.5, over=0.0),
            )
            for noise in self.noise
            for teacher in self.teachers
        ]

    def plan(self) -> list[Run]:
        return self.design().runs()

    def analyze(self, records: Records) -> Result:
        design = self.design()
        evidence, conditions = Evidence.read(design, records), self.conditions(design)
        verdicts = judge(CLAIMS, evidence, conditions)
        blocks = [
            line_chart(conditions, evidence, ACCURACY, "accuracy", "Test accuracy by moment of the switch"),
            line_chart(
                conditions, evidence, "low_deviation", "deviation", "Deviation in the teacher's lowest quartile, test"
            ),
            schedule_table(conditions, evidence),
            *([winners(conditions, evidence)] if len(conditions) > 1 else []),
        ]
        gains = verdicts.gains("S0", lambda setting: setting.split(", τ")[0])
        summary = f"{verdicts.summary()} Gain of distillation over one-hot training: {gains}."
        return conclude(self, evidence.seeds, verdicts, blocks, methods=self.methods(), cite=PAPER, summary=summary)

    def methods(self) -> str:
        optim = self.setup.optim
        return (
            f"Data: {self.setup.data}. Every schedule trains the same student ({self.student}) from the same initialization "
            f"on the same batches for {optim.steps:,} steps of {optim.batch} ({optim.name}, rate {optim.lr:g}, {optim.decay}); "
            f"only the loss changes: cross-entropy on the labels, or T²·KL(teacher‖student) at τ={self.temperature:g}. "
            "'Until' is the share of steps before the switch; a window blends both losses linearly around it. The share of "
            "the gain recovered is (accuracy − one-hot) / (distillation − one-hot), a ratio of paired means with Fieller's "
            "interval; it is undefined where the gain's own interval does not lie above 0."
        )


def line_chart(conditions: Sequence[Condition], e: Evidence, measure: str, name: str, title: str) -> Chart:
    rows = []
    for condition in conditions:
        for arm in condition.arms:
            schedule = f"{arm['first']}" + (f", over {arm['over']:.0%}" if arm["over"] else "")
            rows.append((arm["at"], schedule, condition.name, e.mean(arm, measure)))
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


def schedule_table(conditions: Sequence[Condition], e: Evidence) -> Table:
    condition_of = {arm: condition for condition in conditions for arm in condition.arms}

    def share(arm: Arm):
        found = e.share(arm, ACCURACY, of=condition_of[arm].kd, over=condition_of[arm].one_hot)
        return found if found.known else "undefined: no sure gain to share"

    columns = (
        ("noise", lambda arm: f"{arm['noise']:.0%}"),
        ("teacher", lambda arm: arm["teacher"]),
        ("first", lambda arm: arm["first"]),
        ("until", lambda arm: f"{arm['at']:.0%}"),
        ("window", lambda arm: f"{arm['over']:.0%}" if arm["over"] else "abrupt"),
        ("test accuracy", e.means(ACCURACY)),
        ("minus one-hot", lambda arm: e.mean(arm, ACCURACY, minus=condition_of[arm].one_hot)),
        ("minus distillation", lambda arm: e.mean(arm, ACCURACY, minus=condition_of[arm].kd)),
        ("share of the gain recovered", share),
        ("agreement", e.means("agreement")),
        ("slope (OLS)", e.means("ols_slope")),
        ("lowest quartile: mean y−x", e.means("low_deviation")),
    )
    return table(
        "Every schedule",
        condition_of,
        columns,
        "Mean over seeds with intervals over runs; differences paired by seed; the share is a ratio of paired means "
        "with Fieller's interval.",
    )


def winners(conditions: Sequence[Condition], e: Evidence) -> Chart:
    """Where each schedule wins: accuracy over distillation to the end, by condition."""
    repeated = (("labels first", 0.0), ("teacher first", 1.0), ("teacher first", 0.0))  # distillation; one-hot again
    rows = [
        (
            "one-hot" if arm["at"] == 1 else f"{arm['first']} until {arm['at']:.0%}",
            condition.name,
            float(e.per_seed(arm, ACCURACY, minus=condition.kd).mean()),
        )
        for condition in conditions
        for arm in condition.arms
        if arm["over"] == 0 and (arm["first"], arm["at"]) not in repeated
    ]
    schedules, names, gains = zip(*rows, strict=True)
    return Chart(
        "winners",
        "Where each schedule wins: test accuracy minus distillation to the end",
        "heatmap",
        {"schedule": schedules, "condition": names, "gain": gains},
        Axis("condition", "condition", "nominal"),
        Axis("schedule", "schedule", "nominal"),
        alt="Accuracy of each schedule minus plain distillation's, by noise and age of the teacher.",
        caption="Mean over seeds; the table has the intervals.",
        color=Axis("gain", "accuracy − distillation"),
    )
