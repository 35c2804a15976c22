"""The words of a task by name: new ones every step, or a fixed pool; and those of the evaluation.

Tasks: a group (``S3``, ``A4``, ``Z5`` ...; see `data.sequences.group`), ``parity``, ``copying``, ``arithmetic``, ``brackets``.
Shapes: B batch, T time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from disobey.data.sources import sequences
from disobey.data.sources.sequences import Sequences
from disobey.training.recipe import Run
from disobey.training.seeds import numpy_stream, stream_seed
from disobey.training.specs import task_of

EVALUATION = 10**9  # seeds of the evaluation's words: the same words for every run, none of them a training seed

RULES: dict[str, Callable[[int, int, int], Sequences]] = {
    "parity": sequences.parity,
    "copying": lambda count, length, seed: sequences.copying(count, length, seed, symbols=8),
    "arithmetic": sequences.modular_arithmetic,
    "brackets": lambda count, length, seed: sequences.modular_arithmetic(count, length, seed, brackets=True),
}


def words_of(task: str, count: int, length: int, seed: int) -> Sequences:
    """``count`` sequences of a task. Raises `ValueError` for a task that is none.

    >>> words_of("S3", 2, 5, seed=0).targets.shape, words_of("copying", 2, 5, seed=0).targets.shape
    ((2, 5), (2, 11))
    """
    if task in RULES:
        return RULES[task](count, length, seed)
    try:
        return sequences.word_problem(task, count, length, seed)
    except ValueError as error:
        raise ValueError(f"expected a task out of {', '.join(RULES)} or a group; came {task!r}: {error}") from error


def tracks_state(task: str) -> bool:
    """Whether the answer at t is a function of the first t tokens, asked at every t: only such words can be cut."""
    return task == "parity" or task not in RULES


def powers_of(task: str, length: int) -> Sequences | None:
    """The constant words g, g², ... of a group's elements but the identity; None where the task has no group.

    >>> powers_of("parity", 4).targets.tolist()
    [[1, 0, 1, 0]]
    """
    return sequences.constant_words("Z2" if task == "parity" else task, length) if tracks_state(task) else None


def evaluation_words(task: str, count: int, length: int) -> Sequences:
    """The words that every run is asked about at this length."""
    return words_of(task, count, length, EVALUATION + length)


class Stream:
    """The batches of a run: ``stream(step)`` gives `Sequences` (B, T) of one length, the same for all paired arms."""

    def __init__(self, run: Run):
        recipe, spec = run.recipe, run.recipe.sequence
        assert spec is not None
        self.task, self.batch, self.spec = task_of(recipe.data.name), recipe.optim.batch, spec
        luck = numpy_stream(run.seed, "order", recipe.replica)
        self.lengths = luck.integers(spec.shortest, spec.longest + 1, size=recipe.optim.steps)
        self.first = stream_seed(run.seed, "views", recipe.replica)
        self.pool: Sequences | None = None
        if spec.words:
            if not tracks_state(self.task):
                raise ValueError(f"expected a group or parity for a pool of words, which are cut; came {self.task!r}")
            # the pool belongs to the seed: replicas differ in their luck and share their data
            self.pool = words_of(self.task, spec.words, spec.longest, stream_seed(run.seed, "control"))
            self.rows = luck.integers(spec.words, size=(recipe.optim.steps, self.batch))

    def __call__(self, step: int) -> Sequences:
        length = int(self.lengths[step])
        if self.pool is None:
            return words_of(self.task, self.batch, length, self.first + step)
        rows = self.rows[step]
        pool = self.pool
        inputs, targets = (np.ascontiguousarray(part[rows, :length]) for part in (pool.inputs, pool.targets))
        return Sequences(inputs, targets, pool.tokens, pool.classes)
