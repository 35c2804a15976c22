"""When should a student start, and stop, listening to its teacher?

Re-runs section 5.3 of Nagarajan et al. (2023), arXiv:2301.12923: switching between training on labels and distillation.
Added here: the share of the gain that a schedule recovers has its own interval and is undefined where there is no gain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar, Literal, Self

from disobey.errors import refusal
from disobey.figures.estimates import estimates_chart
from disobey.figures.heatmap import heat_map
from disobey.records.results import Axis, Cell, Chart, Result, Table
from disobey.studies.kit.claims import ClaimSpec, Skip, Source, Verdicts, judge
from disobey.studies.kit.design import Arm, Design, Records, factors
from disobey.studies.kit.evidence import CONTROL, STANDARD, Evidence
from disobey.studies.kit.methods import budget_words
from disobey.studies.kit.options import renamed
from disobey.studies.kit.setup import Distillation, Setup
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.studies.kit.tables import table
from disobey.studies.kit.verdicts import gain, most_of
from disobey.targets.schedule import distill, labels, switch
from disobey.training.recipe import Run

PAPER = Source("arXiv 2301.12923", "Nagarajan et al., NeurIPS 2023 (arXiv 2301.12923)")
ACCURACY = "student_accuracy"
JUDGED = tuple(measure for measure in STANDARD if measure.name == ACCURACY)  # what claims read
NEEDS_HALF = Skip("needs --switch-points 0.5")


@dataclass(frozen=True)
class Condition:
    """The schedules of one noise level and one teacher, and the parts that some of them play in claims."""

    label: str
    arms: tuple[Arm, ...]
    distilled: Arm  # from the first to the last step
    late: Arm | None  # labels, then from half of training on the teacher
    then_labels: Arm | None  # the teacher, then from half of training on labels
    levels: tuple[tuple[str, str], ...] = ()


CLAIMS: tuple[ClaimSpec[Evidence, Condition], ...] = (
    ClaimSpec(
        "S0",
        "Distillation beats training on labels.",
        PAPER,
        gain(),
        lambda e, c: [e.mean(c.distilled, ACCURACY, minus=CONTROL, name="accuracy, distillation − labels")],
    ),
    ClaimSpec(
        "S1",
        "Switching from labels to the teacher at half of training recovers most of distillation's gain.",
        PAPER,
        most_of(0.5),
        lambda e, c: [e.share(c.late, ACCURACY, of=c.distilled)] if c.late else NEEDS_HALF,
    ),
    ClaimSpec(
        "S2",
        "Switching from the teacher to labels at half of training can beat distillation to the end.",
        PAPER,
        replace(gain(), existence=True),
        lambda e, c: [e.mean(c.then_labels, ACCURACY, minus=c.distilled)] if c.then_labels else NEEDS_HALF,
    ),
)


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
        "grid": {"teachers": ("final", "early"), "label_noise": (0.0, 0.2, 0.4)},
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
    teachers: tuple[Literal["final", "early"], ...] = ("final",)
    """the teacher at the end of its training, or stopped early"""
    student: str = "self"
    """model of the student: self, small, large, NAME or NAME:WIDTH"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        _ = self.recipes  # refuses nonsense
        if not all(0 <= point <= 1 for point in self.switch_points):
            raise refusal("bad-switch-point", "switch points, fractions of training, in [0, 1]", self.switch_points)
        if "early" in self.teachers and not self.early:
            raise refusal("no-early-teacher", "--early above 0 for --teachers early", self.early, "--early 0.25")

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

    def arm(self, noise: float, teacher: str, first: str, window: float, at: float) -> Arm:
        """One schedule; at the ends of the axis there is no switch, hence no window."""
        window = window if 0 < at < 1 else 0.0
        kd, one_hot = distill(self.temperature), labels()
        objectives = (one_hot, kd) if first == "labels first" else (kd, one_hot)
        name = f"{first} until {at:.0%}" + (f" over {window:.0%}" if window else "")
        return self.recipes.arm(
            name,
            self.student,
            switch(*objectives, at=at, over=window),
            noise,
            early=teacher == "early",
            name=name,
            factors=factors(noise=noise, teacher=teacher, first=first, window=window, at=at),
        )

    def design(self) -> Design:
        """Every arm, paired by seed."""
        points = sorted({0.0, 1.0, *self.switch_points})
        grid = product(self.label_noise, self.teachers, ("labels first", "teacher first"), self.windows, points)
        return Design(tuple(dict.fromkeys(self.arm(*cell) for cell in grid)), self.setup.seeds)

    def conditions(self, design: Design) -> list[Condition]:
        """The settings that claims are judged on."""
        found = []
        for noise, teacher in product(self.label_noise, self.teachers):
            name = "early-stopped" if teacher == "early" else "final"
            here, half = {"noise": noise, "teacher": teacher}, {"at": 0.5, "window": 0.0}
            found.append(
                Condition(
                    f"{noise:.0%} label noise, {name} teacher",
                    design.where(**here),
                    design.one(**here, first="labels first", at=0.0),
                    late=design.maybe(**here, first="labels first", **half),
                    then_labels=design.maybe(**here, first="teacher first", **half),
                    levels=(("label noise", f"{noise:.0%}"), ("teacher", name)),
                )
            )
        return found

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
        return self.design().runs()

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone."""
        return self.judged(Evidence.read(self.design(), records, JUDGED))

    def judged(self, e: Evidence) -> Verdicts:
        """Every claim on its settings."""
        return judge(CLAIMS, e, self.conditions(e.design))

    def analyze(self, records: Records) -> Result:
        """Claims, charts and tables of the complete seeds."""
        e = Evidence.read(self.design(), records)
        conditions, verdicts = self.conditions(e.design), self.judged(e)
        deviation = "Deviation in the teacher's lowest quartile (nats)"
        blocks = [
            line_chart(conditions, e, ACCURACY, "accuracy", "Test accuracy"),
            line_chart(conditions, e, "low_deviation", "deviation", deviation),
            schedule_table(conditions, e),
            *([winners(conditions, e)] if len(conditions) > 1 else []),
        ]
        summary = f"{verdicts.summary()} Gain of distillation over training on labels: {verdicts.gains('S0')}."
        return conclude(
            self, e.seeds, verdicts, blocks, records=records, methods=self.methods(), cite=PAPER, summary=summary
        )

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


def line_chart(conditions: Sequence[Condition], e: Evidence, measure: str, name: str, title: str) -> Chart:
    """One measure against the switch point, a line for each order of objectives."""
    rows = [
        (
            arm.number("at"),
            f"{arm['first']}" + (f", over {arm['window']:.0%}" if arm["window"] else ""),
            c.label,
            e.mean(arm, measure),
        )
        for c in conditions
        for arm in c.arms
    ]
    alt = (
        f"{title} by switch point. Labels first runs from distillation (0) to labels alone (1), teacher first the "
        "other way round; bands are 95% intervals over runs."
    )
    axes = Axis("x", "fraction of training before the switch"), Axis("y", title)
    return estimates_chart(rows, name, f"{title} by switch point", *axes, alt, kind="line", color="schedule")


def schedule_table(conditions: Sequence[Condition], e: Evidence) -> Table:
    """Every schedule with its differences from the two ends."""
    distilled = {arm: condition.distilled for condition in conditions for arm in condition.arms}

    def share(arm: Arm) -> Cell:
        recovered = e.share(arm, ACCURACY, of=distilled[arm])
        return recovered if recovered.known else "undefined: no sure gain"

    columns = (
        ("label noise", lambda arm: f"{arm['noise']:.0%}"),
        ("teacher", lambda arm: arm["teacher"]),
        ("first", lambda arm: arm["first"]),
        ("until", lambda arm: f"{arm['at']:.0%}"),
        ("window", lambda arm: f"{arm['window']:.0%}" if arm["window"] else "abrupt"),
        ("test accuracy", e.means(ACCURACY)),
        ("− labels", e.means(ACCURACY, minus=CONTROL)),
        ("− distillation", lambda arm: e.mean(arm, ACCURACY, minus=distilled[arm])),
        ("share of the gain recovered", share),
        ("agreement", e.means("agreement")),
        ("slope (OLS)", e.means("ols_slope")),
        ("lowest quartile: mean y−x", e.means("low_deviation")),
    )
    return table(
        "Every schedule", distilled, columns, "Means over seeds with intervals over runs; differences are paired."
    )


def winners(conditions: Sequence[Condition], e: Evidence) -> Chart:
    """Where each schedule wins: accuracy over distillation to the end, by condition."""
    repeated = (("labels first", 0.0), ("teacher first", 1.0), ("teacher first", 0.0))  # distillation; labels again
    cells = [
        (
            c.label,
            "labels alone" if arm["at"] == 1 else arm.label,
            "",
            float(e.per_seed(arm, ACCURACY, minus=c.distilled).mean()),
        )
        for c in conditions
        for arm in c.arms
        if not arm["window"] and (arm["first"], arm["at"]) not in repeated
    ]
    axes = (
        Axis("condition", "condition", "nominal"),
        Axis("schedule", "schedule", "nominal"),
        Axis("gain", "accuracy − distillation"),
    )
    title = "Where each schedule wins: test accuracy minus distillation to the end"
    alt = "Accuracy of each schedule minus plain distillation's, by label noise and age of the teacher."
    return heat_map(cells, "winners", title, *axes, alt, caption="Means over seeds; the table has the intervals.")
