# pyright: reportMissingImports=false
"""Runs as jobs of a Slurm cluster, by submitit: one job a run or stack. All nodes must share store and environment.

Slurm's own variables choose where: ``SBATCH_PARTITION``, ``SBATCH_TIMELIMIT``, ``SBATCH_ACCOUNT``.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from disobey.errors import refusal
from disobey.packages import missing
from disobey.training.execution.workers import THREADS, USUAL, Answer, Job, Pace, prepare_worker, work

JOBS = 32  # at a time, unless --workers slurm:N says another number
MINUTES = 24 * 60  # a job may take, unless SBATCH_TIMELIMIT says another number
LOOK = 2.0  # seconds between two looks at a job


class Slurm:  # a `Pool`
    """Jobs of a Slurm cluster.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``: whether jobs ask for a GPU (``cuda`` only).
        jobs: at a time.
        cluster: ``slurm``; ``local`` runs the same jobs as processes of this machine, for trying.
    """

    def __init__(self, device: str, jobs: int = JOBS, *, cluster: str = "slurm"):
        try:
            import submitit
        except ImportError as error:
            raise missing("submitit", "--workers slurm") from error
        self._submitit: Any = submitit
        self.size, self._device, self._cluster = jobs, device, cluster
        self._executor: Any = None
        self._flying: dict[int, Any] = {}
        self._closed = threading.Event()

    def submit(
        self, slot: int, root: Path, jobs: Sequence[Job], device: str, pace: Pace = USUAL
    ) -> Future[list[Answer]]:
        """Sends a run or a stack to the cluster."""
        job = self._open(root).submit(_work, root.resolve(), jobs, device, pace)
        self._flying[slot] = job
        future: Future[list[Answer]] = Future()
        threading.Thread(target=self._watch, args=(job, future), daemon=True).start()
        return future

    def replace(self, slot: int) -> None:
        """Ends what this slot was doing, where it still is."""
        job = self._flying.pop(slot, None)
        if job is not None:
            with contextlib.suppress(Exception):  # gone already
                job.cancel()

    def died(self, error: BaseException) -> bool:
        """Whether a job ended without an answer, rather than one that raised."""
        return isinstance(error, self._submitit.core.utils.UncompletedJobError)

    def check(self, root: Path) -> None:
        """Refuses a machine without Slurm; a job that does not see the store cannot begin, since it lies there."""
        from submitit import AutoExecutor

        try:
            AutoExecutor(folder=root / "tmp", cluster=self._cluster)
        except RuntimeError as error:
            attempt = "this on a login node, or --workers auto"
            raise refusal("no-slurm", "Slurm (srun) on this machine", error, attempt, where="--workers") from error

    def close(self) -> None:
        """Cancels what is still running."""
        self._closed.set()
        for slot in list(self._flying):
            self.replace(slot)

    def _open(self, root: Path) -> Any:
        if self._executor is None:
            folder = root.resolve() / "slurm"
            self._executor = self._submitit.AutoExecutor(folder=folder, cluster=self._cluster)
            gpus = 1 if self._device == "cuda" else 0
            named = {} if self._cluster != "slurm" else {"name": "disobey", "cpus_per_task": 1}
            self._executor.update_parameters(timeout_min=MINUTES, gpus_per_node=gpus, **named)
        return self._executor

    def _watch(self, job: Any, future: Future[list[Answer]]) -> None:
        """Puts a job's answer into its future: submitit's jobs know no callbacks."""
        while not self._closed.is_set():
            if not job.done():
                self._closed.wait(LOOK)
                continue
            try:
                future.set_result(job.result())
            except Exception as error:
                future.set_exception(error)
            return


def _work(root: Path, jobs: Sequence[Job], device: str, pace: Pace = USUAL) -> list[Answer]:
    os.environ |= THREADS
    prepare_worker()
    return work(root, jobs, device, pace)
