"""Kinds of learning. Each is one module or folder with the three functions of `Task`, and one line in `TASKS`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, TypeVar

from disobey.training.context import Context
from disobey.training.facts import Facts
from disobey.training.recipe import Run
from disobey.training.tasks import classification, dense, detection, imitation, next_token, sequences

T = TypeVar("T")


class Task(Protocol[T]):
    """What the engine asks of a kind of learning; a module with these functions is one."""

    def check(self, run: Run, facts: Facts) -> None:
        """Refuses what cannot run, before anything is trained; trains nothing.

        Args:
            run: any run of this task.
            facts: what was found out about earlier runs, and where to note what is found out about this one.

        Raises:
            Refusal: the data, the model and the options do not go together.
        """
        ...

    def train(self, run: Run, context: Context) -> T:
        """Trains the run through `loop.fit`, with batches and a backward pass of its own. Its teachers are finished."""
        ...

    def write(self, folder: Path, trained: T) -> None:
        """Fills an empty folder with the record, through `record_writer.write_record`."""
        ...


TASKS: dict[str, Task[Any]] = {
    "classification": classification,
    "sequences": sequences,
    "imitation": imitation,
    "next_token": next_token,
    "dense": dense,
    "detection": detection,
}
"""By `Recipe.task`. How a third kind is added: docs/decisions/0004-tasks.md."""
