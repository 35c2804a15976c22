"""Signs of life: how far each worker's run is, and which runs have stopped giving any."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from disobey.errors import printable
from disobey.training.execution.workers import heartbeat
from disobey.training.recipe import Run

SILENCE = 10  # times the usual time between two signs
LEAST = 60.0  # seconds of silence that are never remarkable
START = 600.0  # seconds before the first sign: data are read, a teacher is asked


@dataclass(eq=False)
class _Pulse:
    runs: Sequence[Run]
    last: float
    steps: int = 0
    between: list[float] = field(default_factory=list)  # seconds between signs
    said: bool = False


class Vitals:
    """Reads the heartbeats that workers leave in the store. One for all runs of a worker.

    say: is told once of a run that has been silent for ten times its usual. stall: seconds of silence after which a run
    is to be ended; 0: never.
    """

    def __init__(
        self, root: Path, say: Callable[[str], None], stall: float = 0.0, clock: Callable[[], float] = time.monotonic
    ):
        self.root, self.say, self.stall, self.clock = root, say, stall, clock
        self._pulses: dict[int, _Pulse] = {}

    def began(self, slot: int, runs: Sequence[Run]) -> None:
        """A worker has been given these runs."""
        self._pulses[slot] = _Pulse(runs, self.clock())

    def steps(self, slot: int) -> int:
        """How many steps the worker's runs have done, as far as it has told."""
        pulse = self._pulses[slot]
        with contextlib.suppress(OSError, ValueError):
            told = int(heartbeat(self.root, pulse.runs[0].id).read_text() or 0)
            if told != pulse.steps:
                now = self.clock()
                if pulse.steps:
                    pulse.between.append(now - pulse.last)
                pulse.steps, pulse.last, pulse.said = told, now, False
        return pulse.steps

    def silent(self, slot: int) -> str:
        """Why the worker's runs are to be ended, "" where they are not. Says so where they are merely slow."""
        self.steps(slot)
        pulse = self._pulses[slot]
        silence = self.clock() - pulse.last
        run = pulse.runs[0]
        if self.stall and silence > self.stall:
            return f"no sign of life for {silence / 60:.1f} min after step {pulse.steps}: ended by --stall-timeout"
        usual = statistics.median(pulse.between) if pulse.between else None
        if not pulse.said and silence > (START if usual is None else max(LEAST, SILENCE * usual)):
            pulse.said = True
            name = printable(run.recipe.name or run.id)
            told = f", {usual:.1f} s as a rule" if usual is not None else ""
            self.say(
                f"{name}, seed {run.seed}: no sign of life for {silence:.0f} s after step {pulse.steps}{told}; "
                "--stall-timeout MINUTES ends such runs"
            )
        return ""
