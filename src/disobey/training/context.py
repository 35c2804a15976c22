"""What a training is given besides its run, and what it costs."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from disobey.records.store import Store
from disobey.training.acceleration import PLAIN, Acceleration
from disobey.training.observers import Observer
from disobey.training.recipe import Run
from disobey.training.savepoint import EVERY, Savepoint


@dataclass(frozen=True)
class Context:
    """Where teachers are found, where networks live, who sees the training, and how often long runs are kept.

    checkpoint: seconds between two checkpoints within a run; 0: none. limit: CPU-seconds after which a run with
    checkpoints stops at one. acceleration: how the steps of classifiers are computed.
    """

    store: Store
    device: torch.device
    observers: Sequence[Observer] = ()
    checkpoint: float = EVERY
    limit: float = math.inf
    acceleration: Acceleration = PLAIN

    def savepoint(self, run: Run) -> Savepoint | None:
        """Where the run leaves what it needs to go on after it was killed."""
        if not self.checkpoint:
            return None
        return Savepoint(self.store.resume_file(run.id), every=self.checkpoint, limit=self.limit)


class Clock:
    """Seconds since it was made, on top of what was spent ``before``."""

    def __init__(self, before: Mapping[str, float] | None = None) -> None:
        self.before: dict[str, Any] = {"seconds": 0.0, "cpu_seconds": 0.0, **(before or {})}
        self.started, self.cpu = time.perf_counter(), time.process_time()

    def cost(self) -> dict[str, Any]:
        """``seconds`` (wall) and ``cpu_seconds`` so far, and the other fields of ``before`` unchanged."""
        seconds, cpu = time.perf_counter() - self.started, time.process_time() - self.cpu
        before = self.before
        return {**before, "seconds": before["seconds"] + seconds, "cpu_seconds": before["cpu_seconds"] + cpu}
