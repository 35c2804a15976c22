"""`train_stack`: runs of equal shape as one batched program, each with a record and failures of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from disobey.records.files import no_space
from disobey.records.runs import RunRecord
from disobey.records.store import Busy, Store
from disobey.training.context import Clock
from disobey.training.devices import deterministic, pick_device
from disobey.training.loop import Diverged
from disobey.training.observers import Observer
from disobey.training.prepare import Prepared, SharedInputs, prepared
from disobey.training.recipe import Run
from disobey.training.serialize import encode
from disobey.training.stacked.loop import fit_stack
from disobey.training.tasks.classification import Trained, finished, is_stacked, train_prepared, write

Results = dict[Run, RunRecord | Exception]


def train_stack(
    runs: Sequence[Run],
    store: Store,
    *,
    observers: Callable[[Run], Sequence[Observer]] = lambda run: (),
    device: str = "auto",
) -> list[RunRecord | Exception]:
    """Trains runs of equal `stack_key` together, with the records that `train` gives one by one.

    Args:
        runs: what to train. Runs that are finished, or being trained elsewhere, are left out.
        store: where records are.
        observers: of each run.
        device: ``auto``, ``cpu`` or ``cuda``.

    Returns:
        Each run's record, or why it has none (`Busy`, `Diverged`, ...), in their order.
    """
    results: Results = {}
    with ExitStack() as locks:
        missing = []
        for run in runs:
            try:
                locks.enter_context(store.lock(run.id, wait=False))
                record = store.find(run.id, encode(run.recipe))
            except (Busy, ValueError) as error:
                results[run] = error
                continue
            if record is None:
                missing.append(run)
            else:
                results[run] = record
        _train_together(missing, SharedInputs(store, pick_device(device)), observers, results)
    return [results[run] for run in runs]


def _train_together(
    runs: Sequence[Run], shared: SharedInputs, observers: Callable[[Run], Sequence[Observer]], results: Results
) -> None:
    """Fills ``results``: what breaks one run is that run's; after what breaks the stack, members are trained alone."""
    clock, ready = Clock(), []
    for run in runs:
        try:
            ready.append(prepared(run, shared, observers(run)))
        except Exception as error:
            results[run] = error
    stack = [one for one in ready if is_stacked(one)]
    try:
        with deterministic(shared.device):
            fits = fit_stack(stack, validation=shared.validation(stack[0].run)) if stack else []
    except Exception as error:
        _one_by_one(stack, shared, observers, results, error)
        fits = []
    spent = clock.cost()
    cost = {name: seconds / max(len(stack), 1) for name, seconds in spent.items()} | {"stacked": len(stack)}
    for one, fit in zip(stack, fits, strict=bool(fits)):
        if isinstance(fit, Diverged):
            results[one.run] = fit
        else:
            results[one.run] = _recorded(one, shared, partial(finished, one, fit, shared, Clock(cost)))
    for one in ready:
        if one not in stack:
            results[one.run] = _recorded(one, shared, partial(train_prepared, one, shared, Clock()))


def _one_by_one(
    stack: Sequence[Prepared],
    shared: SharedInputs,
    observers: Callable[[Run], Sequence[Observer]],
    results: Results,
    error: Exception,
) -> None:
    """Trains a stack's members alone after it raised, so that only the guilty run fails; the bits are the same."""
    if len(stack) == 1 or no_space(error):
        results.update((one.run, error) for one in stack)
        return
    for one in stack:
        try:
            fresh = prepared(one.run, shared, observers(one.run))
        except Exception as own:
            results[one.run] = own
            continue
        results[one.run] = _recorded(fresh, shared, partial(train_prepared, fresh, shared, Clock()))


def _recorded(one: Prepared, shared: SharedInputs, train: Callable[[], Trained]) -> RunRecord | Exception:
    """The run's record, or what went wrong in training and writing it."""
    try:
        with shared.store.writing(one.run.id) as folder:
            write(folder, train())
        record = shared.store.find(one.run.id, encode(one.run.recipe))
        assert record is not None
        return record
    except Exception as error:
        return error
