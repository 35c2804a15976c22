"""Checkpoints within a run: everything that the loop has changed, so that a long run continues where it was killed.

What is restored is all that the next step reads: weights, the optimizer's moments, generators, losses, kept and best
weights. So a resumed run ends with the bits of one that was never interrupted. Short runs, and stacks, write none.
"""

from __future__ import annotations

import hashlib
import io
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from disobey.bounds import read_bounded
from disobey.errors import Refusal
from disobey.records.files import atomic

EVERY = 600.0  # seconds between two checkpoints, as in `execution.workers`
MAGIC = b"disobey savepoint 1\n"
LARGEST = 1 << 40


class Paused(Exception):
    """A run that stopped because the CPU time that it was given is spent; its checkpoint lies in the store."""

    id = "paused"


class Keeper(Protocol):
    """Something that changes while a run trains and is not part of its model: generators, or what was measured."""

    def state(self) -> dict[str, Any]:
        """Tensors, numbers, texts, and mappings of them."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Puts that back."""
        ...


@dataclass(eq=False)
class Savepoint:
    """Where a run's checkpoint lies, and when the next is due.

    Attributes:
        path: the file.
        keepers: what changes besides model, optimizer and losses.
        every: seconds between two checkpoints; the first comes that long after the start.
        clock: seconds.
        limit: CPU-seconds after which the run writes a checkpoint and stops.
        before: what earlier calls spent on the run, up to the checkpoint that was read.
        how: what else its bits depend on: a checkpoint of a run that was computed otherwise is not read.
    """

    path: Path
    keepers: Sequence[Keeper] = ()
    every: float = EVERY
    clock: Callable[[], float] = time.monotonic
    limit: float = math.inf
    before: dict[str, float] = field(default_factory=lambda: {"seconds": 0.0, "cpu_seconds": 0.0})
    how: Sequence[str] = ()
    _due: float = field(init=False)
    _began: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        self._due = self.clock() + self.every
        self._began = time.perf_counter(), time.process_time()

    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self.clock() >= self._due or self.over()

    def over(self) -> bool:
        """Whether the CPU time of this call is spent."""
        return time.process_time() - self._began[1] >= self.limit

    def spent(self) -> dict[str, float]:
        """Seconds and CPU-seconds of the run so far, those of earlier calls too."""
        seconds, cpu = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        return {"seconds": self.before["seconds"] + seconds, "cpu_seconds": self.before["cpu_seconds"] + cpu}

    def write(
        self,
        done: int,
        model: nn.Module,
        opt: torch.optim.Optimizer,
        losses: Tensor,
        memory: Keeper,
        besides: Sequence[Tensor],
    ) -> None:
        """Writes everything after ``done`` steps, unless the run has diverged."""
        if bool(torch.isfinite(losses[:done]).all()):
            state = {
                "made": [*made_with(losses.device), *self.how],
                "done": done,
                "spent": self.spent(),
                "model": model.state_dict(),
                "optimizer": opt.state_dict()["state"],  # groups hold rates, which every step sets
                "besides": [value.detach() for value in besides],
                "losses": losses[:done],
                "memory": memory.state(),
                "keepers": [keeper.state() for keeper in self.keepers],
                "cpu": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state_all() if losses.device.type == "cuda" else [],
            }
            buffer = io.BytesIO()
            torch.save(state, buffer)
            body = buffer.getbuffer()
            with atomic(self.path) as temporary, open(temporary, "wb") as file:
                file.write(MAGIC + hashlib.sha256(body).digest())
                file.write(body)
        self._due = self.clock() + self.every

    def read(
        self,
        model: nn.Module,
        opt: torch.optim.Optimizer,
        losses: Tensor,
        memory: Keeper,
        besides: Sequence[Tensor],
    ) -> int:
        """Puts everything back; how many steps were done, 0 where there is no checkpoint that can be believed."""
        state = self._state(losses.device)
        if state is None:
            return 0
        model.load_state_dict(state["model"])
        opt.load_state_dict({"state": state["optimizer"], "param_groups": opt.state_dict()["param_groups"]})
        with torch.no_grad():
            for value, kept in zip(besides, state["besides"], strict=True):
                value.copy_(kept)
        losses[: state["done"]] = state["losses"]
        memory.restore(state["memory"])
        for keeper, kept in zip(self.keepers, state["keepers"], strict=True):
            keeper.restore(kept)
        self.before = state.get("spent", self.before)  # checkpoints of earlier versions have none
        torch.set_rng_state(state["cpu"].cpu())
        if state["cuda"]:
            torch.cuda.set_rng_state_all([value.cpu() for value in state["cuda"]])
        return state["done"]

    def _state(self, device: torch.device) -> dict[str, Any] | None:
        """What was written, by the same versions on the same kind of device: others have other bits."""
        try:
            data = read_bounded(self.path, LARGEST)
        except (OSError, Refusal):
            return None
        head = len(MAGIC) + 32
        body = memoryview(data)[head:]
        if data[:head] != MAGIC + hashlib.sha256(body).digest():
            return None
        state = torch.load(io.BytesIO(body), map_location=device, weights_only=True)
        return state if state["made"] == [*made_with(device), *self.how] else None


def made_with(device: torch.device) -> list[str]:
    """What the bits of a run depend on besides its recipe."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return [torch.__version__ + "", device.type, name]
