"""The teachers that a user could choose from, and the students that each of them has.

A student of a teacher is trained on the teacher as it is (*raw*), at the temperature that fits it to validation
labels (*fitted*), and on its order of classes alone (*ranks*); a *pilot* is a raw student with a tenth of the steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from disobey.models.spec import spec_text
from disobey.studies.kit.design import Arm, factors
from disobey.studies.kit.setup import Distillation, Setup
from disobey.targets.calibrated import FITTED
from disobey.targets.schedule import distill, labels
from disobey.training.recipe import Recipe
from disobey.training.specs import OptimSpec, Teaching

FULL, OWN, LARGE, LONG = "fully trained", "student's own size", "large", "over-trained"
EARLY = 0.25  # the age that claims call early: the one that other studies keep, so that runs are shared
READINGS: Mapping[str, str] = {"raw": "", "fitted": FITTED, "ranks": "rank_only"}
SIZES: Mapping[str, tuple[str, str, str]] = {
    "image": ("mlp:16", "mlp:64", "mlp:128"),
    "text": ("text-bag:8", "text-bag", "text-bag:128"),
    "features": ("mlp:16", "mlp:64", "mlp:128"),
}


@dataclass(frozen=True)
class Teacher:
    """One teacher before its seed.

    Attributes:
        name: in words.
        recipe: how it is trained; of an ensemble its first member; None for saved answers.
        teaching: how it becomes targets.
        cost: training steps that exist for it alone, in those of the fully trained one.
    """

    name: str
    recipe: Recipe | None
    teaching: Teaching = Teaching()
    cost: float = 1.0


@dataclass(frozen=True)
class Cell:
    """All students of one noise level.

    Attributes:
        label: the noise level in words.
        noise: share of wrong training labels.
        teachers: by name.
        students: by (teacher, reading): raw, fitted, ranks, pilot.
        grid: students of the default teacher by (temperature, weight).
        control: the student on labels alone.
        weak: the weak teacher of the weak-to-strong family, as an arm of its own; None where there is none.
        strong: the large student of the weak teacher.
        ceiling: the large student on labels.
        levels: of the claims.
    """

    label: str
    noise: float
    teachers: Mapping[str, Teacher]
    students: Mapping[tuple[str, str], Arm]
    grid: Mapping[tuple[float, float], Arm]
    control: Arm
    weak: Arm | None = None
    strong: Arm | None = None
    ceiling: Arm | None = None
    levels: tuple[tuple[str, str], ...] = ()

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Every student once."""
        extra = [arm for arm in (self.weak, self.strong, self.ceiling) if arm is not None]
        return tuple(dict.fromkeys((self.control, *self.students.values(), *self.grid.values(), *extra)))

    @property
    def default(self) -> Teacher:
        """The fully trained teacher; of a user's own the first."""
        return self.teachers.get(FULL) or next(iter(self.teachers.values()))

    def of(self, reading: str) -> dict[str, Arm]:
        """The students with one reading of their teacher, by teacher."""
        return {teacher: arm for (teacher, own), arm in self.students.items() if own == reading}


