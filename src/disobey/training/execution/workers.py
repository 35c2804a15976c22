"""Where runs happen: in this process, or in local worker processes (loky). A Ray cluster is `cluster.Ray`.

One executor of one process per worker, so that a killed worker takes only its own runs with it and everybody knows
which.
"""

from __future__ import annotations

import ctypes
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

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")

EVERY = 600.0  # seconds between two checkpoints within a run (`savepoint`, which brings torch)
Job = tuple[str, int, str]  # a recipe as JSON, a seed, the name, which is no part of the recipe's JSON


@dataclass(frozen=True)
class Answer:
    """What a worker says of one run: done, busy (another process has it), or failed with why.

    ``damaged``: a record that it needs is not as it was written (message: that run's id, trace: why). ``full``: the
    store cannot be written any more.
    """

    status: str  # done | busy | failed | damaged | full
    message: str = ""
    trace: str = ""


class Pool(Protocol):
    size: int

    def submit(
        self, slot: int, root: Path, jobs: Sequence[Job], device: str, checkpoint: float = EVERY
    ) -> Future[list[Answer]]: ...
    def replace(self, slot: int) -> None: ...
    def died(self, error: BaseException) -> bool: ...
    def check(self, root: Path) -> None: ...
    def close(self) -> None: ...


def work(root: Path, jobs: Sequence[Job], device: str, checkpoint: float = EVERY) -> list[Answer]:
    """One run, or several as a stack, in whatever process this is: an answer each, in their order.

    Never raises for a failed run: the failure is the answer.
    """
    from disobey.records.store import Store
    from disobey.training.observers import Heartbeat
    from disobey.training.recipe import Recipe, Run
    from disobey.training.stacked.train import train_stack
    from disobey.training.train import train

    runs = [Run(replace(Recipe.from_json(recipe), name=name), seed) for recipe, seed, name in jobs]
    store = Store(root)
    beat = Heartbeat(heartbeat(root, runs[0].id))  # the first run's stands for all of a stack
    try:
        if len(runs) > 1:
            found = train_stack(runs, store, device=device, observers=lambda run: [beat])
            return [Answer("done") if not isinstance(one, Exception) else _failed(one) for one in found]
        train(runs[0], store, device=device, wait=False, observers=[beat], checkpoint=checkpoint)
        return [Answer("done")]
    except Exception as error:
        return [_failed(error)] * len(runs)
    finally:
        beat.path.unlink(missing_ok=True)


def _failed(error: Exception) -> Answer:
    from disobey.records.files import no_space
    from disobey.records.store import Busy, Damaged

    if isinstance(error, Busy):
        return Answer("busy")
    if isinstance(error, Damaged):
        return Answer("damaged", error.path.name, error.why)
    if no_space(error):
        return Answer("full", str(error))
    return Answer("failed", f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)))


def heartbeat(root: Path, run_id: str) -> Path:
    return root / "tmp" / f"{run_id}.step"


def calm_allocator() -> None:
    """Lets glibc keep and reuse large blocks instead of returning them to the system after every step.

    Cuts 1.1 to 1.45 times off convolution steps (benchmarks/training.py). Does nothing elsewhere.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    trim_threshold, mmap_threshold = -1, -3
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, 2**31 - 1)


def prepare_worker(parent: int | None = None) -> None:
    """One thread, a calm allocator; ends with the process ``parent`` that it works for."""
    import torch

    torch.set_num_threads(1)
    calm_allocator()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """A killed parent cannot stop its workers: they notice that they were handed to another."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


class Inline:
    """This process, one run after the other: for debugging and for one run."""

    size = 1

    def __init__(self) -> None:
        import torch

        self.threads = torch.get_num_threads()
        prepare_worker()

    def submit(
        self, slot: int, root: Path, jobs: Sequence[Job], device: str, checkpoint: float = EVERY
    ) -> Future[list[Answer]]:
        future: Future[list[Answer]] = Future()
        future.set_result(work(root, jobs, device, checkpoint))
        return future

    def replace(self, slot: int) -> None:
        """Nothing: this process is the worker."""

    def died(self, error: BaseException) -> bool:
        """Never: with it, nobody would be left to ask."""
        return False

    def check(self, root: Path) -> None:
        """Nothing: the store is this process's own."""

    def close(self) -> None:
        import torch

        torch.set_num_threads(self.threads)


class Local:
    """Worker processes on this machine, one thread each."""

    def __init__(self, size: int):
        # `calm_allocator` keeps memory, which loky takes for a leak: it restarts the worker between two runs and says so.
        warnings.filterwarnings("ignore", message="A worker was restarted while some jobs", category=UserWarning)
        self.size = size
        self._executors: list[Any] = [None] * size

    def submit(
        self, slot: int, root: Path, jobs: Sequence[Job], device: str, checkpoint: float = EVERY
    ) -> Future[list[Answer]]:
        if self._executors[slot] is None:
            from loky import ProcessPoolExecutor

            self._executors[slot] = ProcessPoolExecutor(
                max_workers=1, timeout=None, initializer=prepare_worker, initargs=(os.getpid(),), env=THREADS
            )
        return self._executors[slot].submit(work, root, jobs, device, checkpoint)

    def replace(self, slot: int) -> None:
        """Forgets a dead worker; the next run in this slot gets a new one."""
        executor, self._executors[slot] = self._executors[slot], None
        if executor is not None:
            executor.shutdown(wait=False, kill_workers=True)

    def died(self, error: BaseException) -> bool:
        """Whether a worker process ended, rather than that it could not be asked."""
        from loky.process_executor import BrokenProcessPool

        return isinstance(error, BrokenProcessPool)

    def check(self, root: Path) -> None:
        """Nothing: workers of this machine see the store."""

    def close(self) -> None:
        for slot in range(self.size):
            self.replace(slot)
