"""What studies of students near their teacher share: data, budget and seeds as options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from disobey.data.dataset import Dataset, DataSpec
from disobey.data.load import load, resolve
from disobey.errors import refusal
from disobey.models.spec import model_spec
from disobey.training.imitation import ImitationSpec
from disobey.training.recipe import Recipe, imitation_spec
from disobey.training.specs import OptimSpec, Teaching


@dataclass(frozen=True)
class ImitationSetup:
    """Data, budget and seeds of studies in which student and teacher share first weights."""

    data: str = "mnist-5k"
    """data set: a name of `disobey list`, a path, or hub:NAME"""
    train: int | None = None
    """number of training examples"""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """paired seeds; each has its own teacher, subset and inputs"""
    steps: int = 300
    """training steps of teachers and students"""
    batch: int = 128
    """examples per step"""
    lr: float = 1e-3
    """learning rate, constant"""

    def __post_init__(self):
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise refusal("bad-seeds", "at least one seed, each once", self.seeds, "--seeds 0 1 2")

    @cached_property
    def spec(self) -> DataSpec:
        """The data as a recipe names it."""
        return resolve(DataSpec(self.data, train=self.train))

    @cached_property
    def dataset(self) -> Dataset:
        """The data as seed 0 sees it: for class names and words."""
        return load(self.spec, 0)

    @property
    def optim(self) -> OptimSpec:
        """Adam at a constant rate."""
        return OptimSpec("adam", self.lr, self.steps, self.batch, decay="constant")

    def chosen(self) -> Mapping[str, str]:
        """What open options stand for on these data."""
        return {"train": f"all {len(self.dataset.train):,} of {self.data}"}

    def supervised(self, model: str, lr: float, steps: int, moments: Iterable[int], outputs: int) -> Recipe:
        """Training on labels (SGD, warm-up, cosine) that keeps its weights after some steps: where others start."""
        optim, keep = OptimSpec("sgd", lr, steps, self.batch, warmup=10), tuple(sorted(moments))
        spec = ImitationSpec(outputs=outputs, head="projection")
        return Recipe(self.spec, model_spec(model), optim, keep=keep, imitation=spec, name="supervised")

    def near_teacher(self, parent: Recipe, name: str, **options: Any) -> Recipe:
        """A student of the parent's first weights, which starts at them."""
        return replace(started(parent, parent, 0, 1, name, learns="auxiliary", **options), optim=self.optim)


def started(parent: Recipe, whose: Recipe, step: int | None, replica: int, name: str, **options: Any) -> Recipe:
    """The parent's training again, from the weights of another run after some step (None: its last)."""
    return replace(
        parent,
        keep=(),
        teacher=whose,
        teaching=Teaching(step=step),
        replica=replica,
        imitation=replace(imitation_spec(parent), **options),
        name=name,
    )