@dataclass(frozen=True)
class Choice:
    """Sizes and budget of teachers and students.

    Attributes:
        setup: data, budget, seeds.
        sizes: the student's own model, the default teacher, and a large one, in words.
        ages: shares of training after which early teachers are taken.
        over: training of the over-trained teacher, as a multiple.
        members: of the ensemble.
        folds: of the cross-fitted teacher.
    """

    setup: Setup
    sizes: tuple[str, str, str]
    ages: tuple[float, ...]
    over: float
    members: int
    folds: int

    @property
    def recipes(self) -> Distillation:
        """As in `deviation` and `forced-deviation`, so that teachers, students and controls are shared."""
        return Distillation(self.setup, self.sizes[1], EARLY)

    def teachers(self, noise: float) -> dict[str, Teacher]:
        """All teachers of a noise level, from the youngest to the oldest, then by size and kind."""
        full, steps = self.recipes.teacher_recipe(noise), self.setup.optim.steps
        found = []
        for age in sorted(set(self.ages)):
            step = max(round(age * steps), 1)
            if step == self.recipes.early_step:
                found.append(Teacher(f"after {age:.0%}", full, Teaching(step=step), age))
            else:
                optim, name = replace(full.optim, stop=step), f"teacher, {age:.0%}"
                found.append(Teacher(f"after {age:.0%}", replace(full, optim=optim, keep=(), name=name), cost=age))
        longer = replace(full.optim, steps=round(self.over * steps))
        found += [
            Teacher(FULL, full),
            Teacher(LONG, replace(full, optim=longer, keep=(), name="teacher, over-trained"), cost=self.over),
            Teacher(OWN, self._sized(full, self.sizes[0])),
            Teacher(LARGE, self._sized(full, self.sizes[2])),
            Teacher(f"ensemble of {self.members}", full, Teaching(members=self.members), float(self.members)),
            Teacher(
                f"cross-fitted, {self.folds} folds",
                replace(full, keep=(), name="teacher, cross-fitted"),
                Teaching(folds=self.folds),
                float(self.folds),
            ),
        ]
        return {teacher.name: teacher for teacher in found}

    def _sized(self, full: Recipe, word: str) -> Recipe:
        model = self.recipes.model(word)
        return replace(full, model=model, keep=(), name=f"teacher {spec_text(model)}")

    def student(
        self,
        teacher: Teacher | None,
        noise: float,
        *,
        word: str = "",
        temperature: float = 4.0,
        weight: float = 1.0,
        control: str = "",
        optim: OptimSpec | None = None,
        name: str,
    ) -> Arm:
        """A student of a teacher, or on labels alone where there is none."""
        targets = labels() if teacher is None else distill(temperature, weight=weight, control=control)
        recipe = self.recipes.student_recipe(word or self.sizes[0], targets, noise, name=name)
        if teacher is not None:
            recipe = replace(recipe, teacher=teacher.recipe, teaching=teacher.teaching)
        recipe = replace(recipe, optim=optim or recipe.optim)
        return Arm(f"{noise:.0%} label noise, {name}", recipe, factors=factors(noise=noise, student=name))

    def cell(
        self,
        noise: float,
        temperature: float,
        grid: Sequence[tuple[float, float]],
        pilot: float,
        teachers: Mapping[str, Teacher] | None = None,
    ) -> Cell:
        """All students of a noise level.

        Args:
            noise: share of wrong labels.
            temperature: of every student outside the grid.
            grid: (temperature, weight) of further students of the default teacher.
            pilot: share of the steps of a pilot.
            teachers: a user's own, the first of them the default; the study's where not given.
        """
        own = self.teachers(noise) if teachers is None else dict(teachers)
        short = replace(self.setup.optim, steps=max(round(pilot * self.setup.optim.steps), 1))
        students = {}
        for name, teacher in own.items():
            for reading, control in READINGS.items():
                words = name if reading == "raw" else f"{name}, {reading}"
                arm = self.student(teacher, noise, temperature=temperature, control=control, name=words)
                students[name, reading] = arm
            students[name, "pilot"] = self.student(
                teacher, noise, temperature=temperature, optim=short, name=f"{name}, pilot"
            )
        default = own.get(FULL) or next(iter(own.values()))
        points = {(temperature, 1.0): students[default.name, "raw"]}
        for t, w in dict.fromkeys(grid):
            if (t, w) != (temperature, 1.0):
                name = f"{default.name}, τ = {t:g}, weight {w:g}"
                points[t, w] = self.student(default, noise, temperature=t, weight=w, name=name)
        label, control = f"{noise:.0%} label noise", self.student(None, noise, name="labels alone")
        cell = Cell(label, noise, own, students, points, control, levels=(("label noise", f"{noise:.0%}"),))
        return cell if teachers is not None else self._weak_to_strong(cell, temperature)

    def _weak_to_strong(self, cell: Cell, temperature: float) -> Cell:
        """The large student of a small teacher, its ceiling and the teacher itself."""
        weak, noise = cell.teachers[OWN], cell.noise
        assert weak.recipe is not None
        own = Arm(f"{cell.label}, weak teacher", weak.recipe, factors=factors(noise=noise, student="weak teacher"))
        big = self.sizes[2]
        strong = self.student(weak, noise, word=big, temperature=temperature, name="strong student of the weak teacher")
        ceiling = self.student(None, noise, word=big, name="strong student on labels")
        return replace(cell, weak=own, strong=strong, ceiling=ceiling)
