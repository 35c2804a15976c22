"""What the studies on sequences share: budgets and arms as recipes, readings of their records, tables of them.

All arms of a seed share the training words and their order (and the initialization where they are the same network).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import DataSpec
from disobey.measures.intervals import mean_over_runs
from disobey.models.build import ModelSpec
from disobey.records.results import Cell, Table
from disobey.records.runs import RunRecord
from disobey.studies.setup import complete_seeds
from disobey.training.recipe import OptimSpec, Recipe, Run
from disobey.training.sequence_spec import PREFIX, SequenceSpec


@dataclass(frozen=True)
class SequenceSetup:
    """Budgets; the optimizer's settings are those of `models.sequence.STATE_TRACKING`, with fewer steps."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """paired seeds: each is a stream of training words and a luck of initialization"""
    steps: int = 700
    """training steps of every arm (half of it for parity)"""
    batch: int = 64
    """words a step"""
    lr: float = 3e-3
    """largest learning rate (AdamW, warm-up, cosine to zero)"""
    longest: int = 12
    """training words have up to so many tokens"""
    far: int = 40
    """the length that stands for extrapolation"""
    lengths: tuple[int, ...] = (8, 12, 24, 40, 64)
    """lengths of the evaluation"""
    inner: int = 128
    """width of the recurrent state (a quarter of it for parity)"""
    count: int = 256
    """words a length of the evaluation"""

    def __post_init__(self):
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"expected at least one seed, each once; came {self.seeds}")
        if not {self.longest, self.far} <= set(self.lengths):
            raise ValueError(
                f"expected longest and far among the lengths {self.lengths}; came {self.longest}, {self.far}"
            )

    def recipe(self, task: str, layer: str, name: str, *, replica: int = 0, **changes: Any) -> Recipe:
        """One arm: a layer on a task with changed sequence options; ``replica`` 1 are students."""
        small = task == "parity"  # two states: a quarter of the width, one factor and half of the steps suffice
        sizes: dict[str, Any] = {"inner": max(self.inner // 4, 8), "rank": 1} if small else {"inner": self.inner}
        steps = max(self.steps // 2, 1) if small else self.steps
        words = {"longest": self.longest, "lengths": self.lengths, "count": self.count, "powers": self.far}
        return Recipe(
            DataSpec(PREFIX + task),
            ModelSpec(layer, width=32),
            OptimSpec(
                "adamw",
                lr=self.lr,
                steps=steps,
                batch=self.batch,
                warmup=min(100, max(steps // 10, 1)),
                betas=(0.9, 0.95),
                weight_decay=0.01,
                clip=1.0,
            ),
            replica=replica,
            sequence=SequenceSpec(**(sizes | words | changes)),
            name=f"{task}: {name}",
        )


BASELINES: Mapping[str, str] = {  # by the name of the arm, the layer
    "diagonal (0, 1)": "diagonal",
    "diagonal (-1, 1)": "diagonal_signed",
    "LSTM": "lstm",
    "Transformer": "transformer",
}


class Readings:
    """Numbers of finished runs, one a seed: ``readings.last(recipe, 12)`` is an array (seeds,)."""

    def __init__(self, records: Mapping[Run, RunRecord], seeds: Sequence[int], recipes: Sequence[Recipe]):
        self.records = records
        self.seeds = complete_seeds(seeds, recipes, records)

    def of(self, recipe: Recipe, name: str) -> NDArray:
        """A history array of every seed, (seeds, ...)."""
        return np.stack([np.asarray(self.records[Run(recipe, s)].history[name], dtype=np.float64) for s in self.seeds])

    def last(self, recipe: Recipe, length: int, budget: int | None = None, *, name: str = "eval_last") -> NDArray:
        """Accuracy at a length, (seeds,); with a number of sweeps at test, or as in training (None)."""
        spec = recipe.sequence
        assert spec is not None
        solver = 0 if budget is None else 1 + spec.budgets.index(budget)
        return self.of(recipe, name)[:, solver, spec.lengths.index(length)]

    def late_powers(self, recipe: Recipe) -> NDArray:
        """Share of right answers on constant words beyond the training lengths, (seeds,)."""
        spec = recipe.sequence
        assert spec is not None
        return self.of(recipe, "eval_powers")[:, 0, spec.longest :].mean(axis=-1)

    def parameters(self, recipe: Recipe) -> int:
        return int(self.records[Run(recipe, self.seeds[0])].summary["parameters"])


def accuracy_table(
    title: str, arms: Mapping[str, Recipe], readings: Readings, setup: SequenceSetup, *, powers: bool, caption: str
) -> Table:
    """Every arm's accuracies: last answer at the training length and far away, whole words, constant words."""
    columns = ("arm", "parameters", f"last answer at {setup.longest}", f"at {setup.far}",
               f"whole sequence at {setup.longest}", f"at {setup.far}")  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for name, recipe in arms.items():
        values = [readings.last(recipe, n) for n in (setup.longest, setup.far)]
        values += [readings.last(recipe, n, name="eval_whole") for n in (setup.longest, setup.far)]
        values += [readings.late_powers(recipe)] if powers else []
        rows.append((name, readings.parameters(recipe), *(mean_over_runs(v, name) for v in values)))
    if powers:
        columns += (f"g^k, {setup.longest} < k <= {setup.far}",)
    return Table(title, columns, tuple(rows), caption)
