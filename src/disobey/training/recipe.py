"""`Recipe` and `Run`: everything that decides a result, and nothing else, as values with a stable key."""

from __future__ import annotations

import hashlib
import json
import types
import typing
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import cache, cached_property
from typing import Any, Literal

from disobey.data.dataset import DataSpec
from disobey.models.build import ModelSpec
from disobey.targets.schedule import Schedule
from disobey.training.specs import PREFIX, SequenceSpec


@dataclass(frozen=True)
class OptimSpec:
    """How weights move. Lengths are in steps, not epochs: arms with different data sizes train equally long."""

    name: Literal["sgd", "adam", "adamw"] = "adam"
    lr: float = 2e-3
    steps: int = 600
    batch: int = 128
    warmup: int = 0  # steps of linear rise to ``lr``
    decay: Literal["cosine", "constant", "steps"] = "cosine"
    milestones: tuple[float, ...] = (0.625, 0.75, 0.875)  # shares of training, for decay="steps"
    gamma: float = 0.1  # factor at each milestone
    momentum: float = 0.9  # SGD
    betas: tuple[float, float] = (0.9, 0.999)  # Adam
    nesterov: bool = False
    weight_decay: float = 0.0
    clip: float | None = None  # largest norm of the whole gradient
    stop: int | None = None  # end after this many of the ``steps`` (early stopping on the full schedule)


@dataclass(frozen=True)
class Teaching:
    """How a teacher's recipe becomes the targets of a student.

    step: the checkpoint after that many steps (an early-stopped teacher; the teacher's recipe must ``keep`` it).
    members: mean probability of that many teachers that differ in initialization and order only.
    folds: K > 1 trains K teachers, each without one part of the data, and asks the one that did not see an example.
    permute: ``rows`` gives every example another example's target, ``classes`` renames the classes (controls).
    seed: one fixed teacher for all of the students' seeds; None: the teacher of the same seed.
    views: ``same`` asks about the view that the student sees, ``fixed`` about the example without augmentation.
    head: ``random`` draws the teacher's last linear layer anew (a control: trained features, nothing said about classes).
    """

    step: int | None = None
    members: int = 1
    folds: int = 0
    permute: Literal["none", "rows", "classes"] = "none"
    seed: int | None = None
    views: Literal["same", "fixed"] = "same"
    head: Literal["trained", "random"] = "trained"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a result. ``key`` covers the non-default fields: a new field keeps old runs."""

    data: DataSpec = DataSpec()
    model: ModelSpec = ModelSpec()
    optim: OptimSpec = OptimSpec()
    targets: Schedule = Schedule()
    teacher: Recipe | None = None
    teaching: Teaching = Teaching()
    replica: int = 0  # which initialization and batch order of the seed; see `seeds`
    keep: tuple[int, ...] = ()  # steps whose weights and predictions are kept besides the last
    choose: Literal["last", "validation"] = "last"  # which weights are the result
    check: int = 0  # steps between looks at the validation split; 0: twenty looks
    sequence: SequenceSpec | None = None  # for data named sequence:TASK, which has no splits and no fixed size
    name: str = field(default="", compare=False)  # for people; not identity

    def __post_init__(self):
        if self.targets.listens and self.teacher is None:
            raise ValueError("the targets ask a teacher, but the recipe has none: give teacher=Recipe(...)")
        if (self.sequence is not None) != self.data.name.startswith(PREFIX):
            raise ValueError(
                f"expected sequence options for data named {PREFIX}TASK and for no other, came {self.data.name!r}"
            )
        if self.teaching.members > 1 and self.teaching.folds:
            raise ValueError("expected an ensemble (members) or cross-fitting (folds), came both")
        if self.teaching.views == "fixed" and self.data.augment == "mixup":
            raise ValueError("expected augment 'crop' or 'crop-flip' for fixed targets; mixed examples have none")
        if self.teacher is not None and self.teaching.step is not None:
            kept = self.teacher.keep
            if self.teaching.step not in kept:
                raise ValueError(f"teaching.step={self.teaching.step} is not kept by the teacher (keep={kept})")

    def to_json(self) -> str:
        """Canonical JSON of the non-default fields, without the name."""
        return json.dumps(encode(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Reads `to_json`. Raises `ValueError` for unknown fields and wrong types."""
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"expected a recipe as JSON, came text that is not: {error}") from error
        return decode(value, cls)

    def key(self) -> str:
        """20 hex digits of the sha256 of the canonical JSON.

        >>> Recipe().key() == Recipe(name="called otherwise").key()
        True
        """
        return _key(self)


@cache
def _key(recipe: Recipe) -> str:
    return hashlib.sha256(recipe.to_json().encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Run:
    """One training: a recipe and a seed. Hashable: the key of every mapping of results."""

    recipe: Recipe
    seed: int = 0

    @cached_property
    def id(self) -> str:
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


def closure(runs: typing.Iterable[Run]) -> list[Run]:
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


@cache
def _hints(kind: type) -> dict[str, Any]:
    """The types of a class's fields, looked up once: reading them takes longer than all the rest of `decode`."""
    return typing.get_type_hints(kind)


def encode(value: Any, hint: Any = None) -> Any:
    """Dataclasses to dictionaries of their non-default, compared fields; 4 and 4.0 are the same temperature."""
    if is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value))
        return {
            f.name: encode(item, hints[f.name])
            for f in fields(value)
            if f.compare and ((item := getattr(value, f.name)) != f.default or f.default is MISSING)
        }
    if isinstance(value, tuple):
        args = typing.get_args(hint)
        inner = args[0] if args else None
        return [encode(item, inner) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and float in (hint, *typing.get_args(hint)):
        return float(value)
    return value


def decode(value: Any, hint: Any, where: str = "recipe") -> Any:
    """The inverse of `encode`, checking names and types on the way."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return decode(value, next(a for a in args if a is not type(None)), where)
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise ValueError(f"{where}: expected an object with fields, came {value!r}")
        hints = {f.name: _hints(hint)[f.name] for f in fields(hint)}
        unknown = set(value) - set(hints)
        if unknown:
            raise ValueError(f"{where}: unknown {sorted(unknown)}; known: {sorted(hints)}")
        return hint(**{name: decode(item, hints[name], f"{where}.{name}") for name, item in value.items()})
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where}: expected a list, came {value!r}")
        return tuple(decode(item, args[min(i, len(args) - 1)] if args[-1] is not Ellipsis else args[0], where)
                     for i, item in enumerate(value))  # fmt: skip
    if origin is Literal:
        if value not in args:
            raise ValueError(f"{where}: expected one of {list(args)}, came {value!r}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and (not isinstance(value, hint) or (hint is int and isinstance(value, bool))):
        raise ValueError(f"{where}: expected {hint.__name__}, came {value!r}")
    return value
