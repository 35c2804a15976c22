"""Can a teacher's gain be had without a teacher, by masking the label gradient on confusable classes?

Nagarajan et al. (2023), arXiv:2301.12923, suggest zeroing the destructive one-hot gradients. Added here: where the
confusion comes from (the student itself, a hierarchy, a teacher as the upper bound), a comparison with label smoothing
that is tuned as carefully, and classes that are merged and split: their similarity varies, the images do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from disobey.data.sources.hierarchies import groups_of
from disobey.errors import refusal
from disobey.models.spec import spec_text
from disobey.records.results import Result
from disobey.studies.kit.claims import Verdicts, judge
from disobey.studies.kit.design import Arm, Design, Group, Records, factors
from disobey.studies.kit.evidence import Evidence, run_summary
from disobey.studies.kit.methods import budget_words, count_word
from disobey.studies.kit.options import renamed
from disobey.studies.kit.setup import Distillation, Setup
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.studies.teacher_free import charts, tables
from disobey.studies.teacher_free.claims import ACCURACY, CLAIMS, PAPER, SIMILARITY, Tuned
from disobey.targets.schedule import Schedule, distill, labels, smooth
from disobey.targets.teacher_free import mask_confusable
from disobey.training.recipe import Run

Structure = Literal["grouped", "merged", "plain", "split"]


@dataclass(frozen=True)
class TeacherFree:
    """Trains equal students for equal steps on labels, smoothed labels, masked label gradients and teachers.

    Amounts of smoothing and of masking are chosen on the validation split, by the mean over seeds, and judged on test.
    """

    name: ClassVar[str] = "teacher-free"
    question: ClassVar[str] = "Can masking confusable classes replace a teacher?"
    answers: ClassVar[tuple[str, ...]] = ("F1", "F5")
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
        """The whole study in seconds, on digits."""
        setup = Setup(data="digits-8x8", train=200, seeds=(0, 1), steps=20, batch=32)
        return cls(setup, "mlp:16", "mlp:8", ("plain", "split"), smoothings=(0.1,), amounts=(1.0,), is_smoke=True)

    def data(self, structure: Structure) -> str:
        """The data set with its classes regrouped."""
        return self.setup.data if structure == "plain" else f"{structure}:{self.setup.data}"

    def recipes(self, structure: Structure) -> Distillation:
        """Teacher, students and controls as recipes."""
        return Distillation(replace(self.setup, data=self.data(structure)), self.teacher)

    def chosen(self) -> Mapping[str, str]:
        """What open options stand for on these data."""
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
        """Every arm, paired by seed."""
        return Design(tuple(arm for s in self.structures for arm in self.arms(s)), self.setup.seeds)

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
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
        """F6: split against merged classes; where they are not asked for, classes as they are against their groups."""
        pairs = (("split", "merged"), ("plain", "grouped"))
        pair = next((pair for pair in pairs if set(pair) <= set(tuned)), None)
        label = f"{self.setup.data}, gain of masking over labels"
        if pair is None:
            return Verdicts((), ((SIMILARITY.id, label, "needs --structures merged split, or grouped plain"),))
        return judge([SIMILARITY], e, [Group(label, tuple(tuned[s].best["own confusion"] for s in pair))])

    def evidence(self, records: Records) -> Evidence:
        """Accuracies of the complete seeds."""
        return Evidence.read(self.design(), records, run_summary, splits=("validation", "test"))

    def best(self, e: Evidence) -> dict[str, Tuned]:
        """The arms at their best amounts, by structure of the classes."""
        return {structure: self.tuned(structure, e.design, e) for structure in self.structures}

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone."""
        return self.judged(self.evidence(records))

    def judged(self, e: Evidence) -> Verdicts:
        """Every claim on its settings."""
        tuned = self.best(e)
        return judge(CLAIMS, e, tuned.values()) + self.similarity(tuned, e)

    def analyze(self, records: Records) -> Result:
        """Claims, charts and tables of the complete seeds."""
        e = self.evidence(records)
        design, tuned, verdicts = e.design, self.best(e), self.judged(e)
        blocks = [
            charts.gain_chart(tuned, e),
            charts.amount_chart(design.arms, e),
            tables.arm_table(design.arms, tuned, e),
            tables.teacher_table(design, e),
        ]
        gains = verdicts.gains("F1", lambda setting: setting.split(",")[0])
        over_smoothing = verdicts.tally("F2")
        summary = f"Masking the student's own confusion over plain labels: {gains}. Over smoothing: {over_smoothing}."
        return conclude(
            self, e.seeds, verdicts, blocks, records=records, methods=self.methods(e), cite=PAPER, summary=summary
        )

    def methods(self, e: Evidence) -> str:
        """What was trained and how, in sentences."""
        return (
            f"Data: {self.setup.data}, {count_word(self.setup.train)} training examples in each seed. Classes: "
            "grouped by a known hierarchy; merged, the most similar ones (nearest means of the training split) in "
            f"pairs; split, each at the median of its first principal component. Students ({self.student}) share "
            f"initialization and batches and are trained for {budget_words(self.setup.optim)}. Masking multiplies the "
            "label gradient of every other class by 1 − amount × strength and removes the mean over classes. "
            "Strength: mean probability given to the class on training examples of the label, rescaled for each "
            "label to 1 for the most and 0 for the least confused class; measured on the student itself after "
            f"{self.after:.0%} of training, on the teacher at its end, or 1 within the groups of a hierarchy. KD: "
            f"T²·KL at τ={self.temperature:g} from {spec_text(self.recipes('plain').model())}; self-KD: from a "
            "teacher with the student's model. The control (twin) is the student trained on labels. Amounts were "
            f"chosen by mean validation accuracy over {len(e.seeds)} seeds, out of smoothing {self.smoothings} and "
            f"masking {self.amounts}, the same ones for each source of confusion."
        )
