"""A teacher's logits as a table that training reads by row: computed once, kept in the store, exact.

Three forms, decided by the recipe alone so that everybody who asks computes the same bits:
    plain    (N, C), where inputs are not augmented, or the teacher is asked about the plain ones;
    views    (N * V, C), every example in each of its V views, where training is long enough to meet most of them;
    replay   (steps * B, C), the views of this seed's batches in their order: the arms of a study share them.
Where a table would not fit in memory (or inputs are mixed, so that none repeats) the teacher answers step by step.
Shapes: N examples, B batch, C classes, M rows of the table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from disobey.data.augment import Views
from disobey.data.dataset import Dataset
from disobey.errors import refusal
from disobey.records.runs import RunRecord
from disobey.records.store import Store
from disobey.records.tables import read_table, write_table
from disobey.targets import teachers
from disobey.training.batches import Batch, Order, steps_of
from disobey.training.predict import CHUNK
from disobey.training.recipe import Run
from disobey.training.seeds import torch_stream
from disobey.training.serialize import encode

MAX_TABLE_BYTES = 4 << 30  # of a table that is held in memory

TeacherFn = Callable[[Tensor, Tensor], Tensor]
"""Inputs (B, ...) and which training examples they are (B,) to logits (B, C)."""


@dataclass(frozen=True, eq=False)
class Table:
    """Teacher logits by row; ``row`` finds the rows of a batch."""

    logits: Tensor  # (M, C) float32
    form: str  # plain | views | replay
    n_views: int = 1
    batch: int = 0

    def row(self, step: int, batch: Batch) -> Tensor | slice:
        """Where the table holds the examples of this step's batch, in their views."""
        if self.form == "replay":
            return slice(step * self.batch, (step + 1) * self.batch) if batch.place is None else batch.place
        if self.form == "views":
            assert batch.views is not None
            return batch.rows * self.n_views + batch.views
        return batch.rows

    def examples(self, order: Order, n: int) -> Tensor:
        """Which of the n training examples each row is about, (M,)."""
        if self.form == "replay":
            return order.rows.reshape(-1)
        return torch.arange(n).repeat_interleave(self.n_views)


def form_of(run: Run, n: int, n_views: int, classes: int, *, limit: int = MAX_TABLE_BYTES) -> str:
    """Which table the recipe calls for: a function of the recipe and the data, never of the machine.

    Args:
        run: the student's.
        n: its training examples.
        n_views: views of an example.
        classes: columns of the table.
        limit: bytes beyond which the teacher is asked step by step (``online``).
    """
    steps, batch = run.recipe.optim.steps, run.recipe.optim.batch
    if run.recipe.data.augment == "mixup":
        return "online"
    if n_views == 1 or run.recipe.teaching.views == "fixed":
        form, rows = "plain", n
    elif steps * batch >= n * n_views:
        form, rows = "views", n * n_views
    else:
        form, rows = "replay", steps * batch
    return form if 4 * rows * classes <= limit else "online"


def table_for(run: Run, teacher: TeacherFn, inputs: Views, order: Order, store: Store, classes: int) -> Table | None:
    """The teacher's table for this run, from the store or made and kept there; None: ask step by step."""
    form = form_of(run, len(inputs), inputs.count, classes)
    if form == "online":
        return None
    name = table_name(run, form)
    path = store.root / "cache" / f"{name}.npy"
    of = {one.id: weights_hash(store, one, run.recipe.teaching.step) for one in run.teachers()}
    with store.lock(f"cache-{name}"):
        found = read_table(path, of)
        if found is None:
            found = _teacher_outputs(form, teacher, inputs, order).cpu().numpy()
            write_table(path, found, of)
    logits = torch.from_numpy(found).to(order.rows.device)
    table = Table(logits, form, inputs.count if form == "views" else 1, run.recipe.optim.batch)
    return replace(table, logits=_permuted(run, table))


def weights_hash(store: Store, teacher: Run, step: int | None) -> str:
    """What a table was made from, so that one of a teacher that was trained again elsewhere is not believed."""
    record = store.find(teacher.id)
    return "" if record is None else record.weights_hash(step)


def teacher_fn(run: Run, models: Sequence[nn.Module], records: Sequence[RunRecord], dataset: Dataset) -> TeacherFn:
    """How this run's teachers answer: a single one, the mean of an ensemble, or cross-fitted.

    Args:
        run: the student's.
        models: the teachers' networks, in evaluation mode.
        records: the teachers', for the examples they were trained on.
        dataset: the student's.
    """

    def single(x: Tensor, _rows: Tensor) -> Tensor:
        return models[0](x).float()

    def mean(x: Tensor, _rows: Tensor) -> Tensor:
        return teachers.averaged(torch.stack([model(x).float() for model in models]))

    if not run.recipe.teaching.folds:
        return single if len(models) == 1 else mean
    saw = torch.from_numpy(np.stack([np.isin(dataset.train.ids, r.examples["train.ids"]) for r in records]))
    saw = saw.to(next(models[0].parameters()).device)

    def out_of_fold(x: Tensor, rows: Tensor) -> Tensor:
        logits = torch.stack([model(x).float() for model in models])
        return teachers.cross_fitted(logits, saw[:, rows])

    return out_of_fold


def table_name(run: Run, form: str) -> str:
    """Names everything that a table depends on: the teachers, the student's data, the order where it is replayed."""
    recipe = run.recipe
    parts: list[object] = [form, [t.id for t in run.teachers()], recipe.teaching.step, bool(recipe.teaching.folds)]
    parts += [] if recipe.teaching.head == "trained" else [recipe.teaching.head]
    parts += [encode(replace(recipe.data, noise=0.0, noise_kind="symmetric")), run.seed]
    if form == "replay":
        parts += [recipe.replica, steps_of(run), recipe.optim.batch]  # a run that stops early replays fewer batches
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _teacher_outputs(form: str, teacher: TeacherFn, inputs: Views, order: Order) -> Tensor:
    """The whole table, (M, C), in chunks of fixed size: the last bits of a product depend on the number of rows."""
    n, views = len(inputs), inputs.count
    device = order.rows.device
    if form == "replay":
        rows, seen = order.rows.reshape(-1), order.views.reshape(-1)  # type: ignore[union-attr]
    elif form == "views":
        rows, seen = torch.arange(n).repeat_interleave(views), torch.arange(views).repeat(n)
    else:
        rows, seen = torch.arange(n), None
    rows = rows.to(device)
    seen = None if seen is None else seen.to(device)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), CHUNK):
            part = slice(start, start + CHUNK)
            x = inputs.take(rows[part], None if seen is None else seen[part])
            parts.append(teacher(x, rows[part]))
    return torch.cat(parts)


def _permuted(run: Run, table: Table) -> Tensor:
    kind = run.recipe.teaching.permute
    generator = torch_stream(run.seed, "control")
    if kind == "classes":
        return teachers.permuted_classes(table.logits, generator)
    if kind == "rows":
        if table.form != "plain":
            raise refusal(
                "permuted-views", "augment='none' for permute='rows', which pairs examples", "a table of views"
            )
        return teachers.permuted_rows(table.logits, generator)
    return table.logits
