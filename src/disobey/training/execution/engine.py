"""`run_all`: many runs, teachers first, each at most once, resumable at any moment.

What is in the store is reused where it is what was written. Small networks of equal shape are trained together (see
`stacked.grouping`). If a run fails, its traceback is saved, runs that depend on it are skipped, and others continue;
the next call tries it again. A run whose worker or node died is tried twice more. A store that cannot be written ends
everything at once.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from disobey.errors import printable
from disobey.records.files import no_space
from disobey.records.runs import RunRecord
from disobey.records.store import Store
from disobey.training.acceleration import PLAIN, Acceleration
from disobey.training.execution.pools import worker_pool
from disobey.training.execution.queue import Grouping, Queue
from disobey.training.execution.reuse import check_data, look, set_aside
from disobey.training.execution.vitals import Vitals
from disobey.training.execution.workers import EVERY, Answer, Pace, Pool, heartbeat
from disobey.training.recipe import Run, closure
from disobey.training.serialize import encode

POLL = 0.5  # seconds between two readings of the heartbeats
PATIENCE = 1.0  # seconds before asking again for a run that another process has
TRIES = 3  # of a run whose worker or node died: once, and two more times


@dataclass(frozen=True)
class Failure:
    """Why a run has no record.

    Attributes:
        run: the run.
        message: the reason, for people.
        trace: the traceback, where an exception was the reason.
        skipped: not tried, because a teacher failed.
        id: the reason, for programs: a refusal's id, ``diverged``, ``worker-died``, ``worker-unreachable``,
            ``stalled``, ``damaged-record``, ``teacher-failed``, or empty for any other exception.
    """

    run: Run
    message: str
    trace: str = ""
    skipped: bool = False
    id: str = ""


@dataclass(frozen=True)
class Outcome:
    """What there is after `run_all`.

    Attributes:
        records: of the runs that are finished.
        reused: which of them were there before.
        failed: why the others have no record.
        retried: how often a run was tried again because its worker or node had died.
        left: the runs that the limit on CPU time left, not begun or paused at a checkpoint.
        cpu_seconds: of workers, spent in this call.
    """

    records: Mapping[Run, RunRecord]
    reused: frozenset[Run]
    failed: Mapping[Run, Failure]
    retried: Mapping[Run, int] = field(default_factory=dict)
    left: tuple[Run, ...] = ()
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Progress:
    """Where `run_all` is. ``share`` in [0, 1] of the steps that were left at the start."""

    done: int
    total: int
    reused: int
    failed: int
    share: float
    current: tuple[str, ...] = ()


def tell(line: str) -> None:
    """A line for people on standard error."""
    print(f"disobey: {line}", file=sys.stderr, flush=True)


@dataclass(eq=False)
class _State:
    store: Store
    queue: Queue
    say: Callable[[str], None]
    vitals: Vitals
    records: dict[Run, RunRecord] = field(default_factory=dict)
    failed: dict[Run, Failure] = field(default_factory=dict)
    flying: dict[int, tuple[list[Run], Future[list[Answer]]]] = field(default_factory=dict)
    passed: int = 0  # steps of the runs that have ended
    deaths: Counter[Run] = field(default_factory=Counter)  # of the workers that had a run
    limit: float = math.inf  # CPU-seconds
    spent: float = 0.0
    given: dict[int, float] = field(default_factory=dict)  # CPU-seconds to the runs of each worker
    acceleration: Acceleration = PLAIN
    told: set[str] = field(default_factory=set)  # why runs were not accelerated

    @property
    def remaining(self) -> float:
        """CPU-seconds that nobody has; 0 where they are too few to begin anything with."""
        if self.limit == math.inf:
            return math.inf
        rest = self.limit - self.spent - sum(self.given.values())
        return rest if rest > 0.01 * self.limit else 0.0


def run_all(
    runs: Iterable[Run],
    store: Store,
    *,
    workers: int | str = "auto",
    device: str = "auto",
    progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] = tell,
    verify: bool = False,
    stall: float = 0.0,
    checkpoint: float = EVERY,
    limit: float = math.inf,
    acceleration: Acceleration = PLAIN,
) -> Outcome:
    """Trains what is missing of ``runs`` and their teachers.

    Args:
        runs: what must be in the store afterwards.
        store: where records are. It is not written to where nothing is missing.
        workers: ``auto``, a number of local processes with one thread each, 0 (this process), ``ray`` or ``slurm``. The
            results do not depend on it.
        device: ``auto``, ``cpu`` or ``cuda``.
        progress: called about twice a second.
        say: called with a line for people: a damaged record, a silent run, a dead worker.
        verify: compare every file of the records that are there with what was written, before it is read.
        stall: seconds without a sign of life after which a run is ended as failed; 0: never.
        checkpoint: seconds between two checkpoints within a long run, from which a killed run continues; 0: none.
        limit: CPU-seconds of training in this call. Once they are spent no run is begun, and runs in progress stop at
            a checkpoint, from which the next call goes on (those without checkpoints, and stacks of small networks,
            are finished).
        acceleration: how the steps of classifiers are computed; where it cannot be had, that is said once.

    Returns:
        The records, and the failures: a run that fails is never raised.

    Raises:
        Refusal: the store cannot be written, the data differ from the stored runs', or a run cannot be trained as it
            is written down.

    Example:
        >>> import tempfile
        >>> from disobey import OptimSpec, Recipe, Run, Store, run_all
        >>> run = Run(Recipe(optim=OptimSpec(steps=2)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     outcome = run_all([run], Store(folder), workers=0)
        >>> len(outcome.records), len(outcome.reused), len(outcome.failed)
        (1, 0, 0)
    """
    ordered = closure(runs)
    found = look(store, ordered, verify=verify)
    check_data(found.records)
    old = sum(record.unverified for record in found.records.values())
    if old:
        say(f"{old} of the stored runs were written before records had hashes: they are used as they are, unverified")
    missing = [run for run in ordered if run not in found.records]
    if not missing:
        return Outcome(found.records, frozenset(found.records), {})
    for line in (store.prepare(), *(set_aside(store, run, why) for run, why in found.damaged.items())):
        if line:
            say(line)
    store.sweep()
    state = _planned(store, missing, dict(found.records), device, say, Vitals(store.root, say, stall))
    state.limit, state.acceleration = limit, acceleration
    total_steps = sum(map(_steps, missing))
    pool = worker_pool(min(workers, len(missing)) if isinstance(workers, int) else workers, device)
    try:
        pool.check(store.root)
        while state.flying or (state.queue and state.remaining > 0):
            _launch(state, pool, device, checkpoint)
            _collect(state, pool)
            if progress is not None:
                progress(_progress(state, total_steps, len(ordered), len(found.records)))
    except OSError as error:
        if no_space(error):
            raise store.unwritable(error) from error
        raise
    finally:
        pool.close()
        _tidy(store)
    reused = frozenset(run for run, record in found.records.items() if state.records.get(run) is record)
    left = tuple(run for run in ordered if run not in state.records and run not in state.failed)
    return Outcome(state.records, reused, state.failed, dict(state.deaths), left, state.spent)


def _planned(
    store: Store,
    missing: list[Run],
    records: dict[Run, RunRecord],
    device: str,
    say: Callable[[str], None],
    vitals: Vitals,
) -> _State:
    """The queue of what is missing. Refuses what cannot run."""
    from disobey.training.devices import device_type  # these bring torch, which options and help do without
    from disobey.training.execution.preflight import check
    from disobey.training.stacked.grouping import max_slices, stack_key, stream

    kind = device_type(device)
    facts = check(missing, kind)
    grouping = Grouping(
        lambda run: stack_key(run, facts.network(run), kind), stream, lambda run: max_slices(facts.network(run), kind)
    )
    return _State(store, Queue(missing, (run.id for run in records), grouping), say, vitals, records)


def _tidy(store: Store) -> None:
    """Leaves nothing of ended workers behind; the system lets go of their locks a moment after they are gone."""
    for _ in range(20):
        with contextlib.suppress(OSError):
            store.sweep()
        try:
            if not any((store.root / "tmp").iterdir()):
                return
        except OSError:
            return
        time.sleep(0.05)


def _launch(state: _State, pool: Pool, device: str, checkpoint: float) -> None:
    """Fills free slots with runs whose teachers are finished: one, or as many as are trained together."""
    for slot in range(pool.size):
        if slot in state.flying:
            continue
        share = state.remaining / (pool.size - len(state.flying))  # a free worker has as much as any other
        runs = state.queue.take(pool.size) if share > 0 else []
        if not runs:
            return
        if state.limit < math.inf:
            state.given[slot] = share
        for run in runs:
            state.store.clear_failure(run.id)
        jobs = [(run.recipe.to_json(), run.seed, run.recipe.name) for run in runs]
        state.vitals.began(slot, runs)
        pace = Pace(checkpoint, share, state.acceleration)
        state.flying[slot] = runs, pool.submit(slot, state.store.root, jobs, device, pace)


def _collect(state: _State, pool: Pool) -> None:
    """Waits a moment and takes in what has finished."""
    futures = [future for _, future in state.flying.values()]
    if futures:
        wait(futures, timeout=POLL, return_when=FIRST_COMPLETED)
    elif state.queue:
        time.sleep(PATIENCE / 4)
    for slot, (runs, future) in list(state.flying.items()):
        if not future.done():
            silent = state.vitals.silent(slot)
            if silent:
                del state.flying[slot]
                state.given.pop(slot, None)
                pool.replace(slot)
                for run in runs:
                    heartbeat(state.store.root, run.id).unlink(missing_ok=True)
                    _take_in(state, run, Answer("failed", silent, id="stalled"))
            continue
        del state.flying[slot]
        state.given.pop(slot, None)
        error = future.exception()
        if error is None:
            for run, answer in zip(runs, future.result(), strict=True):
                _take_in(state, run, answer)
        else:
            pool.replace(slot)
            for run in runs:
                _ended(state, run, error, pool.died(error))


def _ended(state: _State, run: Run, error: BaseException, died: bool) -> None:
    """What becomes of one run whose worker gave no answer: it is done, put back, or failed."""
    heartbeat(state.store.root, run.id).unlink(missing_ok=True)
    kind = type(error).__name__
    if state.store.find(run.id, encode(run.recipe)) is not None:
        _take_in(state, run, Answer("done"))
        return
    if not died:
        first = (str(error).strip().splitlines() or [""])[0]
        why = f"its worker could not be reached: {kind}: {first}"
        _take_in(state, run, Answer("failed", why, str(error), "worker-unreachable"))
        return
    state.deaths[run] += 1
    if state.deaths[run] < TRIES:
        name = printable(run.recipe.name or run.id)
        again = f"try {state.deaths[run] + 1} of {TRIES}"
        state.say(f"{name}, seed {run.seed}: its worker or node ended ({kind}); put back, {again}")
        state.queue.again(run, 0.0, alone=True)  # so that it takes no others with it
    else:
        why = f"its worker process ended {TRIES} times ({kind}): killed, or out of memory"
        _take_in(state, run, Answer("failed", why, id="worker-died"))


def _take_in(state: _State, run: Run, answer: Answer) -> None:
    state.spent += answer.cpu_seconds
    if answer.status == "busy":
        state.queue.again(run, PATIENCE)
    elif answer.status == "paused":
        state.queue.again(run, 0.0)  # where another worker gave time back
    elif answer.status == "full":
        raise state.store.unwritable(answer.message)
    elif answer.status == "damaged":
        _mend(state, run, answer)
    elif answer.status == "failed":
        _fail(state, Failure(run, answer.message, answer.trace, id=answer.id))
    else:
        record = state.store.find(run.id, encode(run.recipe))
        if record is None:  # written, and damaged since
            state.queue.again(run, PATIENCE)
            return
        state.records[run] = record
        _tell_why(state, record)
        state.passed += _steps(run)
        state.queue.finished(run)


def _tell_why(state: _State, record: RunRecord) -> None:
    """Says, once for every reason, why a run was not accelerated as asked for."""
    if not state.acceleration.asked:
        return
    why = record.info["cost"].get("not_accelerated", "")
    if not why and "step" not in record.info["cost"]:
        why = "small networks that are stacked, and other tasks than classification, know the plain step only"
    if why and why not in state.told:
        state.told.add(why)
        state.say(f"trained without what --compile or --capture asks for: {why}")


def _mend(state: _State, run: Run, answer: Answer) -> None:
    """A worker met a damaged record: that run is trained again, and this one waits for it."""
    damaged = next((one for one in (*run.teachers(), run) if one.id == answer.message), None)
    if damaged is None:
        why = f"the record of {answer.message} is damaged: {answer.trace}"
        _fail(state, Failure(run, why, id="damaged-record"))
        return
    line = set_aside(state.store, damaged, answer.trace)
    if line:
        state.say(line)
    if damaged == run:
        state.queue.again(run, 0.0)
    elif state.queue.require(run, damaged):
        state.records.pop(damaged, None)


def _fail(state: _State, failure: Failure) -> None:
    """Saves it, and skips the runs that depend on this one."""
    run = failure.run
    state.failed[run] = failure
    state.passed += _steps(run)
    note = {"recipe": encode(run.recipe), "seed": run.seed, "name": run.recipe.name}
    with contextlib.suppress(OSError):  # a full disk: the outcome still carries the failure
        state.store.note_failure(run.id, note | {"message": failure.message, "traceback": failure.trace})
    for student in state.queue.lost(run):
        _fail(state, Failure(student, f"skipped: its teacher {run.id} failed", skipped=True, id="teacher-failed"))


def _steps(run: Run) -> int:
    return run.recipe.optim.steps * run.recipe.optim.batch + 1


def _progress(state: _State, total_steps: int, total: int, reused: int) -> Progress:
    done = state.passed
    flying = [run for runs, _ in state.flying.values() for run in runs]
    for slot, (runs, _) in state.flying.items():  # equal optimizers, and one heartbeat for all
        done += len(runs) * state.vitals.steps(slot) * runs[0].recipe.optim.batch
    return Progress(
        done=len(state.records) + len(state.failed),
        total=total,
        reused=reused,
        failed=len(state.failed),
        share=min(done / total_steps, 1.0) if total_steps else 1.0,
        current=tuple(run.recipe.name or run.id for run in flying),
    )
