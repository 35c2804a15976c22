"""What a study trains, as a table: one `Arm` a student, one `Design` a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from disobey.errors import refusal
from disobey.records.runs import RunRecord
from disobey.training.recipe import Recipe, Run

Factor: TypeAlias = str | float | int | bool | None
Records: TypeAlias = Mapping[Run, RunRecord]


def factors(**levels: Factor) -> tuple[tuple[str, Factor], ...]:
    """Factor levels as an `Arm` holds them.

    >>> factors(noise=0.2, order="labels first")
    (('noise', 0.2), ('order', 'labels first'))
    """
    return tuple(levels.items())


def in_words(name: str, level: Factor) -> tuple[str, str]:
    """A factor and its level for people."""
    if name == "noise" and isinstance(level, float):
        return "label noise", f"{level:.0%}"
    if name == "early":
        return "teacher", "early-stopped" if level else "final"
    return {"temperature": "τ"}.get(name, name), f"{level:g}" if isinstance(level, float) else str(level)


@dataclass(frozen=True)
class Arm:
    """One student before its seed.

    Attributes:
        label: the arm in words, as tables and claims show it.
        recipe: how the student is trained.
        control: the same student trained without a teacher (the twin), where the arm has one.
        teacher: the teacher that measures compare it with, where that is not the recipe's own: a student trained on
            labels alone may be held against the teacher of the others.
        teacher_step: the kept checkpoint of the teacher that is meant; its last one where None.
        factors: what sets this arm apart from the others, as (name, level).
        is_control: whether this is the control of another arm, standing alone.
    """

    label: str
    recipe: Recipe
    control: Recipe | None = None
    teacher: Recipe | None = None
    teacher_step: int | None = None
    factors: tuple[tuple[str, Factor], ...] = ()
    is_control: bool = False

    def __getitem__(self, factor: str) -> Factor:
        return dict(self.factors)[factor]

    def number(self, factor: str) -> float:
        """A factor level that is a number, for an axis."""
        level = self[factor]
        assert isinstance(level, (int, float)), f"{factor} of {self.label} is no number"
        return level

    @property
    def levels(self) -> tuple[tuple[str, str], ...]:
        """The factor levels in words, for tables of claims.

        >>> Arm("", None, factors=factors(noise=0.2, early=False, temperature=4.0)).levels
        (('label noise', '20%'), ('teacher', 'final'), ('τ', '4'))
        """
        return tuple(in_words(name, level) for name, level in self.factors if level is not None)

    @property
    def compared_with(self) -> Recipe | None:
        """The teacher that measures compare the student with; None where there is none."""
        return self.teacher if self.teacher is not None else self.recipe.teacher

    def recipes(self) -> tuple[Recipe, ...]:
        """Teacher, student and control, as far as there are any, in the order of training."""
        return tuple(recipe for recipe in (self.compared_with, self.recipe, self.control) if recipe is not None)

    def control_arm(self) -> Arm:
        """The control as an arm of its own, compared with the same teacher. Raises `ValueError` where there is none."""
        if self.control is None:
            raise refusal(
                "no-control", f"an arm with a control (twin), {self.label!r} has none", "a comparison with it"
            )
        return replace(self, recipe=self.control, control=None, teacher=self.compared_with, is_control=True)


@dataclass(frozen=True)
class Group:
    """Several arms that a claim is about together, and in which setting."""

    label: str
    arms: tuple[Arm, ...]


@dataclass(frozen=True)
class Design:
    """All arms of a study and the seeds by which they are paired."""

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]

    def recipes(self) -> list[Recipe]:
        """Every recipe once, in the order of the arms."""
        return list(dict.fromkeys(recipe for arm in self.arms for recipe in arm.recipes()))

    def runs(self) -> list[Run]:
        """Every recipe under every seed, seed by seed: a seed is complete before the next one starts."""
        return [Run(recipe, seed) for seed in self.seeds for recipe in self.recipes()]

    def where(self, **levels: Factor) -> tuple[Arm, ...]:
        """The arms that have all of these factor levels, in order."""
        return tuple(arm for arm in self.arms if set(levels.items()) <= set(arm.factors))

    def maybe(self, **levels: Factor) -> Arm | None:
        """The arm with these levels, or None: a role that not every setting of a study fills."""
        found = self.where(**levels)
        return self.one(**levels) if found else None

    def one(self, **levels: Factor) -> Arm:
        """The only arm with these levels. Raises `ValueError` where there is none, or more than one."""
        found = self.where(**levels)
        if len(found) != 1:
            known = {
                name: sorted({str(arm[name]) for arm in self.where() if name in dict(arm.factors)}) for name in levels
            }
            raise refusal("not-one-arm", f"one arm with {levels}", f"{len(found)}", f"levels out of {known}")
        return found[0]

    def complete(self, records: Records) -> tuple[int, ...]:
        """The seeds of which every run is finished. Raises `ValueError` where there is none."""
        return complete_seeds(self.seeds, self.recipes(), records)


def complete_seeds(seeds: Sequence[int], recipes: Sequence[Recipe], records: Records) -> tuple[int, ...]:
    """The seeds for which every recipe has a finished run: pairing needs all arms of a seed.

    Raises `ValueError` where there is none.
    """
    complete = tuple(seed for seed in seeds if all(Run(recipe, seed) in records for recipe in recipes))
    if not complete:
        attempt = "the same command again, and see the failed runs above"
        raise refusal("no-complete-seed", "a seed with all its runs finished", "none", attempt)
    return complete
