"""The one loop: take a batch, run forward and backward, step. Nothing here waits for the device.

Every kind of learning trains through `fit`, with batches and a backward pass of its own; only the stacked loop, which
trains many small networks at once, repeats its steps (`stacked.loop`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from disobey.training.observers import Observer
from disobey.training.optim import Rates, optimizer
from disobey.training.predict import in_chunks
from disobey.training.recipe import Recipe, Run
from disobey.training.savepoint import Paused, Savepoint

EVALUATIONS = 20  # on the validation split, where weights are chosen by it

B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)
M = TypeVar("M", bound=nn.Module)


class Batches(Protocol[B_co]):
    """The batches of a run: how many, and the one of every step."""

    def __len__(self) -> int: ...

    def __call__(self, step: int) -> B_co:
        """The batch of a step, from 0; asked for in order."""
        ...


Backward = Callable[[int, M, B], Tensor]
"""``backward(step, model, batch)`` adds to the parameters' gradients and gives the loss to write down, ()."""

Weights = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Fit:
    """What training left.

    Attributes:
        losses: the loss of every step, (steps,) float32.
        checks: validation score by the number of steps done.
        kept: weights by the number of steps done.
        chosen: the step whose weights the model holds now.
    """

    losses: Tensor
    checks: dict[int, float]
    kept: dict[int, Weights]
    chosen: int

    @property
    def history(self) -> dict[str, NDArray]:
        """The losses and the looks at the validation split, as records keep them."""
        history = {"loss": self.losses.numpy()}
        if self.checks:
            history["check_step"] = np.array(list(self.checks))
            history["check_accuracy"] = np.array(list(self.checks.values()))
        return history

    def weights(self, model: nn.Module) -> dict[str, Weights]:
        """The trained model's weights and those that were kept, by the name of their file in the record."""
        return {"last": model.state_dict(), **{str(step): kept for step, kept in self.kept.items()}}


class Diverged(ArithmeticError):
    """The loss is no longer a finite number."""

    id = "diverged"


def fit(
    model: M,
    run: Run,
    batches: Batches[B],
    backward: Backward[M, B],
    *,
    besides: Iterable[nn.Parameter] = (),
    score: Callable[[nn.Module], float] | None = None,
    observers: Sequence[Observer] = (),
    savepoint: Savepoint | None = None,
) -> Fit:
    """Trains ``model`` in place, one step a batch.

    Args:
        model: the network, on the device of the batches.
        run: its optimizer, which weights it keeps and how it chooses.
        batches: one batch a step.
        backward: forward and backward pass of a batch.
        besides: parameters that learn with the model and are not part of it (never clipped).
        score: the model's score on the validation split, larger is better; needed where the recipe evaluates there.
        observers: see the model after every ``every`` steps and after the last.
        savepoint: where a long run leaves what it needs to go on after it was killed.

    Raises:
        Diverged: a loss was no finite number.
        Paused: the CPU time that the savepoint allows is spent.
    """
    optim, steps = run.recipe.optim, len(batches)
    parameters = list(model.parameters())
    learned = [*parameters, *besides]
    opt = optimizer(optim, learned)
    rates = Rates(optim, opt)
    losses = torch.zeros(steps, device=parameters[0].device)
    memory = _Memory(run.recipe, steps, score)
    memory(0, model)
    patrol = Patrol()
    model.train()
    begin, ties = 0, learned[len(parameters) :]
    if savepoint is not None:
        begin = savepoint.read(model, opt, losses, memory, ties)
    for step in range(begin, steps):
        losses[step] = backward(step, model, batches(step))
        if optim.clip is not None:
            nn.utils.clip_grad_norm_(parameters, optim.clip)
        rates(step)
        opt.step()
        for parameter in learned:  # what zero_grad does, without its bookkeeping
            parameter.grad = None
        done = step + 1
        if patrol(done, losses):
            break
        memory(done, model)
        for observer in observers:
            if done % observer.every == 0 or done == steps:
                observer.record(done, model, losses)
        if savepoint is not None and savepoint.due():
            savepoint.write(done, model, opt, losses, memory, ties)
            if savepoint.over() and done < steps:
                raise Paused(f"stopped after {done} of {steps} steps")
    failure = diverged(losses)
    if failure is not None:
        raise failure
    return Fit(losses.cpu(), memory.checks, memory.kept, memory.choose(model))


class _Memory:
    """Weights that the recipe keeps, scores on the validation split, and the best weights by them."""

    def __init__(self, recipe: Recipe, steps: int, score: Callable[[nn.Module], float] | None):
        self.steps, self.score = steps, score
        self.keep, self.chooses = frozenset(recipe.keep), recipe.choose == "validation"
        self.every = evaluation_interval(recipe, steps)
        self.kept: dict[int, Weights] = {}
        self.checks: dict[int, float] = {}
        self.best: tuple[float, int, Weights] = (-math.inf, 0, {})

    def __call__(self, done: int, model: nn.Module) -> None:
        if done in self.keep:
            self.kept[done] = _copy(model)
        if self.every and done and (done % self.every == 0 or done == self.steps):
            assert self.score is not None
            self.checks[done] = self.score(model)
            if self.chooses and self.checks[done] > self.best[0]:
                self.best = (self.checks[done], done, _copy(model))

    def state(self) -> dict[str, Any]:
        """For a checkpoint within the run."""
        return {"kept": self.kept, "checks": self.checks, "best": list(self.best)}

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint within the run."""
        self.kept, self.checks = state["kept"], state["checks"]
        score, step, weights = state["best"]
        self.best = (score, step, weights)

    def choose(self, model: nn.Module) -> int:
        """Gives the model the best weights, where they were chosen; the step whose weights it holds."""
        _, step, weights = self.best
        if not weights:
            return self.steps
        model.load_state_dict(weights)
        return step


def evaluation_interval(recipe: Recipe, steps: int) -> int:
    """Steps between two evaluations on the validation split; 0 for none."""
    return recipe.check or (max(steps // EVALUATIONS, 1) if recipe.choose == "validation" else 0)


PATROL = 50  # steps between two readings of the losses


class Patrol:
    """Notices within `PATROL` steps (twice as many on a GPU) that no loss is a finite number any more.

    On a GPU the answer to the previous question is read, which is ready by now, so that nothing waits.
    """

    def __init__(self) -> None:
        self._asked: Tensor | None = None

    def __call__(self, done: int, losses: Tensor) -> bool:
        """Whether to stop after ``done`` steps; losses (steps,), or (steps, K) of a stack."""
        if done % PATROL:
            return False
        now = torch.isfinite(losses[done - 1]).any()
        asked, self._asked = (now, None) if losses.device.type == "cpu" else (self._asked, now)
        return asked is not None and not bool(asked)


def diverged(losses: Tensor) -> Diverged | None:
    """The failure of a run with these losses (steps,), where one of them is no finite number."""
    finite = torch.isfinite(losses).cpu()
    if bool(finite.all()):
        return None
    first = int((~finite).nonzero()[0]) + 1
    return Diverged(
        f"the loss is no finite number from step {first} of {len(losses)}; try a lower learning rate or clip=1"
    )


def accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Share of the labels (N,) that the model predicts for the inputs (N, ...)."""
    predicted = in_chunks(model, len(inputs), lambda rows: inputs[rows]).argmax(dim=-1)
    return float((predicted == labels).double().mean())


def _copy(model: nn.Module) -> Weights:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
