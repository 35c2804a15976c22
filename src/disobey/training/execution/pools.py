"""The workers that an option asks for."""

from __future__ import annotations

import os

from disobey.errors import refusal
from disobey.training.execution.workers import Inline, Local, Pool


def worker_pool(workers: int | str, device: str) -> Pool:
    """The workers that were asked for.

    Args:
        workers: a number, 0 (inside this process), ``auto`` (one for every core this process may use) or ``ray``.
        device: ``auto``, ``cpu`` or ``cuda``: on a Ray cluster, whether tasks ask for a GPU.

    Raises:
        Refusal: ``bad-workers`` or ``no-ray``.
    """
    if workers == "ray":
        from disobey.training.execution.cluster import Ray

        return Ray(device)
    if workers == "auto":
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    try:
        number = int(workers)
    except ValueError:
        number = -1
    if number < 0:
        raise refusal("bad-workers", "workers as a number from 0, 'auto' or 'ray'", repr(workers), "--workers auto")
    return Inline() if number == 0 else Local(number)
