"""The objective on the pixels of a batch of images: the one of classifiers, with a row for every pixel.

Shapes: B images of H x W pixels, N training images, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from disobey.records.pixels import boundary
from disobey.training.batches import Batch
from disobey.training.objective import Objective
from disobey.training.row_table import flat


class PixelObjective:
    """What a run on masks minimizes: the mean over all pixels of a batch that have a class.

    Args:
        objective: of the rows.
        masks: observed training masks (N, H, W) int64, on the device.
    """

    def __init__(self, objective: Objective, masks: Tensor):
        self.objective, self.size = objective, masks[0].numel()
        self.void = masks.flatten() < 0 if bool((masks < 0).any()) else None
        self.pixels = torch.arange(self.size, device=masks.device)

    def state(self) -> dict[str, Any]:
        """For a checkpoint within the run."""
        return self.objective.state()

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint within the run."""
        self.objective.restore(state)

    def backward(self, step: int, model: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
        """Forward and backward pass of a batch of images, for `loop.fit`; the loss, ()."""
        logits = flat(model(batch.inputs))
        rows = (batch.rows[:, None] * self.size + self.pixels).flatten()
        if self.void is not None:
            keep = ~self.void[rows]
            logits, rows = logits[keep], rows[keep]
        loss, gradient = self.objective(step, logits, Batch(batch.inputs, rows))
        logits.backward(gradient)
        return loss


def marked(masks: NDArray) -> Tensor:
    """Pixels at a boundary of the observed masks (N, H, W), (N·H·W,) bool."""
    return torch.from_numpy(boundary(masks).ravel())
