"""Next-token prediction on running text (data named ``text:PACKAGE#SIZE``), each window of it seen at most once.

The record has weights, a summary of what is read on the test text (see `readings`) and in ``history``: ``loss``
(steps,), and the same readings as means over windows, so that intervals can count windows and not tokens. It has no
predictions: a row of them is as wide as the vocabulary.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from disobey.training.context import Context
from disobey.training.facts import Facts
from disobey.training.recipe import Run

if TYPE_CHECKING:
    from disobey.training.tasks.next_token.fitting import Trained


def check(run: Run, facts: Facts) -> None:
    """Refuses text, networks and options that do not go together; every recipe is tried once."""
    if facts.is_new(run.recipe):
        from disobey.training.tasks.next_token.network import check_next_token

        check_next_token(run)


def train(run: Run, context: Context) -> Trained:
    """Trains the run's network and reads it on the test text."""
    from disobey.training.tasks.next_token.fitting import train_next_token

    return train_next_token(run, context)


def write(folder: Path, trained: Trained) -> None:
    """Weights, history and summary."""
    from disobey.training.tasks.next_token.fitting import write_next_token

    write_next_token(folder, trained)
