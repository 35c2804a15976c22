"""Which examples a run sees, in which order and in which view: one object that the seed decides.

The sequential loop, the stacked loop and the teacher's table all read it, so they agree on every batch.
Shapes: B batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from disobey.data.augment import Views, draw_mixup
from disobey.training.recipe import Run
from disobey.training.seeds import torch_stream

Mix = tuple[Tensor, Tensor]  # mixup: share of the example itself (), and which row of the batch is the other one (B,)


@dataclass(frozen=True, eq=False)
class Order:
    """rows: (steps, B) int64, the examples of every step; views: (steps, B) int64, their augmentations, or None."""

    rows: Tensor
    views: Tensor | None

    def to(self, device: torch.device) -> Order:
        """The same order on another device."""
        return Order(self.rows.to(device), None if self.views is None else self.views.to(device))

    def __len__(self) -> int:
        return len(self.rows)


def order_of(run: Run, n: int, n_views: int = 1) -> Order:
    """Permutations of the n examples, one after the other, cut into full batches.

    Every batch is full, so that batch norms and timings never meet a short one; a batch may span two permutations.
    A longer run begins with the batches of a shorter one.

    >>> from disobey.training.recipe import Recipe
    >>> order_of(Run(Recipe()), n=1000).rows.shape
    torch.Size([600, 128])
    """
    size = run.recipe.optim.batch
    needed = steps_of(run) * size
    generator = torch_stream(run.seed, "order", run.recipe.replica)
    parts, have = [], 0
    while have < needed:
        parts.append(torch.randperm(n, generator=generator))
        have += n
    rows = torch.cat(parts)[:needed] if parts else torch.empty(0, dtype=torch.int64)
    views = None
    if n_views > 1:
        generator = torch_stream(run.seed, "views", run.recipe.replica)
        views = torch.randint(n_views, (needed,), generator=generator).view(-1, size)
    return Order(rows.view(-1, size), views)


def steps_of(run: Run) -> int:
    """How many steps the run trains: those of its schedule, or fewer where it stops early."""
    optim = run.recipe.optim
    return optim.steps if optim.stop is None else min(optim.stop, optim.steps)


class Batch(NamedTuple):
    """What one step sees. A tuple, because a data class costs three times as long to make."""

    inputs: Tensor  # (B, ...)
    rows: Tensor  # (B,) which training examples
    views: Tensor | None = None  # (B,) in which view
    mix: Mix | None = None
    place: Tensor | None = None  # (B,) rows of a table that replays batches, where the number of the step will not do


class ExampleBatches:
    """The batches of a run on a data set: `loop.Batches` of `Batch`.

    Mixup draws step by step, so ask for the steps in their order, each once.
    """

    def __init__(self, run: Run, inputs: Views, order: Order):
        self.inputs, self.order = inputs, order
        mixes = run.recipe.data.augment == "mixup"
        self._mixing = torch_stream(run.seed, "views", run.recipe.replica) if mixes else None

    def __len__(self) -> int:
        return len(self.order)

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint within the run: where mixup's generator is."""
        return {} if self._mixing is None else {"mixing": self._mixing.get_state()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """From a checkpoint within the run."""
        if self._mixing is not None:
            self._mixing.set_state(state["mixing"].cpu())

    def __call__(self, step: int) -> Batch:
        """The batch of a step."""
        rows = self.order.rows[step]
        views = None if self.order.views is None else self.order.views[step]
        x = self.inputs.take(rows, views)
        if self._mixing is None:
            return Batch(x, rows, views)
        share, other = (part.to(x.device, non_blocking=True) for part in draw_mixup(len(rows), self._mixing))
        return Batch(x * share + x[other] * (1 - share), rows, views, (share, other))
