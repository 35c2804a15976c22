"""`Recipe` and `Run`: everything that decides a result, and nothing else, as values with a stable key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Literal

from disobey.data.dataset import DataSpec
from disobey.errors import refusal
from disobey.models.spec import ModelSpec
from disobey.records.decoding import parse_json
from disobey.targets.schedule import Schedule
from disobey.training.imitation import ImitationSpec
from disobey.training.serialize import decode, encode
from disobey.training.specs import PREFIX, OptimSpec, SequenceSpec, Teaching, learned_from

ROUNDED = ("classification", "dense", "detection")  # whose forward pass may be computed in another precision


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a result. ``key`` covers the non-default fields, so a new field keeps old runs.

    Attributes:
        data: which examples, with which planted noise and augmentation.
        model: the network.
        optim: the optimizer and its schedule.
        targets: the objective.
        teacher: the recipe of the teacher, needed where the targets use one and its answers are not saved.
        teaching: how the teacher becomes targets.
        replica: which initialization and batch order of the seed; see `seeds`.
        keep: steps whose weights and predictions are kept besides the last.
        choose: which weights are the result.
        check: steps between evaluations on the validation split; 0: twenty evaluations.
        sequence: for data named ``sequence:TASK``, which has no splits and no fixed size.
        imitation: for networks with a second head that start near their teacher's first weights.
        name: for people; not part of the identity.

    Raises:
        Refusal: ``no-teacher``, ``task-options``, ``precision-of-task``, ``two-kinds-of-teachers``,
            ``fixed-targets-of-mixtures`` or ``step-not-kept``, for fields that contradict each other.

    Example:
        >>> Recipe(DataSpec("digits-8x8"), ModelSpec("mlp", width=32)).to_json()
        '{"data":{"name":"digits-8x8"},"model":{"name":"mlp","width":32}}'
    """

    data: DataSpec = DataSpec()
    model: ModelSpec = ModelSpec()
    optim: OptimSpec = OptimSpec()
    targets: Schedule = Schedule()
    teacher: Recipe | None = None
    teaching: Teaching = Teaching()
    replica: int = 0
    keep: tuple[int, ...] = ()
    choose: Literal["last", "validation"] = "last"
    check: int = 0
    sequence: SequenceSpec | None = None
    imitation: ImitationSpec | None = None
    name: str = field(default="", compare=False)

    def __post_init__(self):
        if self.targets.uses_teacher and self.teacher is None and not self.teaching.saved:
            raise refusal("no-teacher", "a teacher for targets that use one", "none", "teacher=Recipe(...)")
        if (self.sequence is not None) != (self.task == "sequences"):
            raise refusal(
                "task-options",
                f"sequence options for data named {PREFIX}TASK and for no other",
                f"{'none' if self.sequence is None else 'some'} for {self.data.name!r}",
            )
        if self.optim.precision != "float32" and self.task not in ROUNDED:
            raise refusal(
                "precision-of-task",
                f"precision 'float32' for {self.data.name!r}: only classifiers (of pixels, of boxes) have another",
                repr(self.optim.precision),
            )
        if self.teaching.members > 1 and self.teaching.folds:
            raise refusal("two-kinds-of-teachers", "an ensemble (members) or cross-fitting (folds)", "both")
        if self.teaching.views == "fixed" and self.data.augment == "mixup":
            raise refusal(
                "fixed-targets-of-mixtures",
                "augment 'crop' or 'crop-flip' for fixed targets",
                "'mixup', whose examples have none",
            )
        if self.teacher is not None and self.teaching.step is not None and self.teaching.step not in self.teacher.keep:
            raise refusal(
                "step-not-kept",
                f"a step that the teacher keeps, one of {self.teacher.keep}",
                f"teaching.step={self.teaching.step}",
                f"keep=({self.teaching.step},) in the teacher's recipe",
            )

    @property
    def task(self) -> str:
        """Which kind of learning this is, a key of `tasks.TASKS`; its own options or the name of the data decide."""
        return "imitation" if self.imitation is not None else learned_from(self.data.name)

    def to_json(self) -> str:
        """Canonical JSON of the non-default fields, without the name."""
        return json.dumps(encode(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Reads `to_json`.

        Raises:
            Refusal: ``recipe-not-json``, or what `decode` refuses.
        """
        return decode(parse_json(text, "a recipe as JSON", id="recipe-not-json"), cls)

    def key(self) -> str:
        """20 hex digits of the sha256 of the canonical JSON.

        >>> Recipe().key() == Recipe(name="called otherwise").key()
        True
        """
        return _key(self)


@cache
def _key(recipe: Recipe) -> str:
    return hashlib.sha256(recipe.to_json().encode()).hexdigest()[:20]


def sequence_spec(recipe: Recipe) -> SequenceSpec:
    """The sequence options of a recipe on sequences, which has them (see `Recipe`)."""
    assert recipe.sequence is not None, f"not a recipe on sequences: {recipe.data.name}"
    return recipe.sequence


def imitation_spec(recipe: Recipe) -> ImitationSpec:
    """The options of a recipe on imitation, which has them."""
    assert recipe.imitation is not None, "not a recipe on imitation"
    return recipe.imitation


@dataclass(frozen=True)
class Run:
    """One training: a recipe and a seed. Hashable: the key of every mapping of results."""

    recipe: Recipe
    seed: int = 0

    @cached_property
    def id(self) -> str:
        """The recipe's key and the seed: the name of the run's folder in a store."""
        return f"{self.recipe.key()}-s{self.seed}"

    def teachers(self) -> tuple[Run, ...]:
        """The runs whose outputs this run learns from, in the order of ensemble members or folds."""
        teacher, teaching = self.recipe.teacher, self.recipe.teaching
        if teacher is None:
            return ()
        seed = self.seed if teaching.seed is None else teaching.seed
        if teaching.folds:
            parts = [replace(teacher.data, fold=(i, teaching.folds)) for i in range(teaching.folds)]
            return tuple(Run(replace(teacher, data=part), seed) for part in parts)
        # members stand far apart so that they never meet a student's replica
        return tuple(Run(replace(teacher, replica=teacher.replica + 1000 * i), seed) for i in range(teaching.members))


def closure(runs: Iterable[Run]) -> list[Run]:
    """The runs with all their teachers, each once, teachers first."""
    ordered: dict[Run, None] = {}

    def visit(run: Run) -> None:
        if run not in ordered:
            for teacher in run.teachers():
                visit(teacher)
            ordered[run] = None

    for run in runs:
        visit(run)
    return list(ordered)
