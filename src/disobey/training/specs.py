"""`SequenceSpec`: what a run on generated sequences needs besides data, model and optimizer, as a value.

Such a run's data is named ``sequence:TASK`` (made anew every step, so there are no splits), its model is a key of
`models.sequence.LAYERS`, and its record holds accuracies by length instead of predictions (see `sequence_loop`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PREFIX = "sequence:"


@dataclass(frozen=True)
class StateTeaching:
    """How a student's states are tied to its teacher's, by linear maps that are learned with it and then thrown away.

    weight: of the share of the variance of the teacher's states that a linear map of the student's leaves unexplained.
    control: ``time`` gives the states of a word in another order of time, ``words`` those of another word of the batch.
    feed: for that share of training the student's mixer reads a linear map of the teacher's previous state, not its own.
    """

    weight: float = 1.0
    control: Literal["none", "time", "words"] = "none"
    feed: float = 0.0

    def __post_init__(self):
        if self.weight <= 0 or not 0 <= self.feed <= 1:
            raise ValueError(f"expected weight above 0 and feed in [0, 1], came {self.weight} and {self.feed}")


@dataclass(frozen=True)
class SequenceSpec:
    """The layer's options, the words it learns from and those it is asked about. Every field decides the result."""

    inner: int = 128  # width of the recurrent state
    rank: int = 2
    mixer: Literal["householder", "diagonal_low_rank", "kronecker"] = "householder"
    scale: float = 1.0
    state_dependent: bool = True
    normalize: bool = True  # whether the mixer reads the state divided by its root mean square
    sweeps: int = 0  # most iterations in training; 0: the exact solver; 1: a diagonal recurrence
    tol: float = 0.0  # where an iteration may stop; 0: exactly that many sweeps
    gradient: Literal["unroll", "ift", "one_step"] = "unroll"  # unroll: through all sweeps, exact for what is computed
    shortest: int = 2
    longest: int = 12  # training lengths, one drawn per batch
    words: int = 0  # a fixed pool of so many words; 0: new ones every step
    start: Literal["fresh", "teacher"] = "fresh"  # which weights training starts from
    states: StateTeaching | None = None  # regression on the teacher's states, besides the targets
    lengths: tuple[int, ...] = (8, 12, 16, 24, 40, 64)  # of the evaluation
    budgets: tuple[int, ...] = ()  # sweeps at test, besides as in training
    count: int = 256  # words a length of the evaluation
    powers: int = 40  # constant words g, g², ... up to this power, where the task is a group's
    probe: bool = False  # whether a linear probe of the answers is fitted to the states, before and after training

    def __post_init__(self):
        if not 1 <= self.shortest <= self.longest:
            raise ValueError(f"expected 1 <= shortest <= longest, came {self.shortest} and {self.longest}")
        if self.sweeps < 0 or self.tol < 0 or self.words < 0 or any(b < 0 for b in self.budgets):
            raise ValueError("expected sweeps, tol, words and budgets of at least 0")
        if not self.lengths or self.count < 1:
            raise ValueError("expected at least one length and one word to evaluate on")
        if self.gradient != "unroll" and self.sweeps and not self.tol:
            raise ValueError(
                f"expected tol above 0 for gradient={self.gradient!r}: it is about a solution, not a budget"
            )


def task_of(name: str) -> str:
    """The task in a data name.

    >>> task_of("sequence:S3")
    'S3'
    """
    return name.removeprefix(PREFIX)
