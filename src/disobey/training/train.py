"""`train`: one run, from its recipe to its record in the store."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence

from disobey.records.runs import RunRecord
from disobey.records.store import Store
from disobey.training.acceleration import PLAIN, Acceleration
from disobey.training.context import Context
from disobey.training.devices import check_precision, pick_device
from disobey.training.observers import Observer
from disobey.training.recipe import Run
from disobey.training.savepoint import EVERY
from disobey.training.serialize import encode
from disobey.training.tasks import TASKS


def train(
    run: Run,
    store: Store,
    *,
    observers: Sequence[Observer] = (),
    device: str = "auto",
    wait: bool = True,
    checkpoint: float = EVERY,
    limit: float = math.inf,
    acceleration: Acceleration = PLAIN,
) -> RunRecord:
    """The run's record: from the store where it is finished, else trained now.

    One thread on CPU and deterministic kernels: equal runs give equal bits on one machine.

    Args:
        run: what to train. Its teachers must be finished (`run_all` trains them first).
        store: where records are.
        observers: see the training after every ``every`` steps.
        device: ``auto``, ``cpu`` or ``cuda``.
        wait: whether to wait while another process trains the same run.
        checkpoint: seconds between two checkpoints within a run, from which it goes on after it was killed; 0: none.
        limit: CPU-seconds after which a run with checkpoints stops at one.
        acceleration: how the steps of a classifier are computed; no part of the run.

    Raises:
        Busy: another process trains the same run, and ``wait`` is false.
        Diverged: a loss was no finite number.
        Paused: the limit is reached; the next call goes on from there.
        Refusal: the run cannot be trained, or the stored record is damaged.
    """
    recipe = encode(run.recipe)
    record = store.find(run.id, recipe)
    if record is not None:
        return record
    with store.lock(run.id, wait=wait):
        record = store.find(run.id, recipe)
        if record is not None:
            return record
        task, place = TASKS[run.recipe.task], pick_device(device)
        check_precision(run.recipe.optim.precision, place.type)
        context = Context(store, place, observers, checkpoint, limit, acceleration)
        with store.writing(run.id) as folder:
            task.write(folder, task.train(run, context))
        store.resume_file(run.id).unlink(missing_ok=True)
        shutil.rmtree(store.resume_folder(run.id), ignore_errors=True)
    record = store.find(run.id, recipe)
    assert record is not None
    return record
