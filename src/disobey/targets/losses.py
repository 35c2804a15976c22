"""Distillation losses, one value per example: ``(..., C), (..., C) -> (...)``, never reduced.

Notation: z student logits, t target logits, p = softmax(t/T), q = softmax(z/T), T temperature, C classes; natural log.
Every loss includes the factor T² (Hinton et al. 2015, section 2), and no other module does: multiply a loss by its
weight, never by T². With this factor the gradient T(q − p) tends to (centred z − centred t)/C for large T, so its size
does not depend on T there.

Targets are logits or log-probabilities; softmax cannot tell them apart. Only `mse` sees the difference (a constant per
row); use `mse_centred` if you have log-probabilities only. Targets are constants: no gradient flows into them. A target
of ``-inf`` (a class of probability 0) is allowed and gives no NaN, neither in the value nor in the gradient. Student
logits must be finite. If a target is already softened, pass T times its log-probabilities (see `controls.controlled`).

There are three ways to compute the same numbers, slowest first (benchmarks/losses.py has the ratios):
`LOSSES[name](logits, targets, temperature=T)`; `kl_prepared(logits, soft_targets(table, T)[rows])` for cached teachers;
`kl_with_gradient`, which returns the derivative itself, for ``logits.backward(gradient)`` without a graph of the loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from disobey.errors import refusal
from disobey.targets.gradients import (
    SoftTargets,
    kl_prepared,
    kl_with_gradient,
    label_cross_entropy_with_gradient,
    soft_targets,
)
from disobey.targets.softening import (
    check_smoothing,
    check_temperature,
    dot,
    log_softmax,
    soft_target,
    tempered,
    times_squared,
)

__all__ = [
    "LOSSES",
    "LossFn",
    "SoftTargets",
    "cross_entropy",
    "distillation",
    "js",
    "kl",
    "kl_prepared",
    "kl_with_gradient",
    "label_cross_entropy",
    "label_cross_entropy_with_gradient",
    "label_log_probs",
    "label_loss",
    "loss_at",
    "mse",
    "mse_centred",
    "reverse_kl",
    "soft_targets",
]

LossFn = Callable[[Tensor, Tensor], Tensor]  # student logits, target log-probabilities or logits: (..., C) -> (...)

_LOWEST_LOG = math.log(torch.finfo(torch.float32).tiny)  # about -87.3


def cross_entropy(logits: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Cross-entropy −T² Σ p log q.

    The gradient equals that of `kl`; the value is larger by T² times the entropy of the target.

    Args:
        logits: student logits ``(..., C)``.
        targets: teacher logits or log-probabilities ``(..., C)``.
        temperature: T, applied to both sides.

    Returns:
        ``(...)``, in nats.

    Example:
        >>> cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, -torch.inf]]))
        tensor([0.6931])
    """
    log_q = log_softmax(logits, temperature)
    p, _ = soft_target(targets, temperature, log_q.dtype)
    return times_squared(temperature, -dot(p, log_q), logits)


def kl(logits: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Forward KL divergence T² KL(p‖q), the distillation loss of Hinton et al. (2015); its gradient is T(q − p).

    Args:
        logits: student logits ``(..., C)``.
        targets: teacher logits or log-probabilities ``(..., C)``.
        temperature: T, applied to both sides.

    Returns:
        ``(...)``, in nats.

    Example:
        >>> kl(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.8, 0.2]]).log())
        tensor([0.1927])
    """
    log_q = log_softmax(logits, temperature)
    p, log_p = soft_target(targets, temperature, log_q.dtype)
    return times_squared(temperature, dot(p, log_p - log_q), logits)


def reverse_kl(logits: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Reverse KL divergence T² KL(q‖p): the student avoids classes that the teacher excludes.

    It would be infinite for a target of probability 0, so log p is clamped at −87.3 (the smallest normal float32).

    Args:
        logits: student logits ``(..., C)``.
        targets: teacher logits or log-probabilities ``(..., C)``.
        temperature: T, applied to both sides.

    Returns:
        ``(...)``, in nats.

    Example:
        >>> reverse_kl(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.8, 0.2]]).log())
        tensor([0.2231])
    """
    log_q = log_softmax(logits, temperature)
    _, log_p = soft_target(targets, temperature, log_q.dtype)
    return times_squared(temperature, (log_q.exp() * (log_q - log_p.clamp_min(_LOWEST_LOG))).sum(-1), logits)


