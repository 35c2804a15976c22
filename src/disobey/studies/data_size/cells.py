"""The design of the data-size study: its arms, its conditions (regimes), and the cells that are trained.

Arms are called by what their target is; the ids A0 to A18 of the documentation stay as aliases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from disobey.data.dataset import Kind
from disobey.errors import refusal
from disobey.targets.arms import ARMS
from disobey.targets.schedule import Schedule

Budget: TypeAlias = Literal["steps", "convergence", "epochs"]
RegimeName: TypeAlias = Literal["fresh", "same-n", "teacher-sizes", "quality", "noise", "augment", "widths"]

BUDGETS: dict[Budget, str] = {
    "steps": "equal steps",
    "convergence": "to convergence, checkpoint chosen on validation",
    "epochs": "equal epochs",
}
LABELS, KD = "labels", "distillation"
_WITHOUT_CONTROL = {
    "A0": LABELS,
    "A1": KD,
    "A2a": "mse",
    "A2b": "mse_centred",
    "A3": "label_smoothing",
    "A17": "tempered_labels",
    "A18a": "untrained_teacher",
    "A18b": "random_head",
}
IDS = {_WITHOUT_CONTROL.get(id, arm.control): id for id, arm in ARMS.items()}  # name of an arm -> its id
NAMES = {id: name for name, id in IDS.items()}
SHORT = {
    "smoothed_to_mean_entropy": "smoothing, same mean entropy",
    "smoothed_to_each_entropy": "smoothing, same entropy",
    "permuted_each": "permuted per example",
    "class_mean": "class means",
    "class_mean_of_all": "class means of all N",
    "shuffled_within_class": "shuffled within class",
    "class_mean_with_confidence": "class means with confidence",
}
EARLY_FRACTION = 0.1  # of its training, after which the early-stopped teacher of the regime quality is taken
MEMBERS = 3  # of its ensemble


@dataclass(frozen=True)
class ParsedArm:
    """An arm as it was asked for.

    Attributes:
        word: its one spelling: ``distillation:20`` at temperature 20, and ``A1``, are ``distillation``.
        name: the arm without its value.
        value: temperature of distillation or amount of a control; None where it is the default.
        temperature: of the study.
    """

    word: str
    name: str
    value: float | None
    temperature: float

    @property
    def text(self) -> str:
        """The arm in words, with its id: ``distillation, τ=4 (A1)``."""
        at = "" if self.value is None else (f", τ={self.value:g}" if self.name == KD else f", {self.value:g}")
        return f"{ARMS[IDS[self.name]].text}{at} ({IDS[self.name]})"

    @property
    def short(self) -> str:
        """The same in few words, for legends."""
        return self.text if self.value or self.name not in SHORT else f"{SHORT[self.name]} ({IDS[self.name]})"

    def schedule(self) -> Schedule:
        """The arm as a training objective."""
        if self.name == KD:
            return ARMS["A1"].schedule(self.value or self.temperature)
        return ARMS[IDS[self.name]].schedule(self.temperature, self.value)


def parsed(word: str, temperature: float) -> ParsedArm:
    """An arm from ``NAME``, ``NAME:AMOUNT`` or ``distillation:TEMPERATURE``; for NAME an id (``A7``) may stand.

    Raises:
        ValueError: no such arm, or it takes no such value.

    Example:
        >>> parsed("A1:20", 20.0).word, parsed("top_k:3", 20.0).text
        ('distillation', 'top k kept, 3 (A16)')
    """
    head, colon, after = word.partition(":")
    name = NAMES.get(head, head)
    amounts = ARMS[IDS[name]].amounts if name in IDS else ()
    default = temperature if name == KD else amounts[0] if amounts else None
    try:
        value = float(after) if colon else None
    except ValueError:
        value = -1.0
    if name not in IDS or (value is not None and (default is None or value <= 0)):
        with_amounts = ", ".join(name for name, id in IDS.items() if ARMS[id].amounts)
        expected = f"an arm out of {', '.join(IDS)}, with distillation:TEMPERATURE, or NAME:AMOUNT for {with_amounts}"
        raise refusal("unknown-arm", expected, repr(word))
    value = None if value == default else value
    return ParsedArm(name if value is None else f"{name}:{value:g}", name, value, temperature)


@dataclass(frozen=True)
class Regime:
    """A condition: how a cell departs from the main design, where the teacher's examples include the student's.

    Attributes:
        name: in words, for tables and legends.
        fresh: the teacher is trained on one half of the data, the student on the other.
        teacher_train: number of the teacher's training examples; 0: as many as the student's; None: all N.
        teacher: the teacher's model; the main one where empty.
        age: fraction of its training after which the teacher is taken.
        members: of an ensemble of teachers.
        student: the student's model; the main one where empty.
        noise: fraction of corrupted labels of the student.
        augment: augmentation of both.
        views: whether the teacher predicts every augmented view (``same``) or the plain image (``fixed``).
    """

    name: str = "main design"
    fresh: bool = False
    teacher_train: int | None = None
    teacher: str = ""
    age: float = 1.0
    members: int = 1
    student: str = ""
    noise: float = 0.0
    augment: Literal["", "crop"] = ""
    views: Literal["same", "fixed"] = "same"

    @property
    def of_labels(self) -> Regime:
        """Where the control (twin) is found: what changes only the teacher does not change a student of labels."""
        if self.views == "fixed":
            return CROP
        return self if self.fresh or self.student or self.noise or self.augment else MAIN


MAIN = Regime()
FRESH = Regime("fresh examples", fresh=True)
SAME_N = Regime("teacher trained on the same n examples", teacher_train=0)
EARLY = Regime(f"teacher after {EARLY_FRACTION:.0%} of its training", age=EARLY_FRACTION)
ENSEMBLE = Regime(f"ensemble of {MEMBERS} teachers", members=MEMBERS)
CROP = Regime("random crops, teacher sees every view", augment="crop")
CROP_FIXED = Regime("random crops, teacher sees the plain image", augment="crop", views="fixed")


def teacher_of(examples: int) -> Regime:
    """The teacher is trained on this many examples."""
    return Regime(f"teacher trained on {examples:,} examples", teacher_train=examples)


def noisy(fraction: float) -> Regime:
    """This fraction of the student's labels is corrupted."""
    return Regime(f"{fraction:.0%} corrupted labels", noise=fraction)


