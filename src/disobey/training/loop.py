"""The loop: draw a batch, ask the objective, step. Nothing else happens here, and nothing waits for the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from disobey.data.augment import Views, draw_mixup
from disobey.training.batches import Order
from disobey.training.objective import Objective
from disobey.training.observers import Observer
from disobey.training.optim import learning_rates, optimizer
from disobey.training.predict import in_chunks
from disobey.training.recipe import Run
from disobey.training.seeds import torch_stream

LOOKS = 20  # at the validation split, where weights are chosen by it


@dataclass(frozen=True, eq=False)
class Fit:
    """What training left: the loss of every step, validation accuracies at the looks, kept weights by step."""

    losses: Tensor  # (steps,) float32
    checks: dict[int, float]  # validation accuracy after that many steps
    kept: dict[int, dict[str, Tensor]]
    chosen: int  # the step whose weights the model holds now


class Diverged(ArithmeticError):
    """The loss is no number any more."""


def fit(
    model: nn.Module,
    run: Run,
    inputs: Views,
    order: Order,
    objective: Objective,
    *,
    validation: tuple[Tensor, Tensor] | None = None,
    observers: Sequence[Observer] = (),
) -> Fit:
    """Trains ``model`` in place for the run's steps; raises `Diverged` where the loss ends as no finite number.

    validation: inputs and labels (N, ...), (N,) for the looks; needed where the recipe chooses by validation.
    """
    recipe, optim = run.recipe, run.recipe.optim
    rates, opt = learning_rates(optim), optimizer(optim, model.parameters())
    steps = len(order)
    losses = torch.zeros(steps, device=order.rows.device)
    mixing = torch_stream(run.seed, "views", recipe.replica) if recipe.data.augment == "mixup" else None
    mix = None
    keep, kept, checks = set(recipe.keep), {}, {}
    chooses = recipe.choose == "validation"
    every = recipe.check or (max(steps // LOOKS, 1) if chooses else 0)
    best: tuple[float, int, dict[str, Tensor]] = (-math.inf, 0, {})
    parameters = list(model.parameters())
    if 0 in keep:
        kept[0] = _copy(model)
    model.train()
    for step in range(steps):
        rows = order.rows[step]
        views = None if order.views is None else order.views[step]
        x = inputs.take(rows, views)
        if mixing is not None:
            mix = share, other = _mixed(len(rows), mixing, x.device)
            x = x * share + x[other] * (1 - share)
        logits = model(x)
        loss, gradient = objective(step, logits, rows, views, x, mix)
        logits.backward(gradient)
        if optim.clip is not None:
            nn.utils.clip_grad_norm_(parameters, optim.clip)
        for group in opt.param_groups:
            group["lr"] = rates[step]
        opt.step()
        for parameter in parameters:  # what zero_grad does, without its bookkeeping
            parameter.grad = None
        losses[step] = loss
        done = step + 1
        if done in keep:
            kept[done] = _copy(model)
        if every and (done % every == 0 or done == steps):
            assert validation is not None
            checks[done] = accuracy(model, *validation)
            if chooses and checks[done] > best[0]:
                best = (checks[done], done, _copy(model))
        for observer in observers:
            if done % observer.every == 0 or done == steps:
                observer.look(done, model, losses)
    failure = diverged(losses)
    if failure is not None:
        raise failure
    if best[2]:
        model.load_state_dict(best[2])
    return Fit(losses.cpu(), checks, kept, best[1] if best[2] else steps)


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
    answers = in_chunks(model, len(inputs), lambda rows: inputs[rows]).argmax(dim=-1)
    return float((answers == labels).double().mean())


def _mixed(n: int, generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    share, other = draw_mixup(n, generator)
    return share.to(device), other.to(device)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
