"""How far a student is from its target, per example: ``(..., C), (..., C) -> (...)``, never reduced.

Letters: z student logits, t target logits, p = softmax(t/T), q = softmax(z/T), T temperature, C classes. Natural log.
The factor T² (Hinton et al. 2015, section 2) is here and only here: a caller multiplies by weights, never by T². With
it the gradient T(q − p) tends to (centred z − centred t)/C for large T, so its size does not depend on T there.

Targets are logits or log-probabilities: softmax cannot tell them apart. Only `mse` sees the difference (a constant per
row); use `mse_centred` where log-probabilities are all there is. Targets are constants: no gradient flows into them,
and ``-inf`` (a class of probability 0) is allowed and gives no NaN, neither in values nor in gradients. Student logits
are finite. A target that is softened already goes in as T times its log-probabilities (see `controls.controlled`).

Three ways to the same numbers, slowest first (benchmarks/losses.py has the ratios):
`LOSSES[name](logits, targets, temperature=T)`; `kl_prepared(logits, soft_targets(table, T)[rows])` for cached teachers;
`kl_with_gradient`, which gives the derivative itself, for ``logits.backward(gradient)`` without a graph of the loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

LossFn = Callable[[Tensor, Tensor], Tensor]  # student logits, target log-probabilities or logits: (..., C) -> (...)

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 1e-6, 1e6
_FLOAT64_ABOVE = 32.0  # T² times the rounding of float32 would show in the value: 1e4 * 1e-7 at T = 100
_LOWEST_LOG = math.log(torch.finfo(torch.float32).tiny)  # about -87.3


def cross_entropy(logits: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """−T² Σ p log q. The gradient is that of `kl`; the value is larger by T² times the target's entropy.

    >>> cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, -torch.inf]]))
    tensor([0.6931])
    """
    log_q = _log_softmax(logits, temperature)
    p, _ = _target(targets, temperature, log_q.dtype)
    return _squared(temperature, -torch.linalg.vecdot(p, log_q), logits)


def kl(logits: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """T² KL(p‖q), teacher first: the loss of Hinton et al. (2015). Gradient T(q − p).

    >>> kl(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.8, 0.2]]).log())
    tensor([0.1927])
    """
    log_q = _log_softmax(logits, temperature)
    p, log_p = _target(targets, temperature, log_q.dtype)
    return _squared(temperature, torch.linalg.vecdot(p, log_p - log_q), logits)


def reverse_kl(logits: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """T² KL(q‖p), student first: avoids what the teacher excludes rather than covering what it allows.

    Infinite for a target of probability 0, so log p is taken as at least −87.3 (the smallest normal float32).

    >>> reverse_kl(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.8, 0.2]]).log())
    tensor([0.2231])
    """
    log_q = _log_softmax(logits, temperature)
    _, log_p = _target(targets, temperature, log_q.dtype)
    return _squared(temperature, (log_q.exp() * (log_q - log_p.clamp_min(_LOWEST_LOG))).sum(-1), logits)


def js(logits: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """T² times the Jensen–Shannon divergence, at most T² log 2; near p = q a quarter of `kl`.

    >>> js(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, -torch.inf]]))
    tensor([0.2158])
    """
    log_q = _log_softmax(logits, temperature)
    p, log_p = _target(targets, temperature, log_q.dtype)
    log_mean = torch.logaddexp(log_p, log_q) - math.log(2)
    divergences = p * (log_p - log_mean) + log_q.exp() * (log_q - log_mean)
    return _squared(temperature, divergences.sum(-1) / 2, logits)


def mse(logits: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """½ mean over classes of (z − t)²: half of `torch.nn.functional.mse_loss`. Needs true logits.

    Softening both sides by T and multiplying by T² cancels, so the temperature changes nothing. A class whose target is
    ``-inf`` has no logit to match and is left out of the sum (C stays C).

    >>> mse(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([0.2500])
    """
    _check_temperature(temperature)
    return _difference(logits, targets).square().mean(-1) / 2


def mse_centred(logits: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """`mse` after removing each row's mean difference: exactly the limit of `kl` for T to infinity.

    >>> mse_centred(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([0.1250])
    """
    _check_temperature(temperature)
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
    """The loss of that name at that temperature.

    >>> loss_at("kl", 4.0)(torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([1.9218])
    """
    if name not in LOSSES:
        raise ValueError(f"expected a loss out of {', '.join(LOSSES)}; came {name!r}")
    _check_temperature(temperature)
    return partial(LOSSES[name], temperature=temperature)


def label_log_probs(labels: Tensor, classes: int, smoothing: float = 0.0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Labels as a target: log of (1 − smoothing) one-hot + smoothing / C, shape ``(..., C)``; ``-inf`` where 0.

    >>> label_log_probs(torch.tensor([0]), 2, smoothing=0.4).exp()
    tensor([[0.8000, 0.2000]])
    """
    _check_smoothing(smoothing)
    probs = torch.full((*labels.shape, classes), smoothing / classes, dtype=dtype, device=labels.device)
    return probs.scatter_(-1, labels.unsqueeze(-1), 1 - smoothing + smoothing / classes).log_()


def label_cross_entropy(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0, temperature: float = 1.0) -> Tensor:
    """`cross_entropy` on label indices ``(...)``; see `label_cross_entropy_with_gradient` for the fastest form.

    A label of −100 gives 0, as in torch. With a temperature this is the control "labels with tempered logits":
    cross-entropy on z/T, times T².

    >>> label_cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor([0.6931])
    """
    _check_smoothing(smoothing)
    scaled = _scaled(logits, temperature).flatten(0, -2)
    loss = F.cross_entropy(scaled, labels.flatten(), reduction="none", label_smoothing=smoothing)
    return _squared(temperature, loss.view(labels.shape), logits)


def label_loss(name: str, temperature: float = 1.0, smoothing: float = 0.0) -> Callable[[Tensor, Tensor], Tensor]:
    """Any loss of `LOSSES` on label indices: student logits ``(..., C)``, labels ``(...)`` to ``(...)``.

    The smoothed label is the target as it is: softening it by T as well would undo part of the smoothing, so only the
    student's logits are tempered and ``T²`` applied. Only losses on probabilities make sense here.
    """
    if name == "cross_entropy":
        _check_temperature(temperature)
        return partial(label_cross_entropy, smoothing=smoothing, temperature=temperature)
    if name not in ("kl", "reverse_kl", "js"):
        raise ValueError(
            f"expected cross_entropy, kl, reverse_kl or js for labels; came {name!r}: labels have no logits"
        )
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
    """``weight`` of the teacher's loss and ``1 − weight`` of cross-entropy on the labels, per example.

    Linear in the weight, hence continuous at both ends. Defaults as in Tian et al. (2020), CIFAR-100.

    >>> distillation(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    tensor([0.0313])
    """
    from_teacher = loss_at(loss, temperature)(logits, targets)
    return weight * from_teacher + (1 - weight) * label_cross_entropy(logits, labels, smoothing=smoothing)


@dataclass(frozen=True, eq=False)
class SoftTargets:
    """A teacher's answers, softened once for the whole table. Index it with a batch's rows.

    probs: ``(N, C)`` softmax(t/T). constant: ``(N,)`` T² Σ p log p, the part of the loss that no student changes.
    """

    probs: Tensor
    constant: Tensor
    temperature: float

    def __getitem__(self, rows) -> SoftTargets:
        if isinstance(rows, Tensor) and rows.ndim == 1 and rows.dtype == torch.int64:  # half the time of indexing
            return SoftTargets(self.probs.index_select(0, rows), self.constant.index_select(0, rows), self.temperature)
        return SoftTargets(self.probs[rows], self.constant[rows], self.temperature)


@torch.no_grad()
def soft_targets(targets: Tensor, temperature: float = 1.0) -> SoftTargets:
    """Softened teacher logits or log-probabilities ``(N, C)``; float64 above T = 32, where T² meets float32's rounding.

    >>> soft_targets(torch.tensor([[2.0, 0.0]]), 2.0).probs
    tensor([[0.7311, 0.2689]])
    """
    scaled = _scaled(targets, temperature)
    probs, log_probs = _target(scaled, 1.0, scaled.dtype)
    return SoftTargets(probs, torch.linalg.vecdot(probs, log_probs) * temperature**2, temperature)


def kl_prepared(logits: Tensor, soft: SoftTargets) -> Tensor:
    """`kl` against targets softened beforehand: the same values and gradients, fewer operations a step.

    >>> kl_prepared(torch.tensor([[0.0, 0.0]]), soft_targets(torch.tensor([[0.8, 0.2]]).log()))
    tensor([0.1927])
    """
    log_q = torch.log_softmax(_scaled(logits, soft.temperature, soft.probs.dtype), -1)
    value = torch.sub(soft.constant, torch.linalg.vecdot(soft.probs, log_q), alpha=soft.temperature**2)
    return value.to(torch.promote_types(logits.dtype, torch.float32))


def kl_with_gradient(logits: Tensor, soft: SoftTargets, *, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Value ``(...)`` of `kl_prepared` and ``scale`` times its derivative T(q − p) ``(..., C)``, without a graph.

    The cheapest way to train: ``value, gradient = kl_with_gradient(logits, soft, scale=weight / B)``, then
    ``logits.backward(gradient)``. Gradients of several terms add up before the one backward.

    >>> kl_with_gradient(torch.tensor([[0.0, 0.0]]), soft_targets(torch.tensor([[0.8, 0.2]]).log()))[1]
    tensor([[-0.3000,  0.3000]])
    """
    temperature = soft.temperature
    log_q = torch.log_softmax(_scaled(logits.detach(), temperature, soft.probs.dtype), -1)
    value = torch.sub(soft.constant, torch.linalg.vecdot(soft.probs, log_q), alpha=temperature**2)
    gradient = log_q.exp_().sub_(soft.probs)
    return _as_given(value, gradient, temperature * scale, logits)


def label_cross_entropy_with_gradient(
    logits: Tensor, labels: Tensor, *, smoothing: float = 0.0, temperature: float = 1.0, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Value of `label_cross_entropy` and ``scale`` times its derivative, without a graph; labels are classes (no −100).

    >>> label_cross_entropy_with_gradient(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    (tensor([0.6931]), tensor([[ 0.5000, -0.5000]]))
    """
    _check_smoothing(smoothing)
    log_q = _log_softmax(logits.detach(), temperature)
    index = labels.unsqueeze(-1)
    value = log_q.gather(-1, index).squeeze(-1).mul_((smoothing - 1) * temperature**2)
    if smoothing:
        value.sub_(log_q.mean(-1), alpha=smoothing * temperature**2)
    gradient = log_q.exp_()
    if smoothing:
        gradient.sub_(smoothing / logits.shape[-1])
    gradient.scatter_(-1, index, smoothing - 1, reduce="add")  # one entry a row: no two adds meet
    return _as_given(value, gradient, temperature * scale, logits)


def _as_given(value: Tensor, gradient: Tensor, factor: float, logits: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient times a factor; both back in the student's precision (the value in float32 at least)."""
    if factor != 1.0:
        gradient.mul_(factor)
    if gradient.dtype != logits.dtype:
        value, gradient = value.to(torch.promote_types(logits.dtype, torch.float32)), gradient.to(logits.dtype)
    return value, gradient


def _check_temperature(temperature: float) -> None:
    if not LOWEST_TEMPERATURE <= temperature <= HIGHEST_TEMPERATURE:
        raise ValueError(
            f"expected a temperature in [{LOWEST_TEMPERATURE:g}, {HIGHEST_TEMPERATURE:g}], came {temperature}; "
            "the limit for high temperatures is the loss mse_centred, for low ones the control 'argmax'"
        )


def _check_smoothing(smoothing: float) -> None:
    if not 0 <= smoothing <= 1:
        raise ValueError(f"expected label smoothing in [0, 1], came {smoothing}")


def _scaled(logits: Tensor, temperature: float, dtype: torch.dtype | None = None) -> Tensor:
    """logits / T, in float32 at least, in float64 at high temperatures (where the device has it)."""
    _check_temperature(temperature)
    if dtype is None:
        wide = temperature > _FLOAT64_ABOVE and logits.device.type != "mps"
        dtype = torch.float64 if wide else torch.promote_types(logits.dtype, torch.float32)
    if logits.dtype != dtype:
        logits = logits.to(dtype)
    return logits if temperature == 1.0 else logits / temperature


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    return torch.log_softmax(_scaled(logits, temperature), -1)


def _target(targets: Tensor, temperature: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """p and a finite log p: where p is 0, the product with its logarithm must be 0 and not 0 times −inf."""
    log_p = torch.log_softmax(_scaled(targets.detach(), temperature, dtype), -1)
    return log_p.exp(), log_p.clamp_min(-1e30)


def _squared(temperature: float, value: Tensor, logits: Tensor) -> Tensor:
    """T² times the value, in the student's precision (float32 at least)."""
    if temperature != 1.0:
        value = value * temperature**2
    return value.to(torch.promote_types(logits.dtype, torch.float32))


def _difference(logits: Tensor, targets: Tensor) -> Tensor:
    dtype = torch.promote_types(logits.dtype, torch.float32)
    targets = targets.detach().to(dtype)
    return torch.where(targets == -torch.inf, 0.0, logits.to(dtype) - targets)
