"""Where runs are trained: in this process, or in local worker processes (loky). A Ray cluster is `cluster.Ray`.

Every worker is an executor of one process, so that a killed worker ends only its own runs, and it is known which.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
import time
import traceback
import warnings
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from disobey.training.acceleration import PLAIN, Acceleration

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")

EVERY = 600.0  # seconds between two checkpoints within a run (`savepoint`, which brings torch)


@dataclass(frozen=True)
class Pace:
    """How a worker trains: what travels with its runs and is no part of them.

    every: seconds between two checkpoints within a run, 0: none. limit: CPU-seconds after which it stops at one.
    acceleration: how the steps of classifiers are computed.
    """

    every: float = EVERY
    limit: float = math.inf
    acceleration: Acceleration = PLAIN


USUAL = Pace()
Job = tuple[str, int, str]  # a recipe as JSON, a seed, the name, which is no part of the recipe's JSON


@dataclass(frozen=True)
class Answer:
    """What became of one run in a worker.

    Attributes:
        status: ``done``; ``busy``, another process trains it; ``failed``; ``damaged``, a record that it needs is not as
            it was written; ``paused``, the CPU time that it was given is spent; ``full``, the store cannot be written
            any more.
        message: why it failed, for people; of a damaged record the run's id.
        trace: the traceback; of a damaged record what is wrong with it.
        id: what failed, for programs: a refusal's id, ``diverged``, or empty for any other exception.
        cpu_seconds: spent on it now.
    """

    status: str
    message: str = ""
    trace: str = ""
    id: str = ""
    cpu_seconds: float = 0.0


class Pool(Protocol):
    """Workers in numbered slots, each with at most one group of runs at a time."""

    size: int

    def submit(
        self, slot: int, root: Path, jobs: Sequence[Job], device: str, pace: Pace = USUAL
    ) -> Future[list[Answer]]:
        """Trains the jobs together in this slot; an answer each."""
        ...

    def replace(self, slot: int) -> None:
        """Ends a slot's worker; the next jobs in this slot get a new one."""
        ...

    def died(self, error: BaseException) -> bool:
        """Whether a future's exception means that the worker ended."""
        ...

    def check(self, root: Path) -> None:
        """Refuses a store that a worker does not see."""
        ...

    def close(self) -> None:
        """Ends the workers, and puts back what the pool changed in this process."""
        ...


def work(root: Path, jobs: Sequence[Job], device: str, pace: Pace = USUAL) -> list[Answer]:
    """Trains one run, or several as a stack, in whatever process this is.

    Returns:
        An answer each, in their order. A failed run is an answer, never an exception.
    """
    from disobey.records.store import Store
    from disobey.training.observers import Heartbeat
    from disobey.training.recipe import Recipe, Run
    from disobey.training.stacked.train import train_stack
    from disobey.training.train import train

    runs = [Run(replace(Recipe.from_json(recipe), name=name), seed) for recipe, seed, name in jobs]
    store = Store(root)
    beat = Heartbeat(heartbeat(root, runs[0].id))  # the first run's stands for all of a stack
    began = time.process_time()
    answers: list[Answer] = []
    try:
        if len(runs) > 1:
            results = train_stack(runs, store, device=device, observers=lambda _run: [beat])
            answers = [_failed(result) if isinstance(result, Exception) else Answer("done") for result in results]
        else:
            train(
                runs[0],
                store,
                device=device,
                wait=False,
                observers=[beat],
                checkpoint=pace.every,
                limit=pace.limit,
                acceleration=pace.acceleration,
            )
            answers = [Answer("done")]
    except Exception as error:
        answers = [_failed(error)] * len(runs)
    finally:
        beat.path.unlink(missing_ok=True)
    share = (time.process_time() - began) / len(runs)
    return [replace(answer, cpu_seconds=share) for answer in answers]


