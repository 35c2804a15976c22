"""From an `OptimSpec` to an optimizer and its learning rates."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from disobey.training.specs import OptimSpec

RISE, START, END = 0.3, 1 / 25, 1 / 25e4  # of a cycle: share of the steps that rises, first and last rate / largest


def learning_rates(spec: OptimSpec) -> NDArray:
    """The rate of every step, (steps,): linear warm-up, then cosine to zero, constant, or steps down; or one cycle.

    >>> learning_rates(OptimSpec(lr=1.0, steps=4, decay="cosine")).round(3)
    array([1.   , 0.854, 0.5  , 0.146])
    """
    if spec.cycles:
        return spec.lr * _cycle(spec, START, 1.0, END)
    step = np.arange(spec.steps)
    length = max(spec.steps - spec.warmup, 1)
    progress = np.clip((step - spec.warmup) / length, 0.0, 1.0)
    if spec.decay == "cosine":
        factor = 0.5 * (1.0 + np.cos(math.pi * progress))
    elif spec.decay == "steps":
        factor = spec.gamma ** np.searchsorted(np.asarray(spec.milestones), progress, side="right")
    else:
        factor = np.ones(spec.steps)
    rising = np.minimum((step + 1) / spec.warmup, 1.0) if spec.warmup else 1.0
    return spec.lr * factor * rising


def momenta(spec: OptimSpec) -> NDArray | None:
    """The momentum (or first beta) of every step, (steps,), where it follows the rate; None: it stays as it is.

    It begins and ends halfway from its value to 1 and is as far below (at most by half) where the rate is largest.

    >>> np.asarray(momenta(OptimSpec("sgd", steps=11, warmup=6, decay="one-cycle-linear")))[[0, 5, 10]]
    array([0.95, 0.85, 0.95])
    """
    value = spec.momentum if spec.name == "sgd" else spec.betas[0]
    if not spec.cycles or not value:
        return None
    return _cycle(spec, (1 + value) / 2, max((3 * value - 1) / 2, value / 2), (1 + value) / 2)


def _cycle(spec: OptimSpec, start: float, peak: float, end: float) -> NDArray:
    """From start to peak to end, (steps,), with the corners of `torch.optim.lr_scheduler.OneCycleLR`."""
    top, last = (spec.warmup or RISE * spec.steps) - 1, spec.steps - 1
    corners = [0.0 if top > 0 else top - 1, top, last if last > top else top + 1]
    place = np.interp(np.arange(spec.steps), corners, [0.0, 1.0, 2.0])
    share = np.where(place > 1, place - 1, place)
    if spec.decay == "one-cycle":
        share = 0.5 * (1.0 - np.cos(math.pi * share))
    return np.where(place > 1, peak + (end - peak) * share, start + (peak - start) * share)


class Rates:
    """Sets an optimizer's rate, and its momentum where that follows the rate, before every step."""

    def __init__(self, spec: OptimSpec, opt: torch.optim.Optimizer):
        self.opt, self.rates, self.momenta = opt, learning_rates(spec), momenta(spec)
        self._sgd = spec.name == "sgd"

    def __call__(self, step: int) -> None:
        """For the step with this number, from 0."""
        for group in self.opt.param_groups:  # which a resumed run replaces
            group["lr"] = self.rates[step]
            if self.momenta is not None:
                momentum = float(self.momenta[step])
                group.update({"momentum": momentum} if self._sgd else {"betas": (momentum, group["betas"][1])})


def optimizer(spec: OptimSpec, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Fused everywhere: one kernel for all tensors (Adam x1.12-1.18 on a CPU core)."""
    parameters = [p for p in parameters if p.requires_grad]
    if spec.name == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=spec.lr,
            momentum=spec.momentum,
            nesterov=spec.nesterov,
            weight_decay=spec.weight_decay,
            fused=True,
        )
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[spec.name]
    return kind(parameters, lr=spec.lr, betas=spec.betas, eps=spec.eps, weight_decay=spec.weight_decay, fused=True)
