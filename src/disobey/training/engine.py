"""`run_all`: many runs, teachers first, each at most once, resumable at any moment.

What is in the store is reused. A failed run is noted with its traceback, the runs that need it are skipped, the others
go on. Nothing is retried silently; the next call tries failed runs again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from disobey.records.runs import RunRecord
from disobey.records.store import Store
from disobey.training.recipe import Run, closure, encode
from disobey.training.workers import Answer, Pool, heartbeat, pool

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
    waiting: list[Run]
    records: dict[Run, RunRecord] = field(default_factory=dict)
    failed: dict[Run, Failure] = field(default_factory=dict)
    flying: dict[int, tuple[Run, Future[Answer]]] = field(default_factory=dict)
    later: dict[Run, float] = field(default_factory=dict)  # busy elsewhere: not before this time


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
    state = _State(store, [run for run in ordered if found[run] is None])
    state.records = {run: record for run, record in found.items() if record is not None}
    reused = frozenset(state.records)
    if state.waiting:
        from disobey.training.check import check  # brings torch, which options and help do without

        check(state.waiting)
        missing = list(state.waiting)
        crew = pool(min(workers, len(missing)) if isinstance(workers, int) else workers, device)
        try:
            while state.waiting or state.flying:
                _launch(state, crew, device)
                _collect(state, crew)
                if progress is not None:
                    progress(_progress(state, missing, len(ordered), len(reused)))
        finally:
            crew.close()
    return Outcome(state.records, reused, state.failed)


def _launch(state: _State, crew: Pool, device: str) -> None:
    """Fills free slots with runs whose teachers are there; skips those whose teacher failed."""
    for slot in range(crew.size):
        if slot in state.flying:
            continue
        run = _next(state)
        if run is None:
            return
        state.waiting.remove(run)
        state.store.clear_failure(run.id)
        recipe = run.recipe.to_json()
        state.flying[slot] = run, crew.submit(slot, state.store.root, recipe, run.seed, device)


def _next(state: _State) -> Run | None:
    now = time.monotonic()
    for run in list(state.waiting):
        teachers = run.teachers()
        lost = next((t for t in teachers if t in state.failed), None)
        if lost is not None:
            state.waiting.remove(run)
            _fail(state, Failure(run, f"skipped: its teacher {lost.id} failed", skipped=True))
        elif all(t in state.records for t in teachers) and state.later.get(run, 0.0) <= now:
            return run
    return None


def _collect(state: _State, crew: Pool) -> None:
    """Waits a moment and takes in whatever has finished."""
    futures = [future for _, future in state.flying.values()]
    if futures:
        wait(futures, timeout=POLL, return_when=FIRST_COMPLETED)
    elif state.waiting:
        time.sleep(PATIENCE / 4)
    for slot, (run, future) in list(state.flying.items()):
        if not future.done():
            continue
        del state.flying[slot]
        error = future.exception()
        if error is not None:
            crew.replace(slot)
            message = (
                f"its worker process ended ({type(error).__name__}): killed, or out of memory; run the command again"
            )
            _fail(state, Failure(run, message))
            heartbeat(state.store.root, run.id).unlink(missing_ok=True)
            continue
        answer = future.result()
        if answer.status == "busy":
            state.later[run] = time.monotonic() + PATIENCE
            state.waiting.append(run)
        elif answer.status == "failed":
            _fail(state, Failure(run, answer.message, answer.trace))
        else:
            record = state.store.find(run.id, encode(run.recipe))
            assert record is not None
            state.records[run] = record


def _fail(state: _State, failure: Failure) -> None:
    state.failed[failure.run] = failure
    note = {"recipe": encode(failure.run.recipe), "seed": failure.run.seed, "name": failure.run.recipe.name}
    with contextlib.suppress(OSError):  # a full disk: the outcome still carries the failure
        state.store.note_failure(failure.run.id, note | {"message": failure.message, "traceback": failure.trace})


def _progress(state: _State, missing: list[Run], total: int, reused: int) -> Progress:
    def steps(run: Run) -> int:
        return run.recipe.optim.steps * run.recipe.optim.batch + 1

    done = sum(steps(run) for run in missing if run in state.records or run in state.failed)
    for run, _ in state.flying.values():
        try:
            done += int(heartbeat(state.store.root, run.id).read_text() or 0) * run.recipe.optim.batch
        except (OSError, ValueError):
            continue
    whole = sum(map(steps, missing))
    return Progress(
        done=len(state.records) + len(state.failed),
        total=total,
        reused=reused,
        failed=len(state.failed),
        share=min(done / whole, 1.0) if whole else 1.0,
        current=tuple(run.recipe.name or run.id for run, _ in state.flying.values()),
    )
