"""Do students of classes of pixels or boxes deviate from their teacher as those of whole images do, and does it pay?

Nagarajan et al. (2023), arXiv:2301.12923, leave dense prediction to later work. Here a pixel or a true box is an
example, and its image the cluster of every interval over examples. Added: a planted case, a student of a teacher that
was made cautious at the boundaries between classes (of boxes: in crowds), which the measures must find there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from disobey.errors import refusal
from disobey.figures.estimates import estimates_chart
from disobey.figures.logit_plot import logit_plot
from disobey.measures.segmentation import MEASURES as OF_PIXELS
from disobey.records.results import Axis, Chart, Result, Table
from disobey.studies.dense_prediction.claims import (
    BEYOND,
    CLAIMS,
    EARLY,
    JUDGED,
    LATE,
    PLAIN,
    PLANTED,
    SCATTERED,
    SPLITS,
    Level,
)
from disobey.studies.dense_prediction.kinds import Kind, kind_of
from disobey.studies.dense_prediction.pictures import overlays
from disobey.studies.deviation.claims import PAPER
from disobey.studies.kit.claims import Verdicts, judge
from disobey.studies.kit.design import Arm, Design, Records, factors
from disobey.studies.kit.evidence import CONTROL, STANDARD, Evidence
from disobey.studies.kit.methods import budget_words
from disobey.studies.kit.setup import Distillation, Setup
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.studies.kit.tables import in_points, table
from disobey.targets.controls import MARKED, UNMARKED
from disobey.targets.schedule import distill, labels, switch
from disobey.training.recipe import Run

ACCURACY = "student_accuracy"
READ = (*STANDARD, *OF_PIXELS.values())


@dataclass(frozen=True)
class DensePrediction:
    """Segmentation and detection: students of a teacher's answers for pixels or cells, beside twins without it."""

    name: ClassVar[str] = "dense-prediction"
    question: ClassVar[str] = "Do students deviate and gain on classes of pixels and boxes as on classes of images?"
    answers: ClassVar[tuple[str, ...]] = ("D4", "D1 train")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"boxes": {"setup": Setup(data="scenes-boxes#examples=1600")}}

    setup: Setup = Setup(data="scenes#examples=1600")
    teacher: str = ""
    """model of the teacher: unet or unet:WIDTH; of boxes detector or detector:WIDTH"""
    student: str = "self"
    """model of the student: self, small, large or a model as of the teacher"""
    temperature: float = 4.0
    """distillation temperature"""
    label_noise: tuple[float, ...] = (0.0, 0.2)
    """fractions of regions (the pixels of a class in a training image), or of boxes, that get another class"""
    caution: float = 0.5
    """factor of the planted teacher's log-odds at boundaries, or in crowds"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if not 0 < self.caution < 1:
            raise refusal("bad-caution", "a factor of log-odds between 0 and 1", self.caution, "--caution 0.5")

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds, on few small scenes."""
        setup = Setup(data="scenes#examples=64,size=16", seeds=(0, 1), steps=8, batch=8)
        return cls(setup, "unet:4", label_noise=(0.2,), is_smoke=True)

    @property
    def recipes(self) -> Distillation:
        """Teacher, students and controls as recipes."""
        return Distillation(self.setup, self.teacher)

    @property
    def kind(self) -> Kind:
        """Pixels or boxes, as the data have them."""
        return kind_of(self.setup.data)

    def chosen(self) -> Mapping[str, str]:
        """What open options stand for on these data."""
        return self.recipes.chosen()

    def arms(self, noise: float) -> dict[str, Arm]:
        """The students of a noise level, by name."""
        kd, own = distill(self.temperature), labels()
        targets = {
            PLAIN: kd,
            LATE: switch(own, kd, at=0.5),
            EARLY: switch(kd, own, at=0.5),
            PLANTED: distill(self.temperature, control=MARKED, amount=self.caution),
            SCATTERED: distill(self.temperature, control=UNMARKED, amount=self.caution),
        }
        return {
            name: self.recipes.arm(
                f"{noise:.0%} label noise, {name}",
                self.student,
                schedule,
                noise,
                name=name,
                factors=factors(noise=noise, arm=name),
            )
            for name, schedule in targets.items()
        }

    def levels(self) -> list[Level]:
        """The settings that claims are judged on, one a noise level."""
        return [
            Level(f"{noise:.0%} label noise", self.arms(noise), self.kind, (("label noise", f"{noise:.0%}"),))
            for noise in self.label_noise
        ]

    def design(self) -> Design:
        """Every arm, paired by seed."""
        return Design(tuple(arm for level in self.levels() for arm in level.arms.values()), self.setup.seeds)

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
        return self.design().runs()

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone."""
        return self.judged(Evidence.read(self.design(), records, JUDGED, SPLITS))

    def judged(self, e: Evidence) -> Verdicts:
        """Every claim at every noise level."""
        return judge(CLAIMS, e, self.levels())

    def analyze(self, records: Records) -> Result:
        """Claims, charts, tables and overlays of the complete seeds."""
        e, levels = Evidence.read(self.design(), records, READ, SPLITS), self.levels()
        verdicts, dataset = self.judged(e), self.setup.dataset
        if not (dataset.dense or dataset.boxed):
            expected = "images with masks or boxes"
            raise refusal("dense-labels", expected, "one label an image", "--data scenes, or --data scenes-boxes")
        blocks = [
            place_chart(levels, e),
            *(self.logits(level, e) for level in levels),
            student_table(levels, e),
            place_table(levels, e),
            *(overlays(level.arms[PLAIN], e, dataset, level.levels) for level in levels),
        ]
        summary = (
            f"{verdicts.summary()} Score ({self.kind.called}) of the student minus its control: {verdicts.gains('D4')}."
        )
        return conclude(
            self, e.seeds, verdicts, blocks, records=records, methods=self.methods(), cite=PAPER, summary=summary
        )

    def logits(self, level: Level, e: Evidence) -> Chart:
        """The first seed's test examples, one by one."""
        first = e.predictions(level.arms[PLAIN], class_names=self.setup.dataset.classes)
        title = "Where the student disobeys: log-odds of the teacher's class, one by one"
        about = f"Shown: {level.arms[PLAIN].label}, seed {e.seeds[0]}."
        return logit_plot(first, f"logits-{level.label[:3].strip('% ')}", title, levels=level.levels, about=about)

    def methods(self) -> str:
        """What was trained and how, in sentences."""
        setup = self.setup
        train, validation, test = (len(setup.dataset.split(name)) for name in ("train", "validation", "test"))
        kind = self.kind
        return (
            f"Data: {setup.data} ({setup.dataset.source}); {train:,} training, {validation:,} validation and {test:,} "
            f"test images. Every network is trained for {budget_words(setup.optim)} (examples are images here). "
            f"Students minimize T²·KL(teacher‖student) at τ={self.temperature:g}. {kind.about} The control (twin) has "
            f"the student's initialization and batches and is trained on the {kind.truth} alone. The planted teacher's "
            f"log-odds of its most likely class are multiplied by {self.caution:g} where examples are marked, and, for "
            f"comparison, at as many random other places. {kind.counted} The last weights are used; nothing was chosen "
            "on the test split."
        )


