"""What studies of students near their teacher share: data, budget and seeds as options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from disobey.data.dataset import Dataset, DataSpec
from disobey.data.load import load, resolve
from disobey.errors import refusal
from disobey.training.specs import OptimSpec


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
