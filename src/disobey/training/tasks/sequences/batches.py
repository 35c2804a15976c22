"""The sequences of a task by name: new ones every step, or a fixed pool; and those of the evaluation.

Tasks: a group (``S3``, ``A4``, ``Z5`` ...; see `data.sources.sequences.group`), ``parity``, ``copying``,
``arithmetic``, ``brackets``, and, asked at the last position alone, ``last-parity``, ``even-pairs`` and
``cycle-navigation``. Shapes: B batch, T time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disobey.data.sources import sequences
from disobey.data.sources.sequences import Sequences
from disobey.errors import refusal
from disobey.training.batches import steps_of
from disobey.training.recipe import Run, sequence_spec
from disobey.training.seeds import numpy_stream, stream_seed
from disobey.training.specs import SequenceSpec, sequence_task, stream_of

SHORTEST_BATCH = 32  # sequences, where the recipe counts tokens
EVALUATION = 10**9  # seeds of the evaluation's sequences: the same for every run, none of them a training seed

GENERATORS: dict[str, Callable[[int, int, int], Sequences]] = {
    "parity": sequences.parity,
    "last-parity": lambda *drawn: sequences.at_end(sequences.parity(*drawn)),
    "even-pairs": lambda *drawn: sequences.at_end(sequences.even_pairs(*drawn)),
    "cycle-navigation": lambda *drawn: sequences.at_end(sequences.cycle_navigation(*drawn)),
    "copying": lambda count, length, seed: sequences.copying(count, length, seed, symbols=8),
    "arithmetic": sequences.modular_arithmetic,
    "brackets": lambda count, length, seed: sequences.modular_arithmetic(count, length, seed, brackets=True),
}


def sequences_of(task: str, count: int, length: int, seed: int) -> Sequences:
    """``count`` sequences of a task.

    Raises:
        Refusal: ``unknown-sequence-task``, also for a length that the task does not have.

    >>> sequences_of("S3", 2, 5, seed=0).targets.shape, sequences_of("copying", 2, 5, seed=0).targets.shape
    ((2, 5), (2, 11))
    """
    if task in GENERATORS:
        return GENERATORS[task](count, length, seed)
    try:
        return sequences.word_problem(task, count, length, seed)
    except ValueError as error:
        expected = f"a task out of {', '.join(GENERATORS)} or a group"
        raise refusal("unknown-sequence-task", expected, f"{task!r}: {error}") from error


def tracks_state(task: str) -> bool:
    """Whether the answer at t is a function of the first t tokens, asked at every t: only such sequences can be cut."""
    return task == "parity" or task not in GENERATORS


def powers_of(task: str, length: int) -> Sequences | None:
    """The constant words g, g², ... of a group's elements but the identity; None where the task has no group.

    >>> powers_of("parity", 4).targets.tolist()
    [[1, 0, 1, 0]]
    """
    return sequences.constant_words("Z2" if task == "parity" else task, length) if tracks_state(task) else None


def evaluation_sequences(task: str, count: int, length: int) -> Sequences:
    """The sequences of this length on which every run is evaluated."""
    return sequences_of(task, count, length, EVALUATION + length)


def drawn_lengths(spec: SequenceSpec, steps: int, generator: np.random.Generator) -> NDArray:
    """The length of every step, ``(steps,)``; the longest rises at first where the recipe says so.

    It depends on the step and never on the loss, so that all arms of a seed see the same sequences.

    >>> drawn_lengths(SequenceSpec(longest=5, grow=0.5), 8, np.random.default_rng(0)).tolist()
    [2, 3, 3, 4, 3, 3, 2, 2]
    """
    if not spec.grow:
        return generator.integers(spec.shortest, spec.longest + 1, size=steps)
    risen = np.arange(steps) / (spec.grow * steps)
    top = np.minimum(spec.longest, spec.shortest + (risen * (spec.longest - spec.shortest + 1)).astype(np.int64))
    return generator.integers(spec.shortest, top + 1)


def with_constant_words(task: str, drawn: Sequences, share: float) -> Sequences:
    """The sequences with a share of them replaced by constant words, each of its own first token.

    >>> with_constant_words("Z3", sequences_of("Z3", 2, 3, seed=1), 0.5).inputs.tolist()
    [[1, 1, 1], [2, 0, 0]]
    """
    rows = round(share * len(drawn.inputs))
    inputs = drawn.inputs.copy()
    inputs[:rows] = inputs[:rows, :1]
    products = sequences.prefix_products(inputs, sequences.group("Z2" if task == "parity" else task))
    return Sequences(inputs, products, drawn.tokens, drawn.classes)


class SequenceBatch(NamedTuple):
    """What one step sees. answered: where a target is asked for."""

    inputs: Tensor  # (B, T)
    targets: Tensor  # (B, T)
    answered: Tensor  # (B, T) bool


class SequenceBatches:
    """The batches of a run: `loop.Batches`, the same for all paired arms. ``draw(step)`` gives them as `Sequences`.

    Raises:
        Refusal: ``pool-of-whole-sequences``, for a pool of a task whose sequences cannot be cut;
            ``constant-words`` for constant words of a task that is no group.
    """

    def __init__(self, run: Run, device: torch.device | None = None):
        recipe, spec = run.recipe, sequence_spec(run.recipe)
        self.task, self.batch, self.steps, self.device = (
            sequence_task(recipe.data.name),
            recipe.optim.batch,
            steps_of(run),
            device,
        )
        generator = numpy_stream(run.seed, "order", recipe.replica)
        self.lengths = drawn_lengths(spec, recipe.optim.steps, generator)
        self.tokens, self.constant = spec.tokens, spec.constant
        if self.constant and not tracks_state(self.task):
            raise refusal("constant-words", "a group or parity for constant words", repr(self.task))
        self.first = stream_seed(run.seed, stream_of(spec, "words"), recipe.replica)
        self.pool: Sequences | None = None
        if spec.words:
            if not tracks_state(self.task):
                raise refusal(
                    "pool-of-whole-sequences", "a group or parity for a pool, whose sequences are cut", repr(self.task)
                )
            # the pool belongs to the seed: replicas differ in initialization and order and share their data
            self.pool = sequences_of(
                self.task, spec.words, spec.longest, stream_seed(run.seed, stream_of(spec, "pool"))
            )
            self.rows = generator.integers(spec.words, size=(recipe.optim.steps, self.batch))

    def __len__(self) -> int:
        return self.steps

    def __call__(self, step: int) -> SequenceBatch:
        """The batch of a step, on the device."""
        drawn = self.draw(step)
        inputs = torch.as_tensor(drawn.inputs, device=self.device)
        targets = torch.as_tensor(drawn.targets, device=self.device)
        return SequenceBatch(inputs, targets, targets != sequences.IGNORED)

    def draw(self, step: int) -> Sequences:
        """Inputs and targets (B, T), all of one length."""
        length = int(self.lengths[step])
        if self.pool is None:
            count = max(SHORTEST_BATCH, self.tokens // length) if self.tokens else self.batch
            drawn = sequences_of(self.task, count, length, self.first + step)
            return with_constant_words(self.task, drawn, self.constant) if self.constant else drawn
        rows = self.rows[step]
        pool = self.pool
        inputs, targets = (np.ascontiguousarray(part[rows, :length]) for part in (pool.inputs, pool.targets))
        return Sequences(inputs, targets, pool.tokens, pool.classes)
