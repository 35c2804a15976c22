"""The cells of the factorial as values, and their recipes.

A cell says what a student shares with its teacher's first weights (part by part), how old the teacher is, on which
inputs which of its outputs are taught, with which optimizer, and how many generations lie between them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

from disobey.data.dataset import DataSpec
from disobey.models.spec import ModelSpec
from disobey.studies.kit.design import Arm, factors
from disobey.training.imitation import ImitationSpec, Inputs, Reading
from disobey.training.recipe import Recipe
from disobey.training.specs import OptimSpec, Teaching

SAME, OTHER = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # (encoder, auxiliary head, class head): shared with the teacher or not
ALPHAS = (0.1, 0.25, 0.5)
AGES = (0.0, 0.01, 0.1, 1.0)  # shares of the teacher's training
PARTS = {"hidden layers drawn anew": (1.0, 0.0, 0.0), "auxiliary head drawn anew": (0.0, 1.0, 0.0)}
PARTS |= {"class head drawn anew": (0.0, 0.0, 1.0)}
OUTPUTS = {"auxiliary": "auxiliary logits", "classes": "class logits", "features": "random projection of features"}
GENERATIONS = 3


@dataclass(frozen=True)
class Cell:
    """One student of the factorial. The defaults are those of subliminal learning."""

    alpha: tuple[float, float, float] = SAME
    age: float = 1.0
    inputs: Inputs = "noise"
    learns: str = "auxiliary"
    optimizer: str = "adam"
    loss: str = "kl"
    generation: int = 1

    @property
    def label(self) -> str:
        """The cell in words: what differs from the subliminal one stands last."""
        parts = [start_words(self.alpha), age_words(self.age), self.inputs, OUTPUTS[self.learns]]
        parts += [self.optimizer] if self.optimizer != "adam" else []
        parts += ["squared error"] if self.loss != "kl" else []
        parts += [f"generation {self.generation}"] if self.generation > 1 else []
        return ", ".join(parts)


def start_words(alpha: tuple[float, float, float]) -> str:
    """Where a student starts.

    >>> start_words(SAME), start_words((0.1, 0.1, 0.1)), start_words((0.0, 0.0, 1.0))
    ('same start', 'α = 0.1', 'class head drawn anew')
    """
    named = {SAME: "same start", OTHER: "other start"} | {parts: name for name, parts in PARTS.items()}
    return named.get(alpha, f"α = {alpha[0]:g}")


def age_words(age: float) -> str:
    """How long the teacher was trained.

    >>> age_words(0.0), age_words(0.1), age_words(1.0)
    ('random teacher', 'teacher after 10%', 'trained teacher')
    """
    return {0.0: "random teacher", 1.0: "trained teacher"}.get(age, f"teacher after {age:.0%}")


def cells(other: bool) -> list[Cell]:
    """Every cell: the four corners crossed, then one factor at a time from the subliminal corner.

    other: whether there is another data set to take inputs from.
    """
    shared, ages, inputs = (SAME, OTHER), (1.0, 0.0), ("noise", "data")
    found = [Cell(a, age, i, o) for a, age, i, o in product(shared, ages, inputs, ("auxiliary", "classes"))]  # type: ignore[arg-type]
    found += [Cell((a, a, a)) for a in ALPHAS]
    found += [Cell(parts) for parts in PARTS.values()]
    found += [Cell(age=age) for age in AGES[1:-1]]
    found += [Cell(inputs="permuted"), *([Cell(inputs="other")] if other else [])]
    found += [Cell(learns="features"), Cell(loss="mse")]
    found += [Cell(optimizer=name) for name in ("sgd", "sgd, four times as long")]
    found.append(Cell(age=0.0, inputs="data", optimizer="sgd"))
    found += [Cell(generation=g) for g in range(2, GENERATIONS + 1)]
    return found


@dataclass(frozen=True)
class Line:
    """From cells to recipes: data, network and budget of one study.

    Attributes:
        data: with the probes' data.
        model: of teacher and students.
        optim: of both; students with SGD have ``sgd_lr``.
        outputs: K auxiliary outputs.
        other: name of the other data set; none where it is empty.
        curve: how often the class head is read during training.
        sgd_lr: rate of the SGD students (momentum 0.9).
        probes: whether features are probed.
    """

    data: DataSpec
    model: ModelSpec
    optim: OptimSpec
    outputs: int
    other: str
    curve: int
    sgd_lr: float
    probes: bool = True

    def step(self, age: float) -> int:
        """The teacher's step at an age: at least one where it is not 0."""
        return 0 if age == 0 else max(round(age * self.optim.steps), 1)

    def teacher(self) -> Recipe:
        """Trained on labels through the class head; its auxiliary head is never trained."""
        readings: tuple[Reading, ...] = ("probes", "start", "pixels") if self.probes else ()
        spec = ImitationSpec(outputs=self.outputs, init="lecun", readings=readings)
        keep = tuple(sorted({self.step(age) for age in AGES if age < 1}))
        return Recipe(self.data, self.model, self.optim, keep=keep, imitation=spec, name="teacher")

    def student(self, cell: Cell) -> Recipe:
        """The student of a cell; every further generation is taught by the one before."""
        name, _, longer = cell.optimizer.partition(", ")
        optim = self.optim if name == "adam" else replace(self.optim, name="sgd", lr=self.sgd_lr)
        optim = replace(optim, steps=4 * optim.steps) if longer else optim
        above = self.teacher() if cell.generation == 1 else self.student(replace(cell, generation=cell.generation - 1))
        spec = ImitationSpec(
            learns=cell.learns,  # type: ignore[arg-type]
            inputs=cell.inputs,
            other=self.other if cell.inputs == "other" else "",
            alpha=cell.alpha,
            outputs=self.outputs,
            init="lecun",
            loss=cell.loss,  # type: ignore[arg-type]
            curve=self.curve,
            readings=self.readings(cell),
        )
        teaching = Teaching() if cell.age == 1 or cell.generation > 1 else Teaching(step=self.step(cell.age))
        return Recipe(
            self.data,
            self.model,
            optim,
            teacher=above,
            teaching=teaching,
            replica=cell.generation,
            imitation=spec,
            name=cell.label,
        )

    def readings(self, cell: Cell) -> tuple[Reading, ...]:
        """What is read off a student; beside the probes of random teachers' students what a rule compares with."""
        if not self.probes:
            return ("barrier",)
        compared: tuple[Reading, ...] = ("start", "matched") if cell.age == 0 or cell == Cell() else ()
        return ("probes", "barrier", *compared)

    def arm(self, cell: Cell) -> Arm:
        """The cell as an arm of a design."""
        levels = factors(
            start=start_words(cell.alpha),
            age=age_words(cell.age),
            inputs=cell.inputs,
            taught=OUTPUTS[cell.learns],
            optimizer=cell.optimizer,
            loss=cell.loss,
            generation=cell.generation,
        )
        return Arm(cell.label, self.student(cell), teacher=self.teacher(), factors=levels)