def wide(word: str) -> Regime:
    """The student is this model."""
    return Regime(f"student {word}", student=word)


@dataclass(frozen=True)
class Cell:
    """One student before its seed; ``size`` is n, the number of its training examples."""

    arm: str
    size: int
    budget: Budget = "steps"
    regime: Regime = MAIN


@dataclass(frozen=True)
class Design:
    """What the study compares, as a value: all that its claims, tables and charts know of the options.

    Attributes:
        data: name of the data set.
        kind: of its inputs.
        classes: number of classes.
        tests: number of test examples.
        total: N, the number of training examples.
        sizes: the students' numbers of training examples n, ascending.
        arms: each once, in its one spelling.
        temperature: of all soft targets.
        budgets: training budgets of the main design.
        regimes: conditions beside the main design.
        student: the students' model.
        widths: the students' models in the regime ``widths``.
        noises: fractions of corrupted labels in the regime ``noise``.
    """

    data: str
    kind: Kind
    classes: int
    tests: int
    total: int
    sizes: tuple[int, ...]
    arms: tuple[str, ...]
    temperature: float
    budgets: tuple[Budget, ...]
    regimes: tuple[RegimeName, ...]
    student: str
    widths: tuple[str, ...]
    noises: tuple[float, ...]

    @property
    def small(self) -> tuple[int, ...]:
        """The sizes at which claims about little data are tested: up to N/10, at least two."""
        return tuple(n for n in self.sizes if n <= self.total / 10) or self.sizes[:2]

    @property
    def equal_size(self) -> Regime:
        """The teacher has the student's architecture and width."""
        return Regime("teacher of the student's size", teacher=self.student)

    @property
    def teacher_sizes(self) -> tuple[int, ...]:
        """Training examples of the regime ``teacher-sizes``' teachers: N/16 and N/4."""
        return tuple(max(self.total // part, self.classes) for part in (16, 4))

    def arm(self, word: str) -> ParsedArm:
        """An arm of this design from its word."""
        return parsed(word, self.temperature)

    def cells(self) -> tuple[Cell, ...]:
        """Every cell of the main design and of the regimes, each once."""
        cells = [Cell(arm, n, budget) for budget in self.budgets for n in self.sizes for arm in self.arms]
        for name in self.regimes:
            budgets: tuple[Budget, ...] = ("steps", "convergence") if name == "teacher-sizes" else ("steps",)
            for regime, arms in self._regimes()[name]:
                sizes = [n for n in self.sizes if not regime.fresh or 2 * n <= self.total]
                cells += [Cell(arm, n, budget, regime) for budget in budgets for n in sizes for arm in arms]
        return tuple(dict.fromkeys(cells))

    def _regimes(self) -> dict[RegimeName, list[tuple[Regime, tuple[str, ...]]]]:
        """Every regime with its arms; labels are trained again only where more than the teacher changes."""
        both, taught = (LABELS, KD), (KD,)
        return {
            "fresh": [(FRESH, (*both, "argmax"))],
            "same-n": [(SAME_N, taught)],
            "teacher-sizes": [(MAIN, both), *((teacher_of(m), taught) for m in self.teacher_sizes)],
            "quality": [(regime, taught) for regime in (EARLY, ENSEMBLE, self.equal_size)],
            "noise": [(noisy(share), both) for share in self.noises],
            "augment": [(CROP, both), (CROP_FIXED, taught)] if self.kind == "image" else [],
            "widths": [*((wide(word), both) for word in self.widths), (self.equal_size, taught)],
        }
