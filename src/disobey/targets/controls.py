"""Targets that keep one part of what a teacher says and destroy the rest.

Every control is a pure function of log-probabilities (N, C) **at the temperature of the loss**, labels (N,) and, where
it draws, a generator; it gives log-probabilities (N, C) at that same temperature. So soften first, control second:
`controlled` does both and gives back logits for the losses. What is drawn is drawn once per row of the table, never per
step: compute the table before training and index it. "Top" is the teacher's argmax, right or wrong.

N examples, C classes, T temperature; entropies in nats. The arms A0–A18 that the controls serve are in `arms`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

OF_ALL = "class_mean_of_all"
VIRTUAL_RIGHT, VIRTUAL_TEMPERATURE = 0.99, 20.0  # Yuan et al. (2020), Tf-KD_reg


@dataclass(frozen=True, eq=False)
class Target:
    """log_probs: (N, C) at the temperature of the loss. weights: (N,) factors of each example's loss, mean 1."""

    log_probs: Tensor
    weights: Tensor | None = None


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels as log-probabilities (N, C): 0 and ``-inf``.

    >>> one_hot(torch.tensor([1]), 2)
    tensor([[-inf, 0.]])
    """
    log_probs = torch.full((*labels.shape, classes), -torch.inf, device=labels.device)
    return log_probs.scatter_(-1, labels.unsqueeze(-1), 0.0)


def smoothed(labels: Tensor, classes: int, epsilon: float | Tensor) -> Tensor:
    """Weight 1 − epsilon on the label, epsilon spread over all C classes; epsilon one number or one per example (N,).

    >>> smoothed(torch.tensor([0]), 2, 0.4).exp()
    tensor([[0.8000, 0.2000]])
    """
    amount = torch.as_tensor(epsilon, dtype=torch.float64, device=labels.device).expand(labels.shape).unsqueeze(-1)
    log_probs = (amount / classes).log().repeat(1, classes)
    log_probs.scatter_(-1, labels.unsqueeze(-1), torch.log1p(-amount * (1 - 1 / classes)))
    return log_probs.to(torch.float32 if not isinstance(epsilon, Tensor) else epsilon.dtype)


def entropy(log_probs: Tensor) -> Tensor:
    """Entropy in nats, (N, C) to (N,); a probability of 0 counts nothing.

    >>> entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]]).log())
    tensor([0.6931, 0.0000])
    """
    return torch.special.entr(log_probs.exp()).sum(-1)


def epsilon_for_entropy(target: Tensor, classes: int) -> Tensor:
    """The smoothing whose target has the given entropy (nats), elementwise, float64; 0 to log C maps onto 0 to 1.

    The entropy of a smoothed label rises strictly in epsilon, so bisection finds the one solution.

    >>> epsilon_for_entropy(torch.tensor([0.0, 0.5004, 0.6931472]), 2)
    tensor([0.0000, 0.4000, 1.0000], dtype=torch.float64)
    """
    target = target.double()
    low, high = torch.zeros_like(target), torch.ones_like(target)
    for _ in range(60):  # halves the interval each time: beyond float64
        middle = (low + high) / 2
        rest = middle / classes
        below = torch.special.entr(1 - middle + rest) + (classes - 1) * torch.special.entr(rest) < target
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return torch.where(target <= 0, 0.0, (low + high) / 2)


def smoothed_to_mean_entropy(log_probs: Tensor, labels: Tensor) -> Tensor:
    """A4: one epsilon for all, such that the entropy equals the teacher's mean entropy (at T, as every input)."""
    epsilon = epsilon_for_entropy(entropy(log_probs.double()).mean(), log_probs.shape[-1])
    return smoothed(labels, log_probs.shape[-1], epsilon).to(log_probs.dtype)


def smoothed_to_each_entropy(log_probs: Tensor, labels: Tensor) -> Tensor:
    """A5: every label smoothed until its entropy equals that of its own teacher answer (at T).

    >>> p = torch.tensor([[0.7, 0.2, 0.1], [0.9, 0.05, 0.05]]).log()
    >>> entropy(p), entropy(smoothed_to_each_entropy(p, torch.tensor([0, 0])))
    (tensor([0.8018, 0.3944]), tensor([0.8018, 0.3944]))
    """
    epsilon = epsilon_for_entropy(entropy(log_probs.double()), log_probs.shape[-1])
    return smoothed(labels, log_probs.shape[-1], epsilon).to(log_probs.dtype)


