"""What studies of classifiers share: data, budget and seeds as options, and teachers with their students as recipes.

Pairing: all arms of a seed share the data, its planted noise and (through the replica) initialization and batch order.
The teacher is replica 0; its students and the one-hot *control* (twin), the same student without a teacher, are
replica 1. A student and its control differ only in their targets; both use another initialization and batch order than
the teacher.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from disobey.data.dataset import Dataset, DataSpec
from disobey.data.load import load, resolve
from disobey.errors import refusal
from disobey.models.build import resolve as resolve_model
from disobey.models.spec import ModelSpec, model_spec, spec_text
from disobey.studies.kit.design import Arm, Factor
from disobey.studies.kit.options import by_data
from disobey.targets.schedule import Schedule, labels
from disobey.training.presets import Defaults, budget, defaults_of
from disobey.training.recipe import Recipe
from disobey.training.specs import OptimSpec, Teaching


@dataclass(frozen=True)
class Setup:
    """Data, budget and seeds: what every study of classifiers reads."""

    data: str = "mnist-5k"
    """data set: a name of `disobey list`, a path, or hub:NAME"""
    train: int | None = None
    """number of training examples"""
    augment: Literal["none", "crop", "crop-flip", "mixup"] = "none"
    """random views of images in training; the teacher sees the same view"""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """paired seeds; each has its own label noise, teacher and students"""
    steps: int | None = None
    """training steps of every arm"""
    batch: int | None = None
    """examples per step"""
    lr: float | None = None
    """largest learning rate"""
    optimizer: Literal["default", "sgd", "adam", "adamw"] = "default"
    """optimizer; sgd has momentum 0.9"""
    decay: Literal["default", "cosine", "constant", "steps", "one-cycle", "one-cycle-linear"] = "default"
    """learning rate schedule"""
    weight_decay: float | None = None
    """weight decay"""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """numbers of the forward pass in training; tf32 needs a GPU"""

    def __post_init__(self):
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise refusal("bad-seeds", "at least one seed, each once", self.seeds, "--seeds 0 1 2")

    @cached_property
    def spec(self) -> DataSpec:
        """The data as a recipe names it."""
        return resolve(DataSpec(self.data, train=self.train, augment=self.augment))

    @cached_property
    def dataset(self) -> Dataset:
        """The data as seed 0 without noise sees it: for class names, pictures and words."""
        return load(self.spec, 0)

    @cached_property
    def defaults(self) -> Defaults:
        """Models and budget for this kind of data."""
        return defaults_of(self.data, self.dataset.kind)

    @cached_property
    def optim(self) -> OptimSpec:
        """The budget: the data's own with what the options change."""
        optim = budget(
            self.defaults.optim, steps=self.steps, batch=self.batch, lr=self.lr, weight_decay=self.weight_decay
        )
        optim = replace(optim, precision=self.precision)
        optim = optim if self.optimizer == "default" else replace(optim, name=self.optimizer)
        return optim if self.decay == "default" else replace(optim, decay=self.decay)

    def model(self, word: str = "self", teacher: str = "") -> ModelSpec:
        """``self`` (the teacher's own), ``small``, ``large``, or any model in a word."""
        named = {"small": self.defaults.small, "large": self.defaults.large}
        if word in named:
            return named[word]
        if word in ("", "self"):
            return resolve_model(model_spec(teacher)) if teacher else self.defaults.teacher
        return resolve_model(model_spec(word))

    def chosen(self) -> Mapping[str, str]:
        """What open options stand for on these data, in words."""
        optim = self.optim
        values = {
            "steps": f"{optim.steps:,}",
            "batch": optim.batch,
            "lr": f"{optim.lr:g}",
            "weight_decay": f"{optim.weight_decay:g}",
            "optimizer": optim.name,
            "decay": optim.decay,
        }
        words = {name: by_data(value, self.data) for name, value in values.items()}
        return words | {"train": f"all {len(self.dataset.train):,} of {self.data}"}


@dataclass(frozen=True)
class Distillation:
    """A teacher, its students and their controls under one setup, as recipes.

    Attributes:
        setup: data, budget and seeds.
        teacher: the teacher's model in a word; the data's own where it is empty.
        early: fraction of its training after which the early-stopped teacher is taken; 0: none is kept.
    """

    setup: Setup
    teacher: str = ""
    early: float = 0.0

    def __post_init__(self):
        if not 0 <= self.early < 1:
            raise refusal(
                "bad-early", "early, a fraction of the teacher's training, in [0, 1)", self.early, "--early 0.25"
            )

    def model(self, word: str = "self") -> ModelSpec:
        """See `Setup.model`; ``self`` is the teacher's."""
        return self.setup.model(word, self.teacher)

    @property
    def early_step(self) -> int:
        """The step after which the early-stopped teacher is taken; 0: none."""
        return max(round(self.early * self.setup.optim.steps), 1) if self.early else 0

    def teacher_recipe(self, noise: float = 0.0) -> Recipe:
        """The teacher, trained on labels of which a fraction ``noise`` is corrupted."""
        keep = (self.early_step,) if self.early else ()
        data, name = replace(self.setup.spec, noise=noise), f"teacher {spec_text(self.model())}"
        return Recipe(data, self.model(), self.setup.optim, keep=keep, name=name)

    def student_recipe(
        self, word: str, targets: Schedule, noise: float = 0.0, *, early: bool = False, name: str = ""
    ) -> Recipe:
        """A student of the final or the early-stopped teacher; with no term that needs a teacher it is the control."""
        taught = targets.uses_teacher
        return Recipe(
            replace(self.setup.spec, noise=noise),
            self.model(word),
            self.setup.optim,
            targets,
            teacher=self.teacher_recipe(noise) if taught else None,
            teaching=Teaching(step=self.early_step if early and taught else None),
            replica=1,
            name=name or ("student " if taught else "control ") + spec_text(self.model(word)),
        )

    def control_recipe(self, word: str, noise: float = 0.0) -> Recipe:
        """The control: the same student, trained on labels alone."""
        return self.student_recipe(word, labels(), noise)

    def arm(
        self,
        label: str,
        word: str,
        targets: Schedule,
        noise: float = 0.0,
        *,
        early: bool = False,
        control: bool = True,
        name: str = "",
        factors: tuple[tuple[str, Factor], ...] = (),
    ) -> Arm:
        """A student beside its teacher and, where asked for, its control (twin).

        Args:
            label: the arm in words.
            word: model of the student, see `model`.
            targets: what it is trained on.
            noise: fraction of corrupted training labels.
            early: compared with, and taught by, the early-stopped teacher.
            control: whether the same student without a teacher is trained too.
            name: of the recipe, for people.
            factors: what sets the arm apart.
        """
        return Arm(
            label,
            self.student_recipe(word, targets, noise, early=early, name=name),
            self.control_recipe(word, noise) if control else None,
            self.teacher_recipe(noise),
            self.early_step if early else None,
            factors,
        )

    def chosen(self) -> Mapping[str, str]:
        """What an open option ``teacher`` stands for, in words."""
        return {"teacher": by_data(spec_text(self.model()), self.setup.data)}
