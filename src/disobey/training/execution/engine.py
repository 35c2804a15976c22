"""`run_all`: many runs, teachers first, each at most once, resumable at any moment.

What is in the store is reused. Equal small networks are trained together (see `stacking`). A failed run is noted with
its traceback, the runs that need it are skipped, the others go on. Nothing is retried silently; the next call tries
failed runs again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from disobey.records.runs import RunRecord
from disobey.records.store import Store
from disobey.training.execution.queue import Grouping, Queue
from disobey.training.execution.workers import Answer, Pool, heartbeat, pool
from disobey.training.recipe import Run, closure
from disobey.training.serialize import encode

POLL = 0.5  # seconds between two looks at the heartbeats
PATIENCE = 1.0  # seconds before asking again for a run that another process has


@dataclass(frozen=True)
class Failure:
    run: Run
    message: str
    trace: str = ""
    skipped: bool = False  # not tried, because a teacher failed


@dataclass(frozen=True)
class Outcome:
    records: Mapping[Run, RunRecord]
    reused: frozenset[Run]
    failed: Mapping[Run, Failure]


@dataclass(frozen=True)
class Progress:
    """Where `run_all` is. ``share`` in [0, 1] of the steps that were left at the start."""

    done: int
    total: int
    reused: int
    failed: int
    share: float
    current: tuple[str, ...] = ()


@dataclass(eq=False)
class _State:
    store: Store
    queue: Queue
    records: dict[Run, RunRecord] = field(default_factory=dict)
    failed: dict[Run, Failure] = field(default_factory=dict)
    flying: dict[int, tuple[list[Run], Future[list[Answer]]]] = field(default_factory=dict)
    passed: int = 0  # steps of the runs that have ended


def run_all(
    runs: Iterable[Run],
    store: Store,
    *,
    workers: int | str = "auto",
    device: str = "auto",
    progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Trains what is missing of ``runs`` and their teachers.

    workers: ``auto``, a number of local processes with one thread each, 0 (this process) or ``ray``. The results do not
    depend on it. Raises `ValueError` where the store cannot be written or what is asked cannot run; a run that fails is in ``failed``, never raised.
    """
    store.prepare()
    store.sweep()
    ordered = closure(runs)
    found = {run: store.find(run.id, encode(run.recipe)) for run in ordered}
    records = {run: record for run, record in found.items() if record is not None}
    reused = frozenset(records)
    missing = [run for run in ordered if found[run] is None]
    if not missing:
        return Outcome(records, reused, {})
    from disobey.training.devices import device_type  # these bring torch, which options and help do without
    from disobey.training.execution.preflight import check
    from disobey.training.stacked.grouping import max_slices, stack_key, stream

    facts, kind = check(missing), device_type(device)
    grouping = Grouping(
        lambda run: stack_key(run, facts.network(run), kind), stream, lambda run: max_slices(facts.network(run), kind)
    )
    queue = Queue(missing, (run.id for run in reused), grouping)
    state = _State(store, queue, records)
    whole = sum(map(_steps, missing))
    crew = pool(min(workers, len(missing)) if isinstance(workers, int) else workers, device)
    try:
        while state.queue or state.flying:
            _launch(state, crew, device)
            _collect(state, crew)
            if progress is not None:
                progress(_progress(state, whole, len(ordered), len(reused)))
    finally:
        crew.close()
    return Outcome(state.records, reused, state.failed)


def _launch(state: _State, crew: Pool, device: str) -> None:
    """Fills free slots with runs whose teachers are there: one, or as many as are trained together."""
    for slot in range(crew.size):
        if slot in state.flying:
            continue
        runs = state.queue.take(crew.size)
        if not runs:
            return
        for run in runs:
            state.store.clear_failure(run.id)
        jobs = [(run.recipe.to_json(), run.seed, run.recipe.name) for run in runs]
        state.flying[slot] = runs, crew.submit(slot, state.store.root, jobs, device)


def _collect(state: _State, crew: Pool) -> None:
    """Waits a moment and takes in whatever has finished."""
    futures = [future for _, future in state.flying.values()]
    if futures:
        wait(futures, timeout=POLL, return_when=FIRST_COMPLETED)
    elif state.queue:
        time.sleep(PATIENCE / 4)
    for slot, (runs, future) in list(state.flying.items()):
        if not future.done():
            continue
        del state.flying[slot]
        error = future.exception()
        if error is None:
            answers = future.result()
        else:
            crew.replace(slot)
            answers = [_ended(state, run, error) for run in runs]
        for run, answer in zip(runs, answers, strict=True):
            _take_in(state, run, answer)


def _ended(state: _State, run: Run, error: BaseException) -> Answer:
    """What became of one run of a worker that died."""
    heartbeat(state.store.root, run.id).unlink(missing_ok=True)
    if state.store.find(run.id, encode(run.recipe)) is not None:
        return Answer("done")
    kind = type(error).__name__
    return Answer("failed", f"its worker process ended ({kind}): killed, or out of memory; run the command again")


def _take_in(state: _State, run: Run, answer: Answer) -> None:
    if answer.status == "busy":
        state.queue.again(run, PATIENCE)
    elif answer.status == "failed":
        _fail(state, Failure(run, answer.message, answer.trace))
    else:
        record = state.store.find(run.id, encode(run.recipe))
        assert record is not None
        state.records[run] = record
        state.passed += _steps(run)
        state.queue.finished(run)


def _fail(state: _State, failure: Failure) -> None:
    """Notes it, and skips the runs that needed this one."""
    run = failure.run
    state.failed[run] = failure
    state.passed += _steps(run)
    note = {"recipe": encode(run.recipe), "seed": run.seed, "name": run.recipe.name}
    with contextlib.suppress(OSError):  # a full disk: the outcome still carries the failure
        state.store.note_failure(run.id, note | {"message": failure.message, "traceback": failure.trace})
    for student in state.queue.lost(run):
        _fail(state, Failure(student, f"skipped: its teacher {run.id} failed", skipped=True))


def _steps(run: Run) -> int:
    return run.recipe.optim.steps * run.recipe.optim.batch + 1


def _progress(state: _State, whole: int, total: int, reused: int) -> Progress:
    done = state.passed
    flying = [run for runs, _ in state.flying.values() for run in runs]
    for runs, _ in state.flying.values():  # equal optimizers, and one heartbeat for all
        with contextlib.suppress(OSError, ValueError):
            steps = int(heartbeat(state.store.root, runs[0].id).read_text() or 0)
            done += len(runs) * steps * runs[0].recipe.optim.batch
    return Progress(
        done=len(state.records) + len(state.failed),
        total=total,
        reused=reused,
        failed=len(state.failed),
        share=min(done / whole, 1.0) if whole else 1.0,
        current=tuple(run.recipe.name or run.id for run in flying),
    )