def _failed(error: Exception) -> Answer:
    from disobey.records.files import no_space
    from disobey.records.store import Busy, Damaged
    from disobey.training.savepoint import Paused

    if isinstance(error, Busy):
        return Answer("busy")
    if isinstance(error, Paused):
        return Answer("paused", str(error), id=error.id)
    if isinstance(error, Damaged):
        return Answer("damaged", error.path.name, error.why)
    if no_space(error):
        return Answer("full", str(error))
    trace = "".join(traceback.format_exception(error))
    if type(error).__name__ == "OutOfMemoryError":  # torch's, of a GPU that workers share
        first = (str(error).splitlines() or [""])[0]
        return Answer("failed", f"the GPU's memory is full ({first}): try fewer --workers", trace, "gpu-memory")
    return Answer("failed", f"{type(error).__name__}: {error}", trace, getattr(error, "id", ""))


def heartbeat(root: Path, run_id: str) -> Path:
    """The file in which a worker writes how many steps the run has done."""
    return root / "tmp" / f"{run_id}.step"


def tune_allocator() -> None:
    """Lets glibc keep and reuse large blocks instead of returning them to the system after every step.

    Makes convolution steps 1.1 to 1.45 times as fast (benchmarks/training.py). Does nothing on other C libraries.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    trim_threshold, mmap_threshold = -1, -3
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, 2**31 - 1)


def prepare_worker(parent: int | None = None) -> None:
    """Readies this process for training: one thread, and an allocator that keeps its memory.

    Args:
        parent: the process with which this one ends, where it is a worker.
    """
    import torch

    torch.set_num_threads(1)
    tune_allocator()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """A killed parent cannot stop its workers, so they watch who their parent is."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


class Inline:  # a `Pool`
    """This process, one run after the other: for debugging and for one run.

    While it is open the process has one torch thread, as every worker has, or the bits of a run would depend on where
    it was trained. `close` gives torch its threads back; the allocator stays tuned.
    """

    size = 1

    def __init__(self) -> None:
        import torch

        self.threads = torch.get_num_threads()
        prepare_worker()

    def submit(
        self,
        slot: int,
        root: Path,
        jobs: Sequence[Job],
        device: str,
        pace: Pace = USUAL,
    ) -> Future[list[Answer]]:
        """Trains at once; the future is done."""
        future: Future[list[Answer]] = Future()
        future.set_result(work(root, jobs, device, pace))
        return future

    def replace(self, slot: int) -> None:
        """Nothing to end: this process is the worker."""

    def died(self, error: BaseException) -> bool:
        """Never: this process would have ended too."""
        return False

    def check(self, root: Path) -> None:
        """Nothing to refuse: the store is this process's own."""

    def close(self) -> None:
        """Gives torch its threads back."""
        import torch

        torch.set_num_threads(self.threads)


class Local:  # a `Pool`
    """Worker processes on this machine, one thread each.

    `tune_allocator` keeps memory, which loky takes for a leak: it restarts the worker between two runs and warns. That
    warning is ignored while the pool is open.
    """

    def __init__(self, size: int):
        self.size = size
        self._executors: list[Any] = [None] * size
        self._filters = warnings.catch_warnings()
        self._filters.__enter__()
        warnings.filterwarnings("ignore", message="A worker was restarted while some jobs", category=UserWarning)

    def submit(
        self, slot: int, root: Path, jobs: Sequence[Job], device: str, pace: Pace = USUAL
    ) -> Future[list[Answer]]:
        """Sends the jobs to the slot's process, which is started where there is none."""
        if self._executors[slot] is None:
            from loky import ProcessPoolExecutor

            self._executors[slot] = ProcessPoolExecutor(
                max_workers=1, timeout=None, initializer=prepare_worker, initargs=(os.getpid(),), env=THREADS
            )
        return self._executors[slot].submit(work, root, jobs, device, pace)

    def replace(self, slot: int) -> None:
        """Kills the slot's process; the next jobs in this slot get a new one."""
        executor, self._executors[slot] = self._executors[slot], None
        if executor is not None:
            executor.shutdown(wait=False, kill_workers=True)

    def died(self, error: BaseException) -> bool:
        """Whether a worker process ended, rather than that it could not be reached."""
        from loky.process_executor import BrokenProcessPool

        return isinstance(error, BrokenProcessPool)

    def check(self, root: Path) -> None:
        """Nothing to refuse: workers of this machine see the store."""

    def close(self) -> None:
        """Kills all processes and puts the warning filters back."""
        for slot in range(self.size):
            self.replace(slot)
        self._filters.__exit__(None, None, None)
