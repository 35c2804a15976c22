"""What training studies share: data, models, budget and seeds as options, and the arms of a cell as recipes.

Pairing: all arms of a seed share the data, its planted noise and (through the replica) initialization and batch order.
The teacher is replica 0; its students and the one-hot *twin*, the same student without a teacher, are replica 1. So a
student and its twin differ in nothing but the targets, and neither shares its luck with the teacher.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from disobey.data.dataset import Dataset, DataSpec
from disobey.data.load import load, resolve
from disobey.models.build import ModelSpec
from disobey.models.build import resolve as resolve_model
from disobey.studies.kit.design import Arm, Factor
from disobey.studies.kit.design import complete_seeds as complete_seeds  # moved; goes when all studies are ported
from disobey.targets.schedule import Schedule, labels
from disobey.training.presets import Defaults, budget, defaults_of, model_spec, spec_text
from disobey.training.recipe import OptimSpec, Recipe, Teaching


@dataclass(frozen=True)
class Setup:
    data: str = "mnist-5k"
    """a name of `disobey list`, a path, or hub:NAME"""
    train: int | None = None
    """number of training examples; all where not given"""
    teacher: str = ""
    """model of the teacher, NAME or NAME:WIDTH; chosen by the kind of data where not given"""
    augment: Literal["none", "crop", "crop-flip", "mixup"] = "none"
    """views of images in training (teachers answer about the same view)"""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """paired seeds: each is a data noise, a teacher and its students"""
    steps: int | None = None
    """training steps of every arm"""
    batch: int | None = None
    """examples a step"""
    lr: float | None = None
    """largest learning rate"""
    optimizer: Literal["default", "sgd", "adam", "adamw"] = "default"
    """how weights move; with momentum .9 for sgd"""
    decay: Literal["default", "cosine", "constant", "steps"] = "default"
    """how the learning rate falls"""
    weight_decay: float | None = None
    """as the optimizer means it"""
    early: float = 0.25
    """share of its training after which the early-stopped teacher is taken; 0: none"""

    def __post_init__(self):
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"expected at least one seed, each once; came {self.seeds}")
        if not 0 <= self.early < 1:
            raise ValueError(f"expected early, a share of the teacher's training, in [0, 1); came {self.early}")

    @cached_property
    def spec(self) -> DataSpec:
        return resolve(DataSpec(self.data, train=self.train, augment=self.augment))

    @cached_property
    def dataset(self) -> Dataset:
        """The data as seed 0 without noise sees it: for class names, pictures and words."""
        return load(self.spec, 0)

    @cached_property
    def defaults(self) -> Defaults:
        return defaults_of(self.data, self.dataset.kind)

    @cached_property
    def optim(self) -> OptimSpec:
        optim = budget(
            self.defaults.optim, steps=self.steps, batch=self.batch, lr=self.lr, weight_decay=self.weight_decay
        )
        optim = optim if self.optimizer == "default" else replace(optim, name=self.optimizer)
        return optim if self.decay == "default" else replace(optim, decay=self.decay)

    def model(self, word: str = "self") -> ModelSpec:
        """``self`` (the teacher's own), ``small``, ``large``, or any model in a word."""
        named = {"small": self.defaults.small, "large": self.defaults.large}
        if word in named:
            return named[word]
        if word in ("", "self"):
            return resolve_model(model_spec(self.teacher)) if self.teacher else self.defaults.teacher
        return resolve_model(model_spec(word))

    @property
    def early_step(self) -> int:
        return max(round(self.early * self.optim.steps), 1) if self.early else 0

    def teacher_recipe(self, noise: float = 0.0) -> Recipe:
        keep = (self.early_step,) if self.early else ()
        return Recipe(
            replace(self.spec, noise=noise),
            self.model(),
            self.optim,
            keep=keep,
            name=f"teacher {spec_text(self.model())}",
        )

    def student_recipe(
        self, word: str, targets: Schedule, noise: float = 0.0, *, early: bool = False, name: str = ""
    ) -> Recipe:
        """A student of the final or the early-stopped teacher; without a term that listens it is the twin."""
        listens = targets.listens
        return Recipe(
            replace(self.spec, noise=noise),
            self.model(word),
            self.optim,
            targets,
            teacher=self.teacher_recipe(noise) if listens else None,
            teaching=Teaching(step=self.early_step if early and listens else None),
            replica=1,
            name=name or ("student " if listens else "twin ") + spec_text(self.model(word)),
        )

    def twin_recipe(self, word: str, noise: float = 0.0) -> Recipe:
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
        """A student with its teacher and, where asked for, its control (twin).

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
            self.twin_recipe(word, noise) if control else None,
            self.teacher_recipe(noise),
            self.early_step if early else None,
            factors,
        )