def virtual_teacher(
    labels: Tensor, classes: int, *, right: float = VIRTUAL_RIGHT, softening: float = VIRTUAL_TEMPERATURE
) -> Tensor:
    """A6: the hand-made teacher of teacher-free distillation (Yuan et al. 2020), as its authors released it.

    Probability ``right`` on the label, the rest uniform, then softmax(probability / softening): probabilities stand
    where logits belong, so the target is almost uniform. Their entropy is far above that of a real teacher.

    >>> virtual_teacher(torch.tensor([0]), 3).exp()
    tensor([[0.3444, 0.3278, 0.3278]])
    """
    probs = torch.full((*labels.shape, classes), (1 - right) / (classes - 1), device=labels.device)
    probs.scatter_(-1, labels.unsqueeze(-1), right)
    return torch.log_softmax(probs / softening, -1)


def top_k(log_probs: Tensor, k: int) -> Tensor:
    """A16: the k largest probabilities stay, the rest of the mass is spread evenly over the other classes.

    ``k=1`` is `confidence_only`; ``k = C − 1`` and ``k = C`` change nothing.

    >>> top_k(torch.tensor([[0.6, 0.3, 0.08, 0.02]]).log(), 2).exp()
    tensor([[0.6000, 0.3000, 0.0500, 0.0500]])
    """
    classes = log_probs.shape[-1]
    if not 1 <= k <= classes:
        raise ValueError(f"expected k in 1..{classes} classes to keep, came {k}")
    if k == classes:
        return log_probs.clone()
    kept = log_probs.topk(k, -1)
    # the rest is summed, not taken as 1 − kept: that difference is 0 where a teacher is sure
    rest = log_probs.scatter(-1, kept.indices, -torch.inf).logsumexp(-1, keepdim=True) - math.log(classes - k)
    return rest.expand_as(log_probs).scatter(-1, kept.indices, kept.values)


def confidence_only(log_probs: Tensor) -> Tensor:
    """A7: the top probability stays, every other class gets the same share of the rest."""
    return top_k(log_probs, 1)


def confidence_weights(log_probs: Tensor) -> Tensor:
    """A8: the teacher's top probability over its mean in the table: (N,), mean 1 (after Furlanello et al. 2018).

    >>> confidence_weights(torch.tensor([[0.9, 0.1], [0.4, 0.6]]).log())
    tensor([1.2000, 0.8000])
    """
    confidence = log_probs.max(-1).values.exp()
    return confidence / confidence.mean()


def permuted_each(log_probs: Tensor, generator: Generator) -> Tensor:
    """A9a: the entries other than the top one permuted at random, anew for every row. The mean over draws is A7."""
    top = log_probs.argmax(-1, keepdim=True)
    keys = torch.rand(log_probs.shape, generator=generator).to(log_probs.device).scatter(-1, top, -1.0)
    places = torch.arange(log_probs.shape[-1], device=log_probs.device).expand_as(keys).scatter(-1, top, -1)
    return torch.empty_like(log_probs).scatter(-1, places.argsort(-1), log_probs.gather(-1, keys.argsort(-1)))


def permuted_by_class(log_probs: Tensor, generator: Generator) -> Tensor:
    """A9b: a permutation of the other classes for each top class, shared by its rows; it moves every entry (C > 2)."""
    classes = log_probs.shape[-1]
    orders = torch.stack([torch.randperm(classes, generator=generator) for _ in range(classes)])
    return _cycled(log_probs, orders)


def permuted_globally(log_probs: Tensor, generator: Generator) -> Tensor:
    """A9c: one cycle through all classes for everybody, skipping the row's top class; it moves every entry (C > 2)."""
    classes = log_probs.shape[-1]
    return _cycled(log_probs, torch.randperm(classes, generator=generator).expand(classes, classes))


def _cycled(log_probs: Tensor, orders: Tensor) -> Tensor:
    """Every entry but the top one handed to the next class in that top class's order; orders (C, C)."""
    classes = len(orders)
    source = torch.arange(classes).repeat(classes, 1)
    for top, order in enumerate(orders):
        others = order[order != top]
        source[top, others] = others.roll(1)
    return log_probs.gather(-1, source.to(log_probs.device)[log_probs.argmax(-1)])


