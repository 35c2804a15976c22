"""The design of the data-size study and its cells: which arm, how many examples, which budget, under which regime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from disobey.data.dataset import Kind
from disobey.errors import refusal
from disobey.targets.arms import ARMS
from disobey.targets.schedule import Schedule

LABELS, KD = "A0", "A1"
Budget: TypeAlias = Literal["steps", "convergence", "epochs"]
BUDGETS: tuple[Budget, ...] = ("steps", "convergence", "epochs")
BUDGET_WORDS: dict[Budget, str] = {
    "steps": "equal steps",
    "convergence": "to convergence, chosen on validation",
    "epochs": "equal epochs",
}
RegimeName: TypeAlias = Literal["fresh", "same-n", "teacher-sizes", "quality", "noise", "augment", "widths"]
SHORT = {
    "A4": "smoothing, same entropy",
    "A5": "smoothing, each entropy",
    "A9a": "permuted per example",
    "A10a": "class means of the n",
    "A10b": "class means of all",
    "A11": "shuffled in the class",
    "A12": "class mean + confidence",
}
EARLY_SHARE = 0.1  # of its training, after which the early teacher of the regime quality is taken
MEMBERS = 3  # of its ensemble


@dataclass(frozen=True)
class ParsedArm:
    """An arm as it was asked for. word: its one spelling, so that A1:20 at temperature 20 is A1."""

    word: str
    name: str
    value: float | None
    temperature: float

    @property
    def text(self) -> str:
        """What a figure calls it: the arm and its words."""
        arm = ARMS[self.name]
        at = "" if self.value is None else (f", τ={self.value:g}" if self.name == KD else f", {self.value:g}")
        return f"{self.name} {arm.text}{at}"

    @property
    def short(self) -> str:
        """The same in few words, for legends."""
        return f"{self.name} {SHORT[self.name]}" if self.value is None and self.name in SHORT else self.text

    def schedule(self) -> Schedule:
        """The arm as a training objective."""
        if self.name == KD:
            return ARMS[KD].schedule(self.value or self.temperature)
        return ARMS[self.name].schedule(self.temperature, self.value)


def parsed(word: str, temperature: float) -> ParsedArm:
    """``A7``, ``A1:TEMPERATURE`` or ``ARM:AMOUNT``. Raises `ValueError` for what no arm takes.

    >>> parsed("A1:20", 20.0).word, parsed("A16:3", 20.0).text
    ('A1', 'A16 top k kept, 3')
    """
    name, colon, after = word.partition(":")
    takes_value = name == KD or (name in ARMS and bool(ARMS[name].amounts))
    try:
        value = float(after) if colon else None
    except ValueError:
        value = -1.0
    if name not in ARMS or (colon and not takes_value) or (value is not None and value <= 0):
        with_amounts = ", ".join(name for name, arm in ARMS.items() if arm.amounts)
        expected = f"an arm out of {', '.join(ARMS)}, with A1:TEMPERATURE or ARM:AMOUNT for {with_amounts}"
        raise refusal("unknown-arm", expected, repr(word))
    if value is not None and value == (temperature if name == KD else ARMS[name].amounts[0]):
        value = None
    return ParsedArm(name if value is None else f"{name}:{value:g}", name, value, temperature)


@dataclass(frozen=True)
class Regime:
    """How a cell departs from the main design, in which the student's examples lie within those of its teacher.

    fresh: the teacher learns from one half of the data, the student from the other. teacher_train: the teacher's number
    of examples; 0: as many as the student. age: share of the teacher's training. noise: wrong labels of the student.
    """

    name: str = "overlap"
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
        """Where the twin, trained on labels, is found: what changes the teacher alone does not change it."""
        if self.views == "fixed":
            return CROP
        return self if self.fresh or self.student or self.noise or self.augment else OVERLAP


OVERLAP = Regime()
FRESH = Regime("fresh examples", fresh=True)
SAME_N = Regime("teacher of the same n", teacher_train=0)
EARLY = Regime(f"teacher after {EARLY_SHARE:.0%} of its training", age=EARLY_SHARE)
ENSEMBLE = Regime(f"ensemble of {MEMBERS}", members=MEMBERS)
CROP = Regime("crops, asked about every view", augment="crop")
CROP_FIXED = Regime("crops, fixed targets", augment="crop", views="fixed")


def teacher_of(examples: int) -> Regime:
    """The teacher has this many examples."""
    return Regime(f"teacher of {examples:,}", teacher_train=examples)


def noisy(share: float) -> Regime:
    """This share of the student's labels is wrong."""
    return Regime(f"{share:.0%} wrong labels", noise=share)


def wide(word: str) -> Regime:
    """The student is this model."""
    return Regime(f"student {word}", student=word)


@dataclass(frozen=True)
class Cell:
    """One student before its seed. size: n, the number of its examples."""

    arm: str
    size: int
    budget: Budget = "steps"
    regime: Regime = OVERLAP


@dataclass(frozen=True)
class Design:
    """What the study compares, as a value: all that its claims, tables and charts know of the options.

    Attributes:
        data: name of the data set; ``kind`` of its inputs, with so many ``classes`` and ``tests``, its test examples.
        total: N, all training examples.
        sizes: the numbers n of a student's examples, ascending.
        arms: each once, in its one spelling.
        temperature: of every soft arm.
        budgets: how long the cells of the main design are trained.
        regimes: beyond the main design.
        student: the students' model in a word.
        widths: the models of other students, in the regime ``widths``.
        noises: shares of wrong labels, in the regime ``noise``.
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
        """The sizes that claims about little data are judged at: up to a tenth of all, at least two."""
        return tuple(n for n in self.sizes if n <= self.total / 10) or self.sizes[:2]

    @property
    def equal_size(self) -> Regime:
        """The teacher has the student's architecture and width."""
        return Regime("teacher of the student's size", teacher=self.student)

    @property
    def teacher_sizes(self) -> tuple[int, ...]:
        """Of the teachers beside the main one, ascending: a sixteenth and a quarter of N."""
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
        """Every regime with its arms; labels have no teacher, and where only it differs those of the main design serve."""
        both, taught = (LABELS, KD), (KD,)
        return {
            "fresh": [(FRESH, (*both, "A13"))],
            "same-n": [(SAME_N, taught)],
            "teacher-sizes": [(OVERLAP, both), *((teacher_of(m), taught) for m in self.teacher_sizes)],
            "quality": [(regime, taught) for regime in (EARLY, ENSEMBLE, self.equal_size)],
            "noise": [(noisy(share), both) for share in self.noises],
            "augment": [(CROP, both), (CROP_FIXED, taught)] if self.kind == "image" else [],
            "widths": [*((wide(word), both) for word in self.widths), (self.equal_size, taught)],
        }
