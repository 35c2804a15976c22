"""A teacher at the temperature that fits its answers to labels, and one of which only the order of classes is kept.

Both ask what a student takes from its teacher: how sure it is, or which classes it prefers. N examples, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from disobey.errors import refusal

FITTED = "calibrated"  # the control whose temperature training fits on validation examples
RANGE = (0.05, 20.0)  # of fitted temperatures: beyond, a teacher without mistakes would become its own argmax


def best_temperature(log_probs: Tensor, labels: Tensor) -> float:
    """The temperature at which the labels are most likely: the logits are divided by it.

    The loss is convex in 1/T; bisection on its derivative. Kept within `RANGE`.

    Args:
        log_probs: log-probabilities or logits (N, C), of examples that the teacher was not trained on.
        labels: (N,).

    Returns:
        Above 1 the teacher is too sure.

    Raises:
        Refusal: ``no-examples`` for none.

    Reference:
        Guo and others, "On calibration of modern neural networks", 2017.

    Example:
        >>> logits = torch.tensor([[4.0, 0.0]]).repeat(4, 1)
        >>> round(best_temperature(logits, torch.tensor([0, 0, 0, 1])), 3)  # 4 / log 3
        3.641
    """
    if not len(labels):
        raise refusal("no-examples", "at least one example to fit a temperature to", "none")
    z = log_probs.double()
    z = z - z.max(-1, keepdim=True).values
    wanted = z.gather(-1, labels.unsqueeze(-1)).mean()
    low, high = (torch.tensor(1 / t, dtype=torch.float64) for t in reversed(RANGE))
    for _ in range(60):
        middle = (low * high).sqrt()
        slope = (torch.softmax(middle * z, -1) * z).sum(-1).mean() - wanted
        low, high = (low, middle) if slope > 0 else (middle, high)
    return float(1 / (low * high).sqrt())


def divided(log_probs: Tensor, temperature: float) -> Tensor:
    """A teacher at another temperature: log-probabilities (N, C) to log-probabilities (N, C).

    >>> divided(torch.tensor([[0.8, 0.2]]).log(), 0.5).exp()
    tensor([[0.9412, 0.0588]])
    """
    if not 0 < temperature < float("inf"):
        raise refusal("reshape-amount", "a temperature above 0", temperature, "1, which changes nothing")
    return torch.log_softmax(log_probs / temperature, -1)


def rank_only(log_probs: Tensor) -> Tensor:
    """Keeps the order of the classes of every example, and nothing of how sure the teacher is of it.

    The probabilities of each example are sorted; the mean of these profiles over all examples is given to every
    example in its own order. So all examples are equally sure, the teacher's mean confidence is kept, and its argmax.

    Args:
        log_probs: (N, C).

    Returns:
        Log-probabilities (N, C): the same numbers in every row, in the row's order.

    Example:
        >>> rank_only(torch.tensor([[0.9, 0.1], [0.3, 0.7]]).log()).exp()
        tensor([[0.8000, 0.2000],
                [0.2000, 0.8000]])
    """
    order = log_probs.argsort(dim=-1, descending=True, stable=True)
    profile = log_probs.double().exp().gather(-1, order).mean(0).log().to(log_probs.dtype)
    return torch.empty_like(log_probs).scatter(-1, order, profile.expand_as(log_probs))