def class_mean(log_probs: Tensor, labels: Tensor, pool: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """A10: the mean probability over the examples of the same label; over those of ``pool`` where one is given.

    pool: log-probabilities (M, C) and labels (M,), say of all N examples while the student trains on n of them. A label
    that the pool lacks is a `ValueError`.

    >>> class_mean(torch.tensor([[0.9, 0.1], [0.5, 0.5]]).log(), torch.tensor([0, 0])).exp()
    tensor([[0.7000, 0.3000],
            [0.7000, 0.3000]])
    """
    answers, classes_of = pool if pool is not None else (log_probs, labels)
    classes = answers.shape[-1]
    counts = torch.bincount(classes_of, minlength=classes)
    if bool((counts[labels] == 0).any()):
        raise ValueError("expected every label to occur in the pool of teacher answers; take a larger pool")
    sums = torch.zeros(classes, classes, dtype=torch.float64, device=answers.device)
    sums.index_add_(0, classes_of, answers.double().exp())
    return (sums / counts.clamp_min(1).unsqueeze(-1)).log().to(log_probs.dtype)[labels]


def shuffled_within_class(log_probs: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    """A11: whole answers dealt out again among the examples of the same label.

    >>> p = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]).log()
    >>> shuffled_within_class(p, torch.tensor([0, 1, 1]), torch.Generator().manual_seed(0)).exp()
    tensor([[0.9000, 0.1000],
            [0.2000, 0.8000],
            [0.4000, 0.6000]])
    """
    order = torch.randperm(len(labels), generator=generator).to(labels.device)
    dealt = order[labels[order].argsort(stable=True)]  # rows by label, in random order within it
    out = torch.empty_like(log_probs)
    out[labels.argsort(stable=True)] = log_probs[dealt]
    return out


def class_mean_with_confidence(log_probs: Tensor, labels: Tensor) -> Tensor:
    """A12: the row's own top class and probability, the rest of the mass in the proportions of the class mean."""
    top = log_probs.max(-1, keepdim=True)
    rest = class_mean(log_probs, labels).scatter(-1, top.indices, -torch.inf)
    mass = log_probs.scatter(-1, top.indices, -torch.inf).logsumexp(-1, keepdim=True)
    total = rest.logsumexp(-1, keepdim=True)
    even = mass.expand_as(rest) - math.log(rest.shape[-1] - 1)
    # where the class mean has nothing beside the top class, neither has this row: both forms are -inf
    spread = torch.where(total == -torch.inf, even, rest - total + mass)
    return spread.scatter(-1, top.indices, top.values)


def argmax_labels(log_probs: Tensor) -> Tensor:
    """A13: the teacher's answer as a hard label; what softening at T tends to for T to 0."""
    return one_hot(log_probs.argmax(-1), log_probs.shape[-1]).to(log_probs.dtype)


def sampled_labels(log_probs: Tensor, generator: Generator) -> Tensor:
    """A14: one hard label per row drawn from the teacher's probabilities, once; their mean is the teacher."""
    drawn = torch.multinomial(log_probs.exp().cpu(), 1, generator=generator).squeeze(-1).to(log_probs.device)
    return one_hot(drawn, log_probs.shape[-1]).to(log_probs.dtype)


def mean_margin(log_probs: Tensor) -> float:
    """Mean over rows of the top log-probability minus the mean of the others, in nats: a difference of logits.

    >>> round(mean_margin(torch.tensor([[3.0, 1.0, 0.0]])), 6)
    2.5
    """
    classes = log_probs.shape[-1]
    lowest = math.log(torch.finfo(torch.float32).tiny)  # a probability of 0 would make the mean infinite
    values = log_probs.double().clamp_min(lowest)
    top = values.max(-1).values
    return float((top - (values.sum(-1) - top) / (classes - 1)).mean())


def one_hot_with_margin(log_probs: Tensor, labels: Tensor, margin: float = 0.0) -> Tensor:
    """A15: the label's logit ``margin`` above all others, for `mse_centred`; 0: the teacher's `mean_margin`."""
    margin = margin or mean_margin(log_probs)
    logits = torch.zeros_like(log_probs).scatter(-1, labels.unsqueeze(-1), margin)
    return torch.log_softmax(logits, -1)


def wrong_image(log_probs: Tensor, generator: Generator) -> Tensor:
    """A18c: every example gets the answer to another one (never its own, N > 1), whatever their labels."""
    order = torch.randperm(len(log_probs), generator=generator).to(log_probs.device)
    out = torch.empty_like(log_probs)
    out[order] = log_probs[order.roll(1)]
    return out


# (log-probabilities at T, labels, generator, amount) -> Target. What a control does not need it does not read.
Control = Callable[[Tensor, Tensor, Generator, float], Target]

CONTROLS: dict[str, Control] = {
    "teacher": lambda p, y, g, a: Target(p),
    "labels": lambda p, y, g, a: Target(one_hot(y, p.shape[-1])),
    "smoothed": lambda p, y, g, a: Target(smoothed(y, p.shape[-1], a)),
    "smoothed_to_mean_entropy": lambda p, y, g, a: Target(smoothed_to_mean_entropy(p, y)),
    "smoothed_to_each_entropy": lambda p, y, g, a: Target(smoothed_to_each_entropy(p, y)),
    "virtual_teacher": lambda p, y, g, a: Target(virtual_teacher(y, p.shape[-1], softening=a or VIRTUAL_TEMPERATURE)),
    "confidence_only": lambda p, y, g, a: Target(confidence_only(p)),
    "confidence_weighted": lambda p, y, g, a: Target(one_hot(y, p.shape[-1]), confidence_weights(p)),
    "permuted_each": lambda p, y, g, a: Target(permuted_each(p, g)),
    "permuted_by_class": lambda p, y, g, a: Target(permuted_by_class(p, g)),
    "permuted_globally": lambda p, y, g, a: Target(permuted_globally(p, g)),
    "class_mean": lambda p, y, g, a: Target(class_mean(p, y)),
    "shuffled_within_class": lambda p, y, g, a: Target(shuffled_within_class(p, y, g)),
    "class_mean_with_confidence": lambda p, y, g, a: Target(class_mean_with_confidence(p, y)),
    "argmax": lambda p, y, g, a: Target(argmax_labels(p)),
    "sampled": lambda p, y, g, a: Target(sampled_labels(p, g)),
    "margin": lambda p, y, g, a: Target(one_hot_with_margin(p, y, a)),
    "top_k": lambda p, y, g, a: Target(top_k(p, int(a))),
    "wrong_image": lambda p, y, g, a: Target(wrong_image(p, g)),
}


@torch.no_grad()
def controlled(
    name: str,
    teacher: Tensor,
    labels: Tensor,
    generator: Generator,
    *,
    temperature: float = 1.0,
    amount: float = 0.0,
    pool: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """A whole table of teacher logits or log-probabilities (N, C) after one control, ready for the losses at T.

    Softens at ``temperature``, applies the control, and gives back logits (N, C) whose softening **at the same
    temperature** is the controlled target, with the examples' weights (N,) or None. amount: epsilon for ``smoothed``,
    k for ``top_k``, the margin for ``margin`` (0: the teacher's mean), the softening of ``virtual_teacher`` (0: 20). pool:
    for ``class_mean_of_all`` the teacher's answers (M, C) and the labels (M,) of all its examples.

    >>> logits, _ = controlled("confidence_only", torch.tensor([[4.0, 2.0, 0.0]]), torch.tensor([0]),
    ...                        torch.Generator(), temperature=2.0)
    >>> torch.softmax(logits / 2.0, -1)
    tensor([[0.6652, 0.1674, 0.1674]])
    """
    if name not in CONTROLS and name != OF_ALL:
        raise ValueError(f"expected a control out of {', '.join((*CONTROLS, OF_ALL))}; came {name!r}")
    if teacher.ndim != 2 or labels.shape != teacher.shape[:1]:
        raise ValueError(
            f"expected teacher answers (N, C) and labels (N,), came {tuple(teacher.shape)} and {tuple(labels.shape)}"
        )
    softened = torch.log_softmax(teacher.double() / temperature, -1)
    if name == OF_ALL:
        if pool is None:
            raise ValueError(f"expected pool=(answers, labels) of all the teacher's examples for {OF_ALL!r}; came none")
        answers = torch.log_softmax(pool[0].double() / temperature, -1)
        target = Target(class_mean(softened, labels, (answers, pool[1])))
    else:
        target = CONTROLS[name](softened, labels, generator, amount)
    log_probs = target.log_probs.double()
    logits = temperature * (log_probs - log_probs.max(-1, keepdim=True).values)  # small numbers survive float32 best
    dtype = torch.promote_types(teacher.dtype, torch.float32)
    return logits.to(dtype), None if target.weights is None else target.weights.to(dtype)
