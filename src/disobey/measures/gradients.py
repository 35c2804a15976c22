"""In which direction do training signals point? Parameter gradients of many objectives at once, and their alignment.

An objective enters through its residuals, minus its derivative on the logits: ``label − prediction`` for labels,
``T (teacher − prediction)`` for distillation. Its parameter gradient is the residuals pulled back through the network,
so one forward pass serves all objectives (`torch.func`). Descent directions throughout: positive cosine means
agreement.

N examples, C classes, K objectives, P parameters. ``apply(parameters, inputs)`` gives logits (N, C), for example
``lambda p, x: torch.func.functional_call(model, p, (x,))`` with the model in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disobey.errors import refusal

Apply = Callable[[dict[str, Tensor], Tensor], Tensor]


def parameter_gradients(
    apply: Apply, parameters: Mapping[str, Tensor], inputs: Tensor, residuals: Tensor, *, rows: int = 256
) -> Tensor:
    """Mean over examples of every objective's gradient.

    Args:
        apply: from parameters and inputs to logits.
        parameters: by name.
        inputs: (N, ...).
        residuals: (K, N, C), of K objectives.
        rows: examples at a time. Memory: K times the activations of that many examples, and K · P numbers.

    Returns:
        (K, P), parameters in their order.

    Raises:
        Refusal: ``no-examples``.

    >>> weights = {"w": torch.zeros(2, 2)}
    >>> x, r = torch.eye(2), torch.tensor([[[1.0, -1.0], [0.0, 0.0]]])
    >>> parameter_gradients(lambda p, x: x @ p["w"].T, weights, x, r)
    tensor([[ 0.5000,  0.0000, -0.5000,  0.0000]])
    """
    total: Tensor | None = None
    for start in range(0, len(inputs), rows):
        part = slice(start, start + rows)
        x = inputs[part]
        # fresh dictionary: vjp wants plain ones
        pull = torch.func.vjp(lambda p, x=x: apply(p, x), dict(parameters))[1]
        (gradients,) = torch.func.vmap(pull)(residuals[:, part])
        flat = flattened(gradients)
        total = flat if total is None else total + flat
    if total is None:
        raise refusal("no-examples", "at least one example", "none")
    return total / len(inputs)


def example_gradients(
    apply: Apply, parameters: Mapping[str, Tensor], inputs: Tensor, residuals: Tensor, *, rows: int = 64
) -> Tensor:
    """Every example's own gradient.

    Args:
        apply: from parameters and inputs to logits.
        parameters: by name.
        inputs: (N, ...).
        residuals: (N, C).
        rows: examples at a time.

    Returns:
        (N, P): 4 · N · P bytes in float32.
    """

    def one(x: Tensor, residual: Tensor) -> dict[str, Tensor]:
        pull = torch.func.vjp(lambda p: apply(p, x.unsqueeze(0)), dict(parameters))[1]
        return pull(residual.unsqueeze(0))[0]

    found = [
        flattened(torch.func.vmap(one)(inputs[start : start + rows], residuals[start : start + rows]))
        for start in range(0, len(inputs), rows)
    ]
    return torch.cat(found)


def flattened(gradients: Mapping[str, Tensor]) -> Tensor:
    """Stacked gradients by name, each (K, ...), as one (K, P)."""
    return torch.cat([value.flatten(1) for value in gradients.values()], dim=1)


def by_layer(gradients: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gradients (K, P) split into the parameters' own parts, (K, p) by name.

    >>> parts = by_layer(torch.arange(3.0).view(1, 3), {"a": torch.zeros(2), "b": torch.zeros(1)})
    >>> parts["b"]
    tensor([[2.]])
    """
    sizes = [value.numel() for value in parameters.values()]
    return dict(zip(parameters, gradients.split(sizes, dim=-1), strict=True))


def cosine(gradients: Tensor, truth: Tensor) -> NDArray:
    """Cosine of gradients (..., P) with the true direction (P,); 0 for a gradient of zero.

    >>> cosine(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([2.0, 0.0])).round(3)
    array([1.   , 0.707])
    """
    g, t = gradients.double(), truth.double()
    lengths = g.norm(dim=-1) * t.norm()
    return torch.where(lengths > 0, (g @ t) / lengths.clamp_min(1e-300), torch.zeros_like(lengths)).numpy()


def snr(gradients: Tensor, truth: Tensor) -> NDArray:
    """Squared part of gradients (..., P) along the true direction (P,) over the squared rest; inf without a rest.

    >>> snr(torch.tensor([[3.0, 1.0]]), torch.tensor([1.0, 0.0]))
    array([9.])
    """
    squared = cosine(gradients, truth) ** 2
    with np.errstate(divide="ignore"):
        return squared / (1 - np.minimum(squared, 1.0))


def batch_snr(gradients: Tensor, truth: Tensor, batch: int) -> float:
    """SNR of minibatches: mean squared part along the truth over mean squared rest.

    Args:
        gradients: (N, P) of single examples (`example_gradients`), taken in order; a last short batch is left out.
        truth: (P,) the true direction.
        batch: examples in a minibatch.

    Raises:
        Refusal: ``few-examples``, for less than one batch.

    >>> batch_snr(torch.tensor([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [1.0, 1.0]]), torch.tensor([1.0, 0.0]), 2)
    2.0
    """
    count = len(gradients) // batch
    if count < 1:
        raise refusal("few-examples", f"at least one batch of {batch}", f"{len(gradients)} examples")
    means = gradients[: count * batch].double().view(count, batch, -1).mean(1)
    along = means @ (truth.double() / truth.double().norm())
    signal, whole = float(along.square().mean()), float(means.square().sum(-1).mean())
    return signal / (whole - signal) if whole > signal else float("inf")
