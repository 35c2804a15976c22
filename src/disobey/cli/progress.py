"""How far `run_all` is, with the time left: a bar where there is a terminal, a plain line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from disobey.training.execution.engine import Progress as State

EVERY = 60.0  # seconds between two plain lines


class PlainLines:
    """A line a minute for logs: how many runs, which share of the steps, the time that is left at this rate."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.began = self.said = clock()

    def __call__(self, state: State) -> None:
        """Prints a line where a minute has passed since the last one."""
        now = self.clock()
        if now - self.said < EVERY:
            return
        self.said = now
        text = f"disobey: {100 * state.share:.0f}% of the training steps, {state.done} of {state.total} runs"
        text += f", {state.failed} failed" * bool(state.failed)
        if state.share > 0:
            left = (now - self.began) * (1 - state.share) / state.share
            text += f", about {max(1, round(left / 60))} min left"
        print(text, file=sys.stderr, flush=True)


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[State], None] | None]:
    """What `run_all` tells its progress to; None where nobody wants to know."""
    console = Console(stderr=True)
    if quiet:
        yield None
        return
    if not console.is_terminal:
        yield PlainLines()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    # The rate of the last minutes, not of the last moments: runs differ in length.
    with Progress(*columns, console=console, transient=True, speed_estimate_period=120) as bar:
        task = bar.add_task("training", total=1.0)

        def show(state: State) -> None:
            text = f"{state.done}/{state.total} runs"
            if state.reused:
                text += f", {state.reused} reused"
            if state.failed:
                text += f", [red]{state.failed} failed[/red]"
            bar.update(task, completed=state.share, description=text)

        yield show
