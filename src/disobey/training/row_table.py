"""What tasks share whose examples are parts of images (pixels, cells): networks as networks of rows, tables of rows.

Shapes: B images, G parts of each, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from disobey.data.dataset import Dataset
from disobey.errors import refusal
from disobey.records.tables import read_table, write_table
from disobey.targets.controls import OF_ALL
from disobey.training.cached_rows import packed
from disobey.training.context import Context
from disobey.training.devices import on_device
from disobey.training.recipe import Recipe, Run
from disobey.training.restore import teacher_record
from disobey.training.specs import Teaching
from disobey.training.teacher_table import MAX_TABLE_BYTES, Table, table_name, teacher_fn, weights_hash

CHUNK = 64  # images that are predicted at once, always: the last bits depend on it

Make = Callable[[Recipe, Dataset, int], nn.Module]
"""``make(recipe, dataset, seed)`` is the network of a task with its first weights, on the CPU."""


def flat(maps: Tensor) -> Tensor:
    """Maps (B, C, H, W) as rows (B·H·W, C), in the order of the pixels."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


class Rows(nn.Module):
    """A network of maps as one of rows: images (B, ...) to logits (B·G, C), the first C channels of its maps."""

    def __init__(self, network: nn.Module, classes: int):
        super().__init__()
        self.network, self.classes = network, classes

    def forward(self, x: Tensor) -> Tensor:
        """Images to rows."""
        return flat(self.network(x)[:, : self.classes])


def maps_of(model: nn.Module, inputs: Tensor) -> Iterator[Tensor]:
    """The network's maps of all images, a chunk at a time, in evaluation mode."""
    mode = model.training
    model.eval()
    try:
        for part in inputs.split(CHUNK):
            yield model(part)
    finally:
        model.train(mode)


def taught_rows(run: Run, form: str, make: Make, context: Context, dataset: Dataset, inputs: Tensor) -> Table | None:
    """The logits of the run's teachers for every part of its training images; None where it has no teacher.

    They are kept in half precision and rounded to it before they teach, so a table that is read teaches what one that
    was just made does.

    Args:
        run: the student's.
        form: what the parts are, for the table's name.
        make: the task's networks.
        context: of the training.
        dataset: the student's.
        inputs: training images (N, channels, H, W).
    """
    if not run.recipe.targets.uses_teacher:
        return None
    step, store = run.recipe.teaching.step, context.store
    records = [teacher_record(store, one) for one in run.teachers()]
    name = table_name(run, form)
    path = store.root / "cache" / f"{name}.npy"
    of = {one.id: weights_hash(store, one, step) for one in run.teachers()}
    with store.lock(f"cache-{name}"):
        found = read_table(path, of)
        if found is None:
            models = [
                _teacher(one, record.weights(step), make, dataset, context.device)
                for one, record in zip(run.teachers(), records, strict=True)
            ]
            teacher = teacher_fn(run, models, records, dataset)
            rows = torch.arange(len(inputs), device=inputs.device)
            with torch.inference_mode():
                parts = [teacher(inputs[part], part).cpu() for part in rows.split(CHUNK)]
            found = packed(torch.cat(parts), 0, "float16")["logits"]
            write_table(path, found, of)
    return Table(torch.from_numpy(found.astype(np.float32)).to(inputs.device), "plain")


def _teacher(teacher: Run, weights: Path, make: Make, dataset: Dataset, device: torch.device) -> nn.Module:
    model = make(teacher.recipe, dataset, teacher.seed)
    model.load_state_dict(load_file(weights))
    return Rows(on_device(model, "image", device), len(dataset.classes)).eval().requires_grad_(False)


def check_rows(run: Run, kind: str, parts: str, dataset: Dataset, rows: int) -> None:
    """Refuses ways of teaching that need whole images, and tables beyond bounds.

    Args:
        run: any run of the task.
        kind: how the ids of refusals begin.
        parts: what the examples are, in words.
        dataset: the run's.
        rows: of its teacher's table.

    Raises:
        Refusal: ``KIND-teaching``, ``KIND-target`` or ``KIND-table``.
    """
    recipe, teaching = run.recipe, run.recipe.teaching
    if teaching != Teaching(step=teaching.step, members=teaching.members, seed=teaching.seed):
        raise refusal(f"{kind}-teaching", "teachers as they are, one or an ensemble", teaching)
    if recipe.teacher is not None and recipe.teacher.task != recipe.task:
        raise refusal(f"{kind}-teaching", f"a teacher of classes of {parts}", recipe.teacher.data.name)
    for term in recipe.targets.terms:
        if term.control == OF_ALL or term.control.startswith("spare"):
            raise refusal(f"{kind}-target", f"targets that are made for {parts} one by one", repr(term.control))
    size = 4 * rows * len(dataset.classes)
    if recipe.targets.uses_teacher and size > MAX_TABLE_BYTES:
        got, attempt = f"{size / 2**30:.1f} GiB", "fewer training images, or smaller ones (#size=64)"
        raise refusal(f"{kind}-table", f"a teacher's table of at most {MAX_TABLE_BYTES >> 30} GiB", got, attempt)
