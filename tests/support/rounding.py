"""Training in float32 against float64, one step at a time: what rounding may change, and nothing beyond that.

Two float32 trainings of the same run drift apart, and how far depends on the processor: Adam divides by the root of its
second moment, so that the rounding of a gradient near zero becomes a step as long as the learning rate, on which all
later steps build. Here nothing builds up: every step of the reference starts from the weights that float32 had.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from disobey.training.optim import learning_rates
from disobey.training.prepare import Prepared
from disobey.training.specs import OptimSpec

EPS = torch.finfo(torch.float32).eps
UNITS = 16  # that a step may depart; measured: at most 3.6 with AVX-512, AVX2 and SSE, and a wrong target is thousands


class Trace:
    """An observer that keeps the weights after every step."""

    every = 1

    def __init__(self):
        self.weights: list[dict[str, Tensor]] = []

    def record(self, step: int, model: nn.Module, losses: Tensor) -> None:
        self.weights.append({name: value.detach().clone() for name, value in model.named_parameters()})


def departure(
    model: nn.Module, optim: OptimSpec, backward: Callable[[int], object], weights: Sequence[dict[str, Tensor]]
) -> float:
    """The largest distance between a weight and what one step of Adam in float64 makes of the weights before it.

    In units of rounding: float32's eps times the weight's size plus its step's sensitivity to an error of the gradient,
    lr * max|gradient| / (sqrt(second moment) + 1e-8).

    Args:
        model: with the initial weights in float64. It follows the weights.
        backward: puts the gradients of step 0, 1, ... on the model.
        weights: after every step.
    """
    assert (optim.name, optim.weight_decay, optim.clip) == ("adam", 0.0, None)
    beta, rates, worst = optim.betas[1], learning_rates(optim), 0.0
    adam = torch.optim.Adam(model.parameters(), betas=optim.betas)
    largest = dict.fromkeys(weights[0], 0.0)
    model.train()
    for step, after in enumerate(weights):
        adam.zero_grad()
        backward(step)
        adam.param_groups[0]["lr"] = rates[step]
        adam.step()
        for name, parameter in model.named_parameters():
            assert parameter.dtype == torch.float64
            assert after[name].dtype == torch.float32
            value, gradient = parameter.detach(), parameter.grad
            assert gradient is not None
            largest[name] = max(largest[name], float(gradient.abs().max()))
            second = adam.state[parameter]["exp_avg_sq"] / (1 - beta ** (step + 1))
            unit = EPS * (value.abs() + rates[step] * largest[name] / (second.sqrt() + 1e-8))
            worst = max(worst, float(((after[name].double() - value).abs() / unit).max()))
            value.copy_(after[name])
    return worst


def departure_of(one: Prepared, trace: Trace) -> float:
    """`departure` of a prepared run, in float64, through its objective and autograd."""
    batches = one.batches
    assert len(trace.weights) == len(batches)

    def backward(step: int) -> None:
        one.objective.backward(step, one.model, batches(step))

    return departure(one.model, one.run.recipe.optim, backward, trace.weights)
