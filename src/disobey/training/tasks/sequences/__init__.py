"""Learning from token sequences, whose loss is a mean over the answers of a batch.

The record has weights, the summary and in ``history``: ``loss`` (steps,), ``eval_*`` (see `evaluation` and `probe`)
and, with state distillation, ``unexplained`` (steps,) (see `states`). It has no predictions and no examples, as the
sequences are generated from their seeds.

What does the work is imported when it is first asked for: recurrent layers bring torch's compiler, three seconds of
imports that other tasks do without. (So no module of this folder may have the name of one of the three functions.)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from disobey.training.context import Context
from disobey.training.facts import Facts
from disobey.training.recipe import Run

if TYPE_CHECKING:
    from disobey.training.tasks.sequences.fitting import Trained


def check(run: Run, facts: Facts) -> None:
    """Refuses tasks, layers and options that do not go together; every recipe is tried once."""
    if facts.is_new(run.recipe):
        from disobey.training.tasks.sequences.model import check_sequence

        check_sequence(run)


def train(run: Run, context: Context) -> Trained:
    """Trains, evaluates and probes the run's network."""
    from disobey.training.tasks.sequences.fitting import train_sequence

    return train_sequence(run, context)


def write(folder: Path, trained: Trained) -> None:
    """Weights, history and summary."""
    from disobey.training.tasks.sequences.fitting import write_sequence

    write_sequence(folder, trained)
