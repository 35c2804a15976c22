"""Can a teacher's gain be had without a teacher, by masking the label gradient on confusable classes?

Nagarajan et al. (2023), arXiv:2301.12923, suggest zeroing the destructive one-hot gradients. Added here: where the
confusion comes from (the student itself, a hierarchy, a teacher as the upper bound), a comparison with label smoothing
that is tuned as carefully, and classes that are merged and split, so that their similarity varies and the images do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from disobey.data.sources.hierarchies import groups_of
from disobey.errors import refusal
from disobey.figures.estimates import estimates_chart
from disobey.measures.inference.intervals import paired_difference
from disobey.records.results import Axis, Cell, Chart, Estimate, Result, Table
from disobey.studies.kit.claims import Answer, ClaimSpec, Skip, Source, Verdicts, judge
from disobey.studies.kit.design import Arm, Design, Group, Records, factors
from disobey.studies.kit.evidence import CONTROL, Evidence, run_summary
from disobey.studies.kit.methods import budget_words, count_word
from disobey.studies.kit.options import renamed
from disobey.studies.kit.setup import Distillation, Setup
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.studies.kit.tables import table
from disobey.studies.kit.verdicts import ABOVE_ZERO, most_of
from disobey.targets.schedule import Schedule, distill, labels, smooth
from disobey.targets.teacher_free import mask_confusable
from disobey.training.presets import spec_text
from disobey.training.recipe import Run

PAPER = Source("arXiv 2301.12923", "Nagarajan et al., NeurIPS 2023 (arXiv 2301.12923)")
OURS = Source("asked here")
ACCURACY = "accuracy"
Structure = Literal["grouped", "merged", "plain", "split"]
MASKED = ("own confusion", "hierarchy", "teacher's confusion")  # signals that mask the label gradient, by their source


@dataclass(frozen=True)
class Tuned:
    """The arms of one structure of the classes, each signal at the amount that is best on validation."""

    label: str
    structure: str
    best: Mapping[str, Arm]  # by signal


def better(id: str, text: str, source: Source, signal: str, other: str) -> ClaimSpec[Evidence, Tuned]:
    """One signal is more accurate on test than another."""

    def evidence(e: Evidence, tuned: Tuned) -> Answer:
        if signal not in tuned.best:
            return Skip("no hierarchy of these classes is known")
        first, second = tuned.best[signal], tuned.best[other]
        return [e.mean(first, ACCURACY, minus=second, name=f"test accuracy, {first.label} − {second.label}")]

    return ClaimSpec(id, text, source, ABOVE_ZERO, evidence)


CLAIMS: tuple[ClaimSpec[Evidence, Tuned], ...] = (
    better("F0", "Distillation beats training on labels.", PAPER, "KD", "labels"),
    better("F1", "Masking what the student itself confuses beats plain labels.", PAPER, "own confusion", "labels"),
    better(
        "F2",
        "Masking what the student itself confuses beats equally tuned label smoothing.",
        OURS,
        "own confusion",
        "smoothing",
    ),
    better(
        "F3", "Masking the classes of the same group of a hierarchy beats plain labels.", OURS, "hierarchy", "labels"
    ),
    better("F4", "Masking what a teacher confuses beats plain labels.", PAPER, "teacher's confusion", "labels"),
    ClaimSpec(
        "F5",
        "Masking the student's own confusion recovers most of distillation's gain.",
        PAPER,
        most_of(0.5),
        lambda e, tuned: [e.share(tuned.best["own confusion"], ACCURACY, of=tuned.best["KD"])],
    ),
)


def by_similarity(e: Evidence, pair: Group) -> Answer:
    """The gain of masking on classes that are more similar, minus that on classes that are less."""
    fine, coarse = (e.per_seed(arm, ACCURACY, minus=CONTROL) for arm in pair.arms)
    structures = " − ".join(str(arm["structure"]) for arm in pair.arms)
    return [paired_difference(fine, coarse, f"gain of masking, {structures} classes")]


SIMILARITY = ClaimSpec("F6", "Masking pays more where classes are more similar.", OURS, ABOVE_ZERO, by_similarity)


@dataclass(frozen=True)
class TeacherFree:
    """Trains equal students for equal steps on labels, smoothed labels, masked label gradients and teachers.

    Amounts of smoothing and of masking are chosen on the validation split, by the mean over seeds, and judged on test.
    """

    name: ClassVar[str] = "teacher-free"
    question: ClassVar[str] = "Can masking confusable classes replace a teacher?"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fashion": {"setup": Setup(data="fashion-mnist", train=2000, steps=500)},
        "cifar100": {
            "setup": Setup(data="hub:uoft-cs/cifar100#fine_label", steps=20_000, augment="crop-flip"),
            "structures": ("grouped", "plain"),
            "student": "resnet8",
        },
    }

    setup: Setup = Setup(train=1000, steps=400, batch=64)
    teacher: str = ""
    """model of the teacher, NAME or NAME:WIDTH"""
    student: str = "small"
    """model of every student: self, small, large, NAME or NAME:WIDTH"""
    structures: tuple[Structure, ...] = ("merged", "plain", "split")
    """classes: grouped by a known hierarchy, similar ones merged in pairs, as they are, each split in two"""
    smoothings: tuple[float, ...] = (0.05, 0.1, 0.2)
    """amounts of label smoothing; the best on validation is compared"""
    amounts: tuple[float, ...] = (0.1, 0.3, 1.0)
    """amounts of masking: 1 zeroes the gradient on the most confused class; above 1 training collapses"""
    after: float = 0.1
    """fraction of training after which the student's own confusion is measured"""
    temperature: float = 4.0
    """distillation temperature"""
    label_noise: float = renamed("noise", 0.0)
    """fraction of training labels to corrupt"""
    groups: tuple[int, ...] = ()
    """group of every class where classes are as they are; known for fashion-mnist and cifar100"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if not (self.structures and self.smoothings and self.amounts):
            raise refusal("nothing-to-compare", "at least one structure, one smoothing and one amount", "none of one")

    @classmethod
    def smoke(cls) -> Self:
        setup = Setup(data="digits-8x8", train=200, seeds=(0, 1), steps=20, batch=32)
        return cls(setup, "mlp:16", "mlp:8", ("plain", "split"), smoothings=(0.1,), amounts=(1.0,), is_smoke=True)

    def data(self, structure: Structure) -> str:
        """The data set with its classes regrouped."""
        return self.setup.data if structure == "plain" else f"{structure}:{self.setup.data}"

    def recipes(self, structure: Structure) -> Distillation:
        return Distillation(replace(self.setup, data=self.data(structure)), self.teacher)

    def chosen(self) -> Mapping[str, str]:
        return self.recipes("plain").chosen()

    def hierarchy(self, structure: Structure) -> tuple[int, ...]:
        """The group of every class; empty where none is known."""
        if structure == "plain" and self.groups:
            return self.groups
        return groups_of(self.data(structure), self.recipes(structure).setup.dataset.classes)

    def arms(self, structure: Structure) -> list[Arm]:
        """Every signal at every amount."""
        groups = self.hierarchy(structure)
        masks: dict[str, dict[str, Any]] = {"own confusion": {"source": "student", "after": self.after}}
        masks |= {"hierarchy": {"source": "groups", "groups": groups}} if groups else {}
        masks |= {"teacher's confusion": {"source": "teacher"}}
        return [
            self.arm(structure, "labels", labels()),
            *(self.arm(structure, "smoothing", smooth(amount), amount) for amount in self.smoothings),
            *(
                self.arm(structure, signal, mask_confusable(**how, amount=amount), amount)
                for signal, how in masks.items()
                for amount in self.amounts
            ),
            self.arm(structure, "self-KD", distill(self.temperature)),
            self.arm(structure, "KD", distill(self.temperature)),
        ]

    def arm(self, structure: Structure, signal: str, targets: Schedule, amount: float = 0.0) -> Arm:
        """One student. The teacher of self-KD has the student's model."""
        recipes, name = self.recipes(structure), signal + (f" {amount:g}" if amount else "")
        recipe = recipes.student_recipe(self.student, targets, self.label_noise, name=name)
        if signal == "self-KD" and recipe.teacher is not None:
            own = replace(recipe.teacher, model=recipes.model(self.student), name="teacher, student's model")
            recipe = replace(recipe, teacher=own)
        control = recipes.control_recipe(self.student, self.label_noise)
        return Arm(name, recipe, control, factors=factors(structure=structure, signal=signal, amount=amount))

    def design(self) -> Design:
        return Design(tuple(arm for s in self.structures for arm in self.arms(s)), self.setup.seeds)

    def plan(self) -> list[Run]:
        return self.design().runs()

    def tuned(self, structure: Structure, design: Design, e: Evidence) -> Tuned:
        """The best arm of every signal by mean validation accuracy; the smaller amount among equals."""
        best: dict[str, Arm] = {}
        score = e.means(ACCURACY, split="validation")
        for arm in design.where(structure=structure):
            signal = str(arm["signal"])
            if signal not in best or score(arm).value > score(best[signal]).value:
                best[signal] = arm
        label = f"{self.data(structure)}, {self.label_noise:.0%} label noise, {self.student} student"
        return Tuned(label, structure, best)

    def similarity(self, tuned: Mapping[str, Tuned], e: Evidence) -> Verdicts:
        """F6 on split against merged classes; where they are not asked for, on classes as they are against their groups."""
        pairs = (("split", "merged"), ("plain", "grouped"))
        pair = next((pair for pair in pairs if set(pair) <= set(tuned)), None)
        label = f"{self.setup.data}, gain of masking over labels"
        if pair is None:
            return Verdicts((), ((SIMILARITY.id, label, "needs --structures merged split, or grouped plain"),))
        return judge([SIMILARITY], e, [Group(label, tuple(tuned[s].best["own confusion"] for s in pair))])

    def analyze(self, records: Records) -> Result:
        design = self.design()
        e = Evidence.read(design, records, run_summary, splits=("validation", "test"))
        tuned = {structure: self.tuned(structure, design, e) for structure in self.structures}
        verdicts = judge(CLAIMS, e, tuned.values()) + self.similarity(tuned, e)
        blocks = [
            gain_chart(tuned, e),
            amount_chart(design.arms, e),
            arm_table(design.arms, tuned, e),
            teacher_table(design, e),
        ]
        gains = verdicts.gains("F1", lambda setting: setting.split(",")[0])
        summary = f"Masking the student's own confusion over plain labels: {gains}. Over tuned smoothing: {verdicts.tally('F2')}."
        return conclude(self, e.seeds, verdicts, blocks, methods=self.methods(e), cite=PAPER, summary=summary)

    def methods(self, e: Evidence) -> str:
        return (
            f"Data: {self.setup.data}, {count_word(self.setup.train)} training examples in each seed. Classes: grouped by a "
            "known hierarchy; merged, the most similar ones (nearest means of the training split) in pairs; split, each at "
            f"the median of its first principal component. Students ({self.student}) share initialization and batches and "
            f"are trained for {budget_words(self.setup.optim)}. Masking multiplies the label gradient of every other class "
            "by 1 − amount × strength and removes the mean over classes. Strength: mean probability given to the class on "
            "training examples of the label, rescaled for each label to 1 for the most and 0 for the least confused class; "
            f"measured on the student itself after {self.after:.0%} of training, on the teacher at its end, or 1 within the "
            f"groups of a hierarchy. KD: T²·KL at τ={self.temperature:g} from {spec_text(self.recipes('plain').model())}; "
            "self-KD: from a teacher with the student's model. The control (twin) is the student trained on labels. Amounts "
            f"were chosen by mean validation accuracy over {len(e.seeds)} seeds, out of smoothing {self.smoothings} and "
            f"masking {self.amounts}, the same ones for each source of confusion."
        )


