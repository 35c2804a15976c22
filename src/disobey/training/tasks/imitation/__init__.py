"""Imitation: a student with a class head and an auxiliary head, taught its teacher's outputs on any inputs.

The record has weights, predictions of the class head by split, and in its summary what `readings` read off the student.
In ``history``: ``loss`` (steps,), and ``curve_*`` with its reading ``curve`` times during training.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from disobey.training.context import Context
from disobey.training.facts import Facts
from disobey.training.recipe import Run

if TYPE_CHECKING:
    from disobey.training.tasks.imitation.fitting import Imitated


def check(run: Run, facts: Facts) -> None:
    """Refuses data, networks and options that do not go together; every recipe is tried once."""
    if facts.is_new(run.recipe):
        from disobey.training.tasks.imitation.network import check_imitation

        check_imitation(run)


def train(run: Run, context: Context) -> Imitated:
    """Trains the run's network and reads it."""
    from disobey.training.tasks.imitation.fitting import train_imitation

    return train_imitation(run, context)


def write(folder: Path, trained: Imitated) -> None:
    """Weights, predictions, examples, history and summary."""
    from disobey.training.tasks.imitation.fitting import write_imitation

    write_imitation(folder, trained)
