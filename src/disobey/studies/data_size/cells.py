"""The cells of the data-size study: which arm, how many examples, which budget, and how a regime departs from the main one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from disobey.targets.arms import ARMS
from disobey.targets.schedule import Schedule

if TYPE_CHECKING:
    from disobey.studies.data_size.study import DataSize

Budget: TypeAlias = Literal["steps", "convergence", "epochs"]
BUDGETS: tuple[Budget, ...] = ("steps", "convergence", "epochs")
BUDGET_WORDS: dict[Budget, str] = {
    "steps": "equal steps",
    "convergence": "to convergence, chosen on validation",
    "epochs": "equal epochs",
}
Name: TypeAlias = Literal["fresh", "same-n", "teacher-sizes", "quality", "noise", "augment", "widths"]
SHORT = {
    "A4": "smoothing, same entropy",
    "A5": "smoothing, each entropy",
    "A9a": "permuted per example",
    "A10a": "class means of the n",
    "A10b": "class means of all",
    "A11": "shuffled in the class",
    "A12": "class mean + confidence",
}
AGE = 0.1  # share of its training after which the early teacher of the regime quality is taken
MEMBERS = 3  # of its ensemble


@dataclass(frozen=True)
class Parsed:
    """An arm as it was asked for. word: its one spelling, so that A1:20 at temperature 20 is A1."""

    word: str
    name: str
    value: float | None
    temperature: float

    @property
    def text(self) -> str:
        """What a figure calls it: the arm and its words."""
        arm = ARMS[self.name]
        at = "" if self.value is None else (f", τ={self.value:g}" if self.name == "A1" else f", {self.value:g}")
        return f"{self.name} {arm.text}{at}"

    @property
    def short(self) -> str:
        """The same in few words, for legends."""
        return f"{self.name} {SHORT[self.name]}" if self.value is None and self.name in SHORT else self.text

    def schedule(self) -> Schedule:
        if self.name == "A1":
            return ARMS["A1"].schedule(self.value or self.temperature)
        return ARMS[self.name].schedule(self.temperature, self.value)


def parsed(word: str, temperature: float) -> Parsed:
    """``A7``, ``A1:TEMPERATURE`` or ``ARM:AMOUNT``. Raises `ValueError` for what no arm takes.

    >>> parsed("A1:20", 20.0).word, parsed("A16:3", 20.0).text
    ('A1', 'A16 top k kept, 3')
    """
    name, colon, after = word.partition(":")
    takes = "a temperature" if name == "A1" else "an amount" if name in ARMS and ARMS[name].amounts else ""
    try:
        value = float(after) if colon else None
    except ValueError:
        value = -1.0
    if name not in ARMS or (colon and not takes) or (value is not None and value <= 0):
        raise ValueError(
            f"expected an arm out of {', '.join(ARMS)}, with A1:TEMPERATURE or ARM:AMOUNT for {_amounts()}; came {word!r}"
        )
    if value is not None and value == (temperature if name == "A1" else ARMS[name].amounts[0]):
        value = None
    return Parsed(name if value is None else f"{name}:{value:g}", name, value, temperature)


def _amounts() -> str:
    return ", ".join(name for name, arm in ARMS.items() if arm.amounts)


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
EARLY = Regime(f"teacher after {AGE:.0%} of its training", age=AGE)
ENSEMBLE = Regime(f"ensemble of {MEMBERS}", members=MEMBERS)
CROP = Regime("crops, asked about every view", augment="crop")
CROP_FIXED = Regime("crops, fixed targets", augment="crop", views="fixed")


def teacher_of(examples: int) -> Regime:
    return Regime(f"teacher of {examples:,}", teacher_train=examples)


def noisy(share: float) -> Regime:
    return Regime(f"{share:.0%} wrong labels", noise=share)


def equal_size(study: DataSize) -> Regime:
    """The teacher has the student's architecture and width."""
    return Regime("teacher of the student's size", teacher=study.student_word)


def wide(word: str) -> Regime:
    return Regime(f"student {word}", student=word)


def teacher_sizes(study: DataSize) -> tuple[int, ...]:
    """Of the teachers beside the main one, ascending: a sixteenth and a quarter of N."""
    smallest = len(study.setup.dataset.classes)
    return tuple(max(study.total // part, smallest) for part in (16, 4))


def widths(study: DataSize) -> tuple[str, ...]:
    if study.widths:
        return study.widths
    return ("mlp:25x1", "mlp:400x1") if study.student_word.startswith("mlp:") else ("large",)


@dataclass(frozen=True)
class Cell:
    """One student before its seed. size: n, the number of its examples."""

    arm: str
    size: int
    budget: Budget = "steps"
    regime: Regime = OVERLAP


def regimes(study: DataSize, name: Name) -> list[Cell]:
    """The cells of one regime. Labels (A0) have no teacher: where only it differs they are those of the main design."""
    grid = study.grid
    if name == "fresh":
        return _cells(("A0", "A1", "A13"), [n for n in grid if 2 * n <= study.total], FRESH)
    if name == "same-n":
        return _cells(("A1",), grid, SAME_N)
    if name == "teacher-sizes":
        ladder = [teacher_of(m) for m in teacher_sizes(study)]
        main = [Cell(arm, n, "convergence") for n in grid for arm in ("A0", "A1")]
        return main + [
            Cell("A1", n, budget, regime) for regime in ladder for budget in ("steps", "convergence") for n in grid
        ]
    if name == "quality":
        return [cell for regime in (EARLY, ENSEMBLE, equal_size(study)) for cell in _cells(("A1",), grid, regime)]
    if name == "noise":
        return [cell for share in study.noises for cell in _cells(("A0", "A1"), grid, noisy(share))]
    if name == "augment":
        if study.setup.dataset.kind != "image":
            return []
        return _cells(("A0", "A1"), grid, CROP) + _cells(("A1",), grid, CROP_FIXED)
    others = [cell for word in widths(study) for cell in _cells(("A0", "A1"), grid, wide(word))]
    return others + _cells(("A1",), grid, equal_size(study))


def _cells(arms: tuple[str, ...], sizes: list[int] | tuple[int, ...], regime: Regime) -> list[Cell]:
    return [Cell(arm, n, "steps", regime) for n in sizes for arm in arms]