def place_chart(levels: Sequence[Level], e: Evidence) -> Chart:
    """Deviation at boundaries and inside (of boxes: in crowds and free), of every student and control."""
    rows, kind = [], levels[0].kind
    for level in levels:
        arms = {**level.arms, "control": level.arms[PLAIN].control_arm()}
        for measure, where in (("boundary_deviation", kind.place), ("interior_deviation", kind.elsewhere)):
            rows += [(name, where, level.label, e.mean(arm, measure)) for name, arm in arms.items()]
    where = f"{kind.place} and {kind.elsewhere} {kind.examples}"
    alt = f"Mean deviation from the teacher of {where} by student; whiskers are 95% intervals."
    axes = Axis("x", "student", "nominal"), Axis("y", "mean student − teacher log-odds (nats)")
    title = f"Deviation of {where}"
    return estimates_chart(rows, "places", title, *axes, alt, kind="interval", color="where", zero="obeys")


def student_table(levels: Sequence[Level], e: Evidence) -> Table:
    """Every student with its scores and its differences from the control."""
    arms, kind = [arm for level in levels for arm in level.arms.values()], levels[0].kind
    columns = (
        ("label noise", lambda arm: f"{arm['noise']:.0%}"),
        ("student", lambda arm: arm["arm"]),
        (kind.called, e.means(kind.score)),
        ("− control (points)", in_points(e.means(kind.score, minus=CONTROL))),
        (f"control's {kind.called}", e.means(kind.score, control=True)),
        (kind.accuracy, e.means(ACCURACY)),
        ("− control (points)", in_points(e.means(ACCURACY, minus=CONTROL))),
        ("agreement", e.means("agreement")),
        ("NLL", e.means("nll")),
    )
    caption = (
        f"Test {kind.examples}; means over seeds with intervals over runs (scores: and images); differences are paired."
    )
    return table("Every student", arms, columns, caption)


def place_table(levels: Sequence[Level], e: Evidence) -> Table:
    """Deviations in the lowest quartile, at boundaries and inside, of students and controls."""
    arms = [arm for level in levels for arm in level.arms.values()]
    kind = levels[0].kind
    arms += [replace(level.arms[PLAIN].control_arm(), factors=level.arms[PLAIN].factors) for level in levels]
    columns = (
        ("label noise", lambda arm: f"{arm['noise']:.0%}"),
        ("student", lambda arm: "control" if arm.is_control else arm["arm"]),
        ("slope (OLS), test", e.means("ols_slope")),
        ("lowest quartile, train", e.means("low_deviation", split="train")),
        ("lowest quartile, test", e.means("low_deviation")),
        (kind.place, e.means("boundary_deviation")),
        (kind.elsewhere, e.means("interior_deviation")),
        (f"{kind.place} − {kind.elsewhere}", e.means(BEYOND)),
    )
    return table(
        "Where students deviate", arms, columns, f"Mean student − teacher log-odds in nats; test {kind.examples}."
    )