def js(logits: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Jensen–Shannon divergence times T²: at most T² log 2, and a quarter of `kl` near p = q.

    Args:
        logits: student logits ``(..., C)``.
        targets: teacher logits or log-probabilities ``(..., C)``.
        temperature: T, applied to both sides.

    Returns:
        ``(...)``, in nats.

    Example:
        >>> js(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, -torch.inf]]))
        tensor([0.2158])
    """
    log_q = log_softmax(logits, temperature)
    p, log_p = soft_target(targets, temperature, log_q.dtype)
    log_mean = torch.logaddexp(log_p, log_q) - math.log(2)
    divergences = p * (log_p - log_mean) + log_q.exp() * (log_q - log_mean)
    return times_squared(temperature, divergences.sum(-1) / 2, logits)


def mse(logits: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Half the mean over classes of (z − t)², that is half of `torch.nn.functional.mse_loss`. It needs true logits.

    Dividing both sides by T and multiplying by T² cancels, so the temperature changes nothing. A class whose target is
    ``-inf`` has no logit to match and contributes 0 (C does not change).

    Args:
        logits: student logits ``(..., C)``.
        targets: teacher logits ``(..., C)``.
        temperature: checked, otherwise unused.

    Returns:
        ``(...)``, in squared logits.

    Example:
        >>> mse(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
        tensor([0.2500])
    """
    check_temperature(temperature)
    return _difference(logits, targets).square().mean(-1) / 2


def mse_centred(logits: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """`mse` after the mean difference of each row is removed: the exact limit of `kl` as T tends to infinity.

    Args:
        logits: student logits ``(..., C)``.
        targets: teacher logits or log-probabilities ``(..., C)``.
        temperature: checked, otherwise unused.

    Returns:
        ``(...)``, in squared logits.

    Example:
        >>> mse_centred(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
        tensor([0.1250])
    """
    check_temperature(temperature)
    difference = _difference(logits, targets)
    known = (targets != -torch.inf).to(difference.dtype)
    mean = difference.sum(-1, keepdim=True) / known.sum(-1, keepdim=True)
    return (difference - mean * known).square().mean(-1) / 2


LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": cross_entropy,
    "kl": kl,
    "reverse_kl": reverse_kl,
    "js": js,
    "mse": mse,
    "mse_centred": mse_centred,
}


def loss_at(name: str, temperature: float = 1.0) -> LossFn:
    """A loss by name, with the temperature bound.

    Args:
        name: a key of `LOSSES`.
        temperature: T, from 1e-6 to 1e6.

    Returns:
        A function of student logits and targets, ``(..., C), (..., C) -> (...)``.

    Raises:
        Refusal: ``unknown-loss`` or ``temperature-range``.

    Example:
        >>> loss_at("kl", 4.0)(torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
        tensor([1.9218])
    """
    if name not in LOSSES:
        raise refusal("unknown-loss", f"one of the losses {', '.join(LOSSES)}", repr(name))
    check_temperature(temperature)
    return partial(LOSSES[name], temperature=temperature)


