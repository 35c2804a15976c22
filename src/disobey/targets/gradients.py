"""Losses with their gradients written out, and teachers' predictions that are softened once.

Why by hand: on networks with a few classes, autograd spends more time on the ten small operations of a softened KL than
on the backward pass of the last layer. The derivative T(q − p) needs only what the value has computed already, so
writing it out halves the cost of the loss (benchmarks/losses.py). The tests compare it with autograd in float64.

Notation as in `disobey.targets.losses`, where these functions can be imported from as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from disobey.targets.softening import check_smoothing, dot, log_softmax, soft_target, tempered


@dataclass(frozen=True, eq=False)
class SoftTargets:
    """A teacher's predictions, softened once for the whole table. Index it with the rows of a batch.

    Attributes:
        probs: softmax(t/T), ``(N, C)``.
        constant: T² Σ p log p, ``(N,)``: the part of the loss that does not depend on the student.
        temperature: T.
    """

    probs: Tensor
    constant: Tensor
    temperature: float

    def __getitem__(self, rows: Tensor | slice) -> SoftTargets:
        """The targets of these rows of the table."""
        # index_select takes half the time of general indexing, which matters on networks of a few thousand weights.
        if isinstance(rows, Tensor) and rows.ndim == 1 and rows.dtype == torch.int64:
            return SoftTargets(self.probs.index_select(0, rows), self.constant.index_select(0, rows), self.temperature)
        return SoftTargets(self.probs[rows], self.constant[rows], self.temperature)


@torch.no_grad()
def soft_targets(targets: Tensor, temperature: float = 1.0) -> SoftTargets:
    """A teacher's logits or log-probabilities, softened once for `kl_prepared` and `kl_with_gradient`.

    Above T = 32 the result is float64, because T² would multiply the rounding error of float32.

    Args:
        targets: teacher logits or log-probabilities ``(N, C)``.
        temperature: T.

    Returns:
        The softened table.

    Example:
        >>> soft_targets(torch.tensor([[2.0, 0.0]]), 2.0).probs
        tensor([[0.7311, 0.2689]])
    """
    logits = tempered(targets, temperature)
    probs, log_probs = soft_target(logits, 1.0, logits.dtype)
    return SoftTargets(probs, dot(probs, log_probs) * temperature**2, temperature)


def kl_prepared(logits: Tensor, soft: SoftTargets) -> Tensor:
    """`kl` against targets that were softened beforehand: the same values and gradients with fewer operations.

    Args:
        logits: student logits ``(..., C)``.
        soft: the batch's rows of `soft_targets`.

    Returns:
        ``(...)``, in nats.

    Example:
        >>> kl_prepared(torch.tensor([[0.0, 0.0]]), soft_targets(torch.tensor([[0.8, 0.2]]).log()))
        tensor([0.1927])
    """
    log_q = torch.log_softmax(tempered(logits, soft.temperature, soft.probs.dtype), -1)
    value = torch.sub(soft.constant, dot(soft.probs, log_q), alpha=soft.temperature**2)
    return value.to(torch.promote_types(logits.dtype, torch.float32))


def kl_with_gradient(logits: Tensor, soft: SoftTargets, *, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """The value of `kl_prepared` and ``scale`` times its derivative T(q − p), without a graph.

    This is the cheapest way to train: ``value, gradient = kl_with_gradient(logits, soft, scale=weight / B)``, then
    ``logits.backward(gradient)``. Add the gradients of several terms before the one backward pass.

    Args:
        logits: student logits ``(..., C)``.
        soft: the batch's rows of `soft_targets`.
        scale: factor of the gradient; the value is not scaled.

    Returns:
        The value ``(...)`` and the scaled gradient ``(..., C)``.

    Example:
        >>> kl_with_gradient(torch.tensor([[0.0, 0.0]]), soft_targets(torch.tensor([[0.8, 0.2]]).log()))[1]
        tensor([[-0.3000,  0.3000]])
    """
    temperature = soft.temperature
    log_q = log_softmax(logits.detach(), temperature, soft.probs.dtype)
    value = torch.sub(soft.constant, dot(soft.probs, log_q), alpha=temperature**2)
    gradient = log_q.exp_().sub_(soft.probs)
    return _as_given(value, gradient, temperature * scale, logits)


def label_cross_entropy_with_gradient(
    logits: Tensor, labels: Tensor, *, smoothing: float = 0.0, temperature: float = 1.0, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The value of `label_cross_entropy` and ``scale`` times its derivative, without a graph.

    Args:
        logits: student logits ``(..., C)``.
        labels: class indices ``(...)``; −100 is not allowed here.
        smoothing: label smoothing in [0, 1].
        temperature: T, applied to the student's logits only.
        scale: factor of the gradient; the value is not scaled.

    Returns:
        The value ``(...)`` and the scaled gradient ``(..., C)``.

    Example:
        >>> label_cross_entropy_with_gradient(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
        (tensor([0.6931]), tensor([[ 0.5000, -0.5000]]))
    """
    check_smoothing(smoothing)
    log_q = log_softmax(logits.detach(), temperature)
    index = labels.unsqueeze(-1)
    value = log_q.gather(-1, index).squeeze(-1).mul_((smoothing - 1) * temperature**2)
    if smoothing:
        value.sub_(log_q.mean(-1), alpha=smoothing * temperature**2)
    gradient = log_q.exp_()
    if smoothing:
        gradient.sub_(smoothing / logits.shape[-1])
    # One entry per row, so no two additions meet and the result is deterministic.
    gradient.scatter_(-1, index, smoothing - 1, reduce="add")
    return _as_given(value, gradient, temperature * scale, logits)


def _as_given(value: Tensor, gradient: Tensor, factor: float, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Multiplies the gradient by a factor and returns both in the student's dtype (the value at least in float32)."""
    if factor != 1.0:
        gradient.mul_(factor)
    if gradient.dtype != logits.dtype:
        value, gradient = value.to(torch.promote_types(logits.dtype, torch.float32)), gradient.to(logits.dtype)
    return value, gradient
