"""The workers that an option asks for."""

from __future__ import annotations

import os

from disobey.errors import refusal
from disobey.training.execution.workers import Inline, Local, Pool

# Bytes of a GPU for each worker: its own CUDA context, padded CIFAR images (1.9 GiB) and what a ResNet's pass keeps.
GPU_SHARE = 4 << 30


def worker_pool(workers: int | str, device: str) -> Pool:
    """The workers that were asked for.

    Args:
        workers: a number, 0 (inside this process), ``auto`` (one for every core this process may use, on a GPU no more
            than its memory has shares for), ``ray``, ``slurm`` or ``slurm:N`` (N jobs at a time).
        device: ``auto``, ``cpu`` or ``cuda``: whether tasks of a cluster ask for a GPU, and workers here share one.

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
        workers = _here(device)
    try:
        number = int(workers)
    except ValueError:
        number = -1
    if number < 0:
        raise refusal(
            "bad-workers", "workers as a number from 0, 'auto', 'ray' or 'slurm'", repr(workers), "--workers auto"
        )
    return Inline() if number == 0 else Local(number)


def _here(device: str) -> int:
    """How many workers this machine carries."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    if device == "cpu":
        return cores
    import torch

    if not torch.cuda.is_available():
        return cores
    return max(min(cores, torch.cuda.get_device_properties(0).total_memory // GPU_SHARE), 1)
