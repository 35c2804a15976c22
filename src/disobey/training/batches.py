"""Which examples a run sees, in which order and in which view: one object that the seed decides.

The sequential loop, the stacked loop and the teacher's cache all read it, so they agree on every batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from disobey.training.recipe import Run
from disobey.training.seeds import torch_stream


@dataclass(frozen=True, eq=False)
class Order:
    """rows: (steps, B) int64, the examples of every step; views: (steps, B) int64, their augmentations, or None."""

    rows: Tensor
    views: Tensor | None

    def to(self, device: torch.device) -> Order:
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
    optim = run.recipe.optim
    size = optim.batch
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
    optim = run.recipe.optim
    return optim.steps if optim.stop is None else min(optim.stop, optim.steps)
