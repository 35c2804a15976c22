"""The objective on the pixels of a batch of images: the one of classifiers, with a row for every pixel.

Shapes: B images of H x W pixels, N training images, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disobey.records.pixels import boundary
from disobey.records.store import Store
from disobey.records.tables import read_table, write_table
from disobey.training.batches import Batch
from disobey.training.cached_rows import packed
from disobey.training.objective import Objective
from disobey.training.recipe import Run
from disobey.training.teacher_table import Table, TeacherFn, table_name, weights_hash

CHUNK = 64  # images that are predicted at once, always: the last bits depend on it


def flat(logits: Tensor) -> Tensor:
    """Maps (B, C, H, W) as rows (B·H·W, C), in the order of the pixels."""
    return logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1])


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


def pixel_table(run: Run, teacher: TeacherFn, inputs: Tensor, store: Store) -> Table:
    """The teacher's logits of every training pixel, from the store or made and kept there.

    They are kept in half precision and rounded to it before they teach, so a table that is read teaches what one that
    was just made does.

    Args:
        run: the student's.
        teacher: gives rows (B·H·W, C) of images.
        inputs: training images (N, channels, H, W).
        store: where tables are.
    """
    name = table_name(run, "pixels")
    path = store.root / "cache" / f"{name}.npy"
    of = {one.id: weights_hash(store, one, run.recipe.teaching.step) for one in run.teachers()}
    with store.lock(f"cache-{name}"):
        found = read_table(path, of)
        if found is None:
            rows = torch.arange(len(inputs), device=inputs.device)
            with torch.inference_mode():
                parts = [teacher(inputs[part], part).cpu() for part in rows.split(CHUNK)]
            found = packed(torch.cat(parts), 0, "float16")["logits"]
            write_table(path, found, of)
    return Table(torch.from_numpy(found.astype(np.float32)).to(inputs.device), "plain")


def marked(masks: NDArray) -> Tensor:
    """Pixels at a boundary of the observed masks (N, H, W), (N·H·W,) bool."""
    return torch.from_numpy(boundary(masks).ravel())