def gain_chart(tuned: Mapping[str, Tuned], e: Evidence) -> Chart:
    rows = [
        (signal, structure, "", e.mean(here.best[signal], ACCURACY, minus=CONTROL))
        for signal in ("smoothing", *MASKED, "self-KD", "KD")
        for structure, here in tuned.items()
        if signal in here.best
    ]
    title = "Gain over plain labels, every signal at its best amount on validation"
    alt = "Test accuracy of each signal minus that of plain labels, by structure of the classes; intervals over runs."
    axes = Axis("x", "training signal", "nominal"), Axis("y", "test accuracy − labels")
    return estimates_chart(rows, "gains", title, *axes, alt, kind="interval", color="classes")


def amount_chart(arms: Sequence[Arm], e: Evidence) -> Chart:
    rows = [
        (arm.number("amount"), str(arm["signal"]), str(arm["structure"]), e.mean(arm, ACCURACY, minus=CONTROL))
        for arm in arms
        if arm["amount"]
    ]
    alt = "Test accuracy minus that of plain labels against the amount of smoothing or masking; bands are intervals over runs."
    axes = Axis("x", "amount of smoothing or masking", "log"), Axis("y", "test accuracy − labels")
    return estimates_chart(rows, "amounts", "Gain over plain labels by amount", *axes, alt, kind="line", color="signal")


