"""The objective on the cells of a batch of images: that of classifiers on their classes, and one on their boxes.

Shapes: B images of G cells, N training images, C classes without "nothing".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from disobey.training.batches import Batch
from disobey.training.objective import Objective
from disobey.training.row_table import flat


class CellObjective:
    """What a run on boxes minimizes: half the mean class loss of cells with a box, half that of the others, and boxes.

    So boxes count as much as the ground, of which there is more. The loss of boxes is one minus the generalized overlap
    with the true box, the mean over cells that have one: the same in every arm, which differ in class targets alone.

    Args:
        objective: of the rows of classes.
        held: which cells have a box, (N·G,) bool, on the device.
        sides: the true sides of all cells, (N·G, 4).
        size: G.
    """

    def __init__(self, objective: Objective, held: Tensor, sides: Tensor, size: int):
        self.objective, self.held, self.sides = objective, held, sides
        self.cells = torch.arange(size, device=held.device)

    def state(self) -> dict[str, Any]:
        """For a checkpoint within the run."""
        return self.objective.state()

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint within the run."""
        self.objective.restore(state)

    def backward(self, step: int, forward: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
        """Forward and backward pass of a batch of images, for `loop.fit`; the loss, ()."""
        outputs = flat(forward(batch.inputs))
        logits, sides = outputs.detach().split([outputs.shape[1] - 4, 4], dim=1)
        rows = (batch.rows[:, None] * len(self.cells) + self.cells).flatten()
        held = self.held[rows]
        gradient, loss = torch.zeros_like(outputs), outputs.new_zeros(())
        for own in (held.nonzero().squeeze(1), (~held).nonzero().squeeze(1)):
            if len(own):
                value, of_classes = self.objective(step, logits[own], Batch(batch.inputs, rows[own]))
                gradient[own, :-4] = of_classes / 2
                loss = loss + value / 2
        own = held.nonzero().squeeze(1)
        if len(own):
            leaf = sides[own].requires_grad_(True)
            with torch.enable_grad():
                value = (1 - generalized_overlap(leaf, self.sides[rows[own]])).mean()
            (gradient[own, -4:],) = torch.autograd.grad(value, leaf)
            loss = loss + value.detach()
        outputs.backward(gradient)
        return loss


def generalized_overlap(found: Tensor, true: Tensor) -> Tensor:
    """Intersection over union, minus the share of the box around both that neither fills: from -1 to 1.

    Args:
        found: sides (M, 4) from a cell's centre: left, top, right, bottom; above 0.
        true: sides (M, 4); below 0 where the centre lies outside the true box.

    Returns:
        (M,).

    Reference:
        Rezatofighi et al. 2019, CVPR (generalized intersection over union).

    Example:
        >>> generalized_overlap(torch.ones(1, 4), torch.tensor([[1.0, 1.0, 3.0, 1.0]]))
        tensor([0.5000])
    """
    shared = (torch.minimum(found[:, :2], true[:, :2]) + torch.minimum(found[:, 2:], true[:, 2:])).clamp_min(0).prod(1)
    around = (torch.maximum(found[:, :2], true[:, :2]) + torch.maximum(found[:, 2:], true[:, 2:])).prod(1)
    union = (found[:, :2] + found[:, 2:]).prod(1) + (true[:, :2] + true[:, 2:]).prod(1) - shared
    return shared / union - (around - union) / around
