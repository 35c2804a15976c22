"""The workers that an option asks for."""

from __future__ import annotations

import os

from disobey.errors import refusal
from disobey.training.execution.workers import Inline, Local, Pool


def worker_pool(workers: int | str, device: str) -> Pool:
    """The workers that were asked for.

    Args:
        workers: a number, 0 (inside this process), ``auto`` (one for every core this process may use), ``ray``,
            ``slurm`` or ``slurm:N`` (N jobs at a time).
        device: ``auto``, ``cpu`` or ``cuda``: on a cluster, whether tasks ask for a GPU.

    Raises:
        Refusal: ``bad-workers``, ``no-ray`` or ``no-submitit``.
    """
    if workers == "ray":
        from disobey.training.execution.cluster import Ray

        return Ray(device)
    if isinstance(workers, str) and workers.partition(":")[0] == "slurm":
        from disobey.training.execution.slurm import JOBS, Slurm

        count = workers.partition(":")[2] or str(JOBS)
        if count.isdigit() and int(count) > 0:
            return Slurm(device, int(count))
    if workers == "auto":
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    try:
        number = int(workers)
    except ValueError:
        number = -1
    if number < 0:
        raise refusal(
            "bad-workers", "workers as a number from 0, 'auto', 'ray' or 'slurm'", repr(workers), "--workers auto"
        )
    return Inline() if number == 0 else Local(number)
