"""How far `run_all` is, with the time left: a bar where there is a terminal, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from disobey.training.execution.engine import Progress as State


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[State], None] | None]:
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
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