def label_log_probs(labels: Tensor, classes: int, smoothing: float = 0.0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Labels as a target: the log of (1 − smoothing) one-hot + smoothing / C.

    Args:
        labels: class indices ``(...)``.
        classes: C.
        smoothing: label smoothing in [0, 1].
        dtype: of the result.

    Returns:
        Log-probabilities ``(..., C)``; ``-inf`` where the probability is 0.

    Example:
        >>> label_log_probs(torch.tensor([0]), 2, smoothing=0.4).exp()
        tensor([[0.8000, 0.2000]])
    """
    check_smoothing(smoothing)
    probs = torch.full((*labels.shape, classes), smoothing / classes, dtype=dtype, device=labels.device)
    return probs.scatter_(-1, labels.unsqueeze(-1), 1 - smoothing + smoothing / classes).log_()


def label_cross_entropy(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0, temperature: float = 1.0) -> Tensor:
    """`cross_entropy` on label indices; see `label_cross_entropy_with_gradient` for the fastest form.

    A label of −100 gives 0, as in torch. With a temperature this is the control "labels with tempered logits":
    cross-entropy on z/T, times T².

    Args:
        logits: student logits ``(..., C)``.
        labels: class indices ``(...)``.
        smoothing: label smoothing in [0, 1].
        temperature: T, applied to the student's logits only.

    Returns:
        ``(...)``, in nats.

    Example:
        >>> label_cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
        tensor([0.6931])
    """
    check_smoothing(smoothing)
    rows = tempered(logits, temperature).flatten(0, -2)
    loss = F.cross_entropy(rows, labels.flatten(), reduction="none", label_smoothing=smoothing)
    return times_squared(temperature, loss.view(labels.shape), logits)


def label_loss(name: str, temperature: float = 1.0, smoothing: float = 0.0) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss of `LOSSES` on label indices, with temperature and smoothing bound.

    The smoothed label is the target as it is. Softening it by T as well would undo part of the smoothing, so only the
    student's logits are divided by T, and the loss is multiplied by T². Only losses on probabilities make sense here.

    Args:
        name: ``cross_entropy``, ``kl``, ``reverse_kl`` or ``js``.
        temperature: T.
        smoothing: label smoothing in [0, 1].

    Returns:
        A function of student logits ``(..., C)`` and labels ``(...)`` that returns ``(...)``.

    Raises:
        Refusal: ``labels-have-no-logits`` for any other loss.
    """
    if name == "cross_entropy":
        check_temperature(temperature)
        return partial(label_cross_entropy, smoothing=smoothing, temperature=temperature)
    if name not in ("kl", "reverse_kl", "js"):
        expected = "cross_entropy, kl, reverse_kl or js as the loss on labels"
        raise refusal("labels-have-no-logits", expected, f"{name!r}, which compares logits")
    loss = loss_at(name, temperature)

    def on_labels(logits: Tensor, labels: Tensor) -> Tensor:
        target = label_log_probs(labels, logits.shape[-1], smoothing, torch.promote_types(logits.dtype, torch.float32))
        return loss(logits, target * temperature)

    return on_labels


def distillation(
    logits: Tensor,
    targets: Tensor,
    labels: Tensor,
    *,
    temperature: float = 4.0,
    weight: float = 0.9,
    loss: str = "kl",
    smoothing: float = 0.0,
) -> Tensor:
    """The usual mixture: ``weight`` times the teacher's loss plus ``1 − weight`` times cross-entropy on the labels.

    It is linear in the weight. The defaults are those of Tian et al. (2020) for CIFAR-100.

    Args:
        logits: student logits ``(..., C)``.
        targets: teacher logits or log-probabilities ``(..., C)``.
        labels: class indices ``(...)``.
        temperature: T of the teacher's loss.
        weight: share of the teacher's loss.
        loss: a key of `LOSSES`.
        smoothing: label smoothing of the label loss.

    Returns:
        ``(...)``, in nats.

    Example:
        >>> distillation(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
        tensor([0.0313])
    """
    from_teacher = loss_at(loss, temperature)(logits, targets)
    return weight * from_teacher + (1 - weight) * label_cross_entropy(logits, labels, smoothing=smoothing)


def _difference(logits: Tensor, targets: Tensor) -> Tensor:
    """Student logits minus target logits; 0 where the target is ``-inf``."""
    dtype = torch.promote_types(logits.dtype, torch.float32)
    targets = targets.detach().to(dtype)
    return torch.where(targets == -torch.inf, 0.0, logits.to(dtype) - targets)
