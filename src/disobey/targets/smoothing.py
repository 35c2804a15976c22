"""Smoothed labels: targets that know of the teacher at most its entropy.

N examples, C classes; log-probabilities (N, C) at the temperature of the loss, entropies in nats.
"""

from __future__ import annotations

import torch
from torch import Tensor

VIRTUAL_RIGHT, VIRTUAL_TEMPERATURE = 0.99, 20.0  # Yuan et al. (2020), Tf-KD_reg


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels as log-probabilities (N, C): 0 and ``-inf``.

    >>> one_hot(torch.tensor([1]), 2)
    tensor([[-inf, 0.]])
    """
    log_probs = torch.full((*labels.shape, classes), -torch.inf, device=labels.device)
    return log_probs.scatter_(-1, labels.unsqueeze(-1), 0.0)


def smoothed(labels: Tensor, classes: int, epsilon: float | Tensor) -> Tensor:
    """Label smoothing: weight 1 − epsilon on the label, epsilon spread over all C classes.

    Args:
        labels: class indices (N,).
        classes: C.
        epsilon: one number, or one per example (N,).

    Returns:
        Log-probabilities (N, C).

    Example:
        >>> smoothed(torch.tensor([0]), 2, 0.4).exp()
        tensor([[0.8000, 0.2000]])
    """
    amount = torch.as_tensor(epsilon, dtype=torch.float64, device=labels.device).expand(labels.shape).unsqueeze(-1)
    log_probs = (amount / classes).log().repeat(1, classes)
    log_probs.scatter_(-1, labels.unsqueeze(-1), torch.log1p(-amount * (1 - 1 / classes)))
    return log_probs.to(torch.float32 if not isinstance(epsilon, Tensor) else epsilon.dtype)


def _entr(probs: Tensor) -> Tensor:
    """−p log p, elementwise; 0 at p = 0."""
    return torch.special.entr(probs)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def entropy(log_probs: Tensor) -> Tensor:
    """Entropy in nats, (N, C) to (N,); classes of probability 0 contribute nothing.

    >>> entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]]).log())
    tensor([0.6931, 0.0000])
    """
    return _entr(log_probs.exp()).sum(-1)


def epsilon_for_entropy(target: Tensor, classes: int) -> Tensor:
    """The amount of label smoothing whose target has a given entropy.

    The entropy of a smoothed label increases strictly with epsilon, so bisection finds the only solution.

    Args:
        target: entropies in nats, from 0 to log C; any shape.
        classes: C.

    Returns:
        Epsilon in [0, 1], elementwise, float64.

    Example:
        >>> epsilon_for_entropy(torch.tensor([0.0, 0.5004, 0.6931472]), 2)
        tensor([0.0000, 0.4000, 1.0000], dtype=torch.float64)
    """
    target = target.double()
    low, high = torch.zeros_like(target), torch.ones_like(target)
    for _ in range(60):  # every pass halves the interval, so 60 passes exceed the precision of float64
        middle = (low + high) / 2
        rest = middle / classes
        below = _entr(1 - middle + rest) + (classes - 1) * _entr(rest) < target
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return torch.where(target <= 0, 0.0, (low + high) / 2)


def smoothed_to_mean_entropy(log_probs: Tensor, labels: Tensor) -> Tensor:
    """A4: label smoothing with one epsilon, chosen so that the entropy equals the teacher's mean entropy at T."""
    epsilon = epsilon_for_entropy(entropy(log_probs.double()).mean(), log_probs.shape[-1])
    return smoothed(labels, log_probs.shape[-1], epsilon).to(log_probs.dtype)


def smoothed_to_each_entropy(log_probs: Tensor, labels: Tensor) -> Tensor:
    """A5: every label is smoothed until its entropy equals that of the teacher's prediction for this example at T.

    >>> p = torch.tensor([[0.7, 0.2, 0.1], [0.9, 0.05, 0.05]]).log()
    >>> entropy(p), entropy(smoothed_to_each_entropy(p, torch.tensor([0, 0])))
    (tensor([0.8018, 0.3944]), tensor([0.8018, 0.3944]))
    """
    epsilon = epsilon_for_entropy(entropy(log_probs.double()), log_probs.shape[-1])
    return smoothed(labels, log_probs.shape[-1], epsilon).to(log_probs.dtype)


def virtual_teacher(
    labels: Tensor, classes: int, *, right: float = VIRTUAL_RIGHT, softening: float = VIRTUAL_TEMPERATURE
) -> Tensor:
    """A6: the hand-made teacher of teacher-free distillation, as its authors released it.

    It puts probability ``right`` on the label and spreads the rest evenly, then takes softmax(probability / softening).
    Probabilities stand where logits belong, so the target is almost uniform: its entropy is far above a real teacher's.

    Args:
        labels: class indices (N,).
        classes: C.
        right: probability of the label before softening.
        softening: temperature of the softmax.

    Returns:
        Log-probabilities (N, C).

    Reference:
        Yuan et al., "Revisiting knowledge distillation via label smoothing regularization", 2020, Tf-KD_reg.

    Example:
        >>> virtual_teacher(torch.tensor([0]), 3).exp()
        tensor([[0.3444, 0.3278, 0.3278]])
    """
    probs = torch.full((*labels.shape, classes), (1 - right) / (classes - 1), device=labels.device)
    probs.scatter_(-1, labels.unsqueeze(-1), right)
    return torch.log_softmax(probs / softening, -1)