def arm_table(arms: Sequence[Arm], tuned: Mapping[str, Tuned], e: Evidence) -> Table:
    best = {arm for here in tuned.values() for arm in here.best.values()}

    def gain(arm: Arm) -> Cell:
        return None if arm["signal"] == "labels" else e.mean(arm, ACCURACY, minus=CONTROL)

    columns = (
        (
            "classes: signal",
            lambda arm: f"{arm['structure']}: {arm.label}" + (" (chosen)" if arm["amount"] and arm in best else ""),
        ),
        ("validation accuracy", lambda arm: round(e.mean(arm, ACCURACY, split="validation").value, 4)),
        ("test accuracy", e.means(ACCURACY)),
        ("− labels", gain),
    )
    caption = "Means over seeds; intervals over runs. Amounts are chosen by validation accuracy. − labels: test accuracy, paired."
    return table("Every arm", arms, columns, caption)


def teacher_table(design: Design, e: Evidence) -> Table:
    structures = dict.fromkeys(arm["structure"] for arm in design.arms)
    rows = [design.one(structure=structure, signal=signal) for structure in structures for signal in ("KD", "self-KD")]

    def number(arm: Arm, key: str) -> Estimate:
        assert arm.recipe.teacher is not None
        return e.summary(arm.recipe.teacher, key)

    columns = (
        ("classes", lambda arm: arm["structure"]),
        ("teacher of", lambda arm: arm["signal"]),
        ("model", lambda arm: spec_text(arm.recipe.teacher.model)),
        ("training labels reproduced", lambda arm: number(arm, "fitted")),
        ("test accuracy", lambda arm: number(arm, "test_accuracy")),
    )
    return table("Teachers at the end of training", rows, columns, "Means over seeds with intervals over runs.")
