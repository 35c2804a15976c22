"""Do students of classes of pixels deviate from their teacher as those of whole images do, and does it pay?

Nagarajan et al. (2023), arXiv:2301.12923, leave dense prediction to later work. Here a pixel is an example, and its
image the cluster of every interval over examples. Added: a planted case, a student of a teacher that was made cautious
at the boundaries between classes, which the measures must find there.
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
from disobey.studies.dense_prediction.pictures import overlays
from disobey.studies.deviation.claims import PAPER
from disobey.studies.kit.claims import Verdicts, judge
from disobey.studies.kit.design import Arm, Design, Records, factors
from disobey.studies.kit.evidence import CONTROL, IOU, STANDARD, Evidence
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
    """Segmentation: trains students on their teacher's answer for every pixel, beside twins trained on the masks."""

    name: ClassVar[str] = "dense-prediction"
    question: ClassVar[str] = "Do students deviate and gain on classes of pixels as on classes of images?"
    answers: ClassVar[tuple[str, ...]] = ("D4", "D1 train")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    setup: Setup = Setup(data="scenes#examples=1600")
    teacher: str = ""
    """model of the teacher, unet or unet:WIDTH"""
    student: str = "self"
    """model of the student: self, small, large or unet:WIDTH"""
    temperature: float = 4.0
    """distillation temperature"""
    label_noise: tuple[float, ...] = (0.0, 0.2)
    """fractions of regions (the pixels of a class in a training image) that get another class"""
    caution: float = 0.5
    """factor of the planted teacher's log-odds at boundaries"""
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
            Level(f"{noise:.0%} label noise", self.arms(noise), (("label noise", f"{noise:.0%}"),))
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
        if not dataset.dense:
            raise refusal("dense-labels", "images with masks", "one label an image", "--data scenes")
        blocks = [
            place_chart(levels, e),
            *(self.logits(level, e) for level in levels),
            student_table(levels, e),
            place_table(levels, e),
            *(overlays(level.arms[PLAIN], e, dataset, level.levels) for level in levels),
        ]
        summary = f"{verdicts.summary()} Mean IoU of the student minus its control: {verdicts.gains('D4')}."
        return conclude(
            self, e.seeds, verdicts, blocks, records=records, methods=self.methods(), cite=PAPER, summary=summary
        )

    def logits(self, level: Level, e: Evidence) -> Chart:
        """The first seed's test pixels, one by one."""
        first = e.predictions(level.arms[PLAIN], class_names=self.setup.dataset.classes)
        title = "Where the student disobeys: log-odds of the teacher's class, pixel by pixel"
        about = f"Shown: {level.arms[PLAIN].label}, seed {e.seeds[0]}."
        return logit_plot(first, f"logits-{level.label[:3].strip('% ')}", title, levels=level.levels, about=about)

    def methods(self) -> str:
        """What was trained and how, in sentences."""
        setup = self.setup
        train, validation, test = (len(setup.dataset.split(name)) for name in ("train", "validation", "test"))
        return (
            f"Data: {setup.data} ({setup.dataset.source}); {train:,} training, {validation:,} validation and {test:,} "
            "test images. Label noise gives the pixels of a class in a training image another class. Every network is "
            f"trained for {budget_words(setup.optim)} (examples are images here). Students minimize "
            f"T²·KL(teacher‖student) at τ={self.temperature:g}, the mean over all pixels of a batch; the teacher's "
            "logits of every training pixel are kept in half precision. The control (twin) has the student's "
            "initialization and batches and is trained on the masks alone. The planted teacher's log-odds of its most "
            f"likely class are multiplied by {self.caution:g} at boundaries (a neighbouring pixel has another class), "
            "and, for comparison, at as many random other pixels. Measures of pixels read at most 256 pixels of an "
            "image, the same for all networks. A pixel is an example and its image a cluster: intervals of test "
            "accuracies and mean IoUs are over runs and images. Mean IoU: over the classes that occur, of the pixels "
            "of all images together. The last weights are used; nothing was chosen on the test split."
        )


def place_chart(levels: Sequence[Level], e: Evidence) -> Chart:
    """Deviation at boundaries and inside, of every student and control."""
    rows = []
    for level in levels:
        arms = {**level.arms, "control": level.arms[PLAIN].control_arm()}
        for measure, where in (("boundary_deviation", "boundary"), ("interior_deviation", "interior")):
            rows += [(name, where, level.label, e.mean(arm, measure)) for name, arm in arms.items()]
    alt = "Mean deviation from the teacher at boundaries and in interiors by student; whiskers are 95% intervals."
    axes = Axis("x", "student", "nominal"), Axis("y", "mean student − teacher log-odds (nats)")
    title = "Deviation at boundaries and inside"
    return estimates_chart(rows, "places", title, *axes, alt, kind="interval", color="where", zero="obeys")


def student_table(levels: Sequence[Level], e: Evidence) -> Table:
    """Every student with its scores and its differences from the control."""
    arms = [arm for level in levels for arm in level.arms.values()]
    columns = (
        ("label noise", lambda arm: f"{arm['noise']:.0%}"),
        ("student", lambda arm: arm["arm"]),
        ("mean IoU", e.means(IOU)),
        ("− control (points)", in_points(e.means(IOU, minus=CONTROL))),
        ("control's mean IoU", e.means(IOU, control=True)),
        ("pixel accuracy", e.means(ACCURACY)),
        ("− control (points)", in_points(e.means(ACCURACY, minus=CONTROL))),
        ("agreement", e.means("agreement")),
        ("NLL", e.means("nll")),
    )
    caption = "Test pixels; means over seeds with intervals over runs (scores: and images); differences are paired."
    return table("Every student", arms, columns, caption)


def place_table(levels: Sequence[Level], e: Evidence) -> Table:
    """Deviations in the lowest quartile, at boundaries and inside, of students and controls."""
    arms = [arm for level in levels for arm in level.arms.values()]
    arms += [replace(level.arms[PLAIN].control_arm(), factors=level.arms[PLAIN].factors) for level in levels]
    columns = (
        ("label noise", lambda arm: f"{arm['noise']:.0%}"),
        ("student", lambda arm: "control" if arm.is_control else arm["arm"]),
        ("slope (OLS), test", e.means("ols_slope")),
        ("lowest quartile, train", e.means("low_deviation", split="train")),
        ("lowest quartile, test", e.means("low_deviation")),
        ("boundary", e.means("boundary_deviation")),
        ("interior", e.means("interior_deviation")),
        ("boundary − interior", e.means(BEYOND)),
    )
    return table("Where students deviate", arms, columns, "Mean student − teacher log-odds in nats; test pixels.")
