"""Control targets: each keeps one part of a teacher's predictions and destroys the rest.

Every control is a pure function of log-probabilities (N, C) **at the temperature of the loss**, labels (N,) and, if it
draws random numbers, a generator. It returns log-probabilities (N, C) at the same temperature. So soften first and
control second; `controlled` does both and returns logits for the losses. Random numbers are drawn once per row of the
table, never per step: compute the table before training and index it. "Top class" is the teacher's argmax, right or
wrong.

N examples, C classes, T temperature; entropies in nats. The arms A0–A18 that use these controls are in `arms`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from disobey.errors import refusal
from disobey.targets.arms import ARMS
from disobey.targets.calibrated import rank_only
from disobey.targets.reshape import RESHAPES, sloped_where
from disobey.targets.smoothing import (
    VIRTUAL_TEMPERATURE,
    one_hot,
    smoothed,
    smoothed_to_each_entropy,
    smoothed_to_mean_entropy,
    virtual_teacher,
)

OF_ALL = "class_mean_of_all"
MARKED, UNMARKED = "sloped_marked", "sloped_unmarked"  # `sloped` where rows are marked, or for as many others


@dataclass(frozen=True, eq=False)
class Target:
    """What a control returns.

    Attributes:
        log_probs: (N, C), at the temperature of the loss.
        weights: factor of every example's loss, (N,) with mean 1; None means 1 for all.
    """

    log_probs: Tensor
    weights: Tensor | None = None


def top_k(log_probs: Tensor, k: int) -> Tensor:
    """A16: keeps the k largest probabilities and spreads the rest evenly over the other classes.

    ``k=1`` is `confidence_only`; ``k = C − 1`` and ``k = C`` change nothing.

    Args:
        log_probs: (N, C).
        k: number of classes to keep, from 1 to C.

    Returns:
        Log-probabilities (N, C).

    Raises:
        Refusal: ``top-k-range``.

    Example:
        >>> top_k(torch.tensor([[0.6, 0.3, 0.08, 0.02]]).log(), 2).exp()
        tensor([[0.6000, 0.3000, 0.0500, 0.0500]])
    """
    classes = log_probs.shape[-1]
    if not 1 <= k <= classes:
        raise refusal("top-k-range", f"k from 1 to {classes}, the number of classes to keep", k)
    if k == classes:
        return log_probs.clone()
    kept = log_probs.topk(k, -1)
    # The rest is summed and not computed as 1 − kept, which rounds to 0 for a confident teacher.
    rest = log_probs.scatter(-1, kept.indices, -torch.inf).logsumexp(-1, keepdim=True) - math.log(classes - k)
    return rest.expand_as(log_probs).scatter(-1, kept.indices, kept.values)


def confidence_only(log_probs: Tensor) -> Tensor:
    """A7: keeps the top probability; all other classes share the rest equally."""
    return top_k(log_probs, 1)


def confidence_weights(log_probs: Tensor) -> Tensor:
    """A8: the teacher's top probability divided by its mean over the table (after Furlanello et al. 2018).

    Args:
        log_probs: (N, C).

    Returns:
        Weights (N,) with mean 1.

    Example:
        >>> confidence_weights(torch.tensor([[0.9, 0.1], [0.4, 0.6]]).log())
        tensor([1.2000, 0.8000])
    """
    confidence = log_probs.max(-1).values.exp()
    return confidence / confidence.mean()


def permuted_each(log_probs: Tensor, generator: Generator) -> Tensor:
    """A9a: permutes all entries except the top one, anew for every row; the mean over draws is A7."""
    top = log_probs.argmax(-1, keepdim=True)
    keys = torch.rand(log_probs.shape, generator=generator).to(log_probs.device).scatter(-1, top, -1.0)
    places = torch.arange(log_probs.shape[-1], device=log_probs.device).expand_as(keys).scatter(-1, top, -1)
    return torch.empty_like(log_probs).scatter(-1, places.argsort(-1), log_probs.gather(-1, keys.argsort(-1)))


def permuted_by_class(log_probs: Tensor, generator: Generator) -> Tensor:
    """A9b: one cycle of the other classes for each top class; it moves all entries except the top one (C > 2)."""
    classes = log_probs.shape[-1]
    orders = torch.stack([torch.randperm(classes, generator=generator) for _ in range(classes)])
    return _cycled(log_probs, orders)


def permuted_globally(log_probs: Tensor, generator: Generator) -> Tensor:
    """A9c: one cycle of all classes for all rows that skips the row's top class; it moves all other entries (C > 2)."""
    classes = log_probs.shape[-1]
    return _cycled(log_probs, torch.randperm(classes, generator=generator).expand(classes, classes))


def _cycled(log_probs: Tensor, orders: Tensor) -> Tensor:
    """Gives every entry except the top one to the next class in the order that belongs to the row's top class.

    orders: (C, C), one order of the classes for each top class.
    """
    classes = len(orders)
    source = torch.arange(classes).repeat(classes, 1)
    for top, order in enumerate(orders):
        others = order[order != top]
        source[top, others] = others.roll(1)
    return log_probs.gather(-1, source.to(log_probs.device)[log_probs.argmax(-1)])


def class_mean(log_probs: Tensor, labels: Tensor, pool: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """A10: the mean probability over the examples with the same label.

    Args:
        log_probs: (N, C).
        labels: (N,).
        pool: log-probabilities (M, C) and labels (M,) to average over instead, for example those of all examples while
            the student trains on a subset.

    Returns:
        Log-probabilities (N, C), equal for equal labels.

    Raises:
        Refusal: ``label-not-in-pool`` if a label does not occur in the pool.

    Example:
        >>> class_mean(torch.tensor([[0.9, 0.1], [0.5, 0.5]]).log(), torch.tensor([0, 0])).exp()
        tensor([[0.7000, 0.3000],
                [0.7000, 0.3000]])
    """
    answers, classes_of = pool if pool is not None else (log_probs, labels)
    classes = answers.shape[-1]
    counts = torch.bincount(classes_of, minlength=classes)
    if bool((counts[labels] == 0).any()):
        missing = int(labels[counts[labels] == 0][0])
        raise refusal("label-not-in-pool", "every label in the pool", f"no example of class {missing}", "a larger pool")
    sums = torch.zeros(classes, classes, dtype=torch.float64, device=answers.device)
    sums.index_add_(0, classes_of, answers.double().exp())
    return (sums / counts.clamp_min(1).unsqueeze(-1)).log().to(log_probs.dtype)[labels]


def shuffled_within_class(log_probs: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    """A11: permutes whole predictions among the examples with the same label.

    >>> p = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]).log()
    >>> shuffled_within_class(p, torch.tensor([0, 1, 1]), torch.Generator().manual_seed(0)).exp()
    tensor([[0.9000, 0.1000],
            [0.2000, 0.8000],
            [0.4000, 0.6000]])
    """
    order = torch.randperm(len(labels), generator=generator).to(labels.device)
    dealt = order[labels[order].argsort(stable=True)]  # rows sorted by label, in random order within a label
    out = torch.empty_like(log_probs)
    out[labels.argsort(stable=True)] = log_probs[dealt]
    return out


def class_mean_with_confidence(log_probs: Tensor, labels: Tensor) -> Tensor:
    """A12: keeps the row's top class and its probability; the other classes share the rest as in the class mean."""
    top = log_probs.max(-1, keepdim=True)
    rest = class_mean(log_probs, labels).scatter(-1, top.indices, -torch.inf)
    mass = log_probs.scatter(-1, top.indices, -torch.inf).logsumexp(-1, keepdim=True)
    total = rest.logsumexp(-1, keepdim=True)
    even = mass.expand_as(rest) - math.log(rest.shape[-1] - 1)
    # If the class mean has no mass outside the top class, neither has this row, and both forms are -inf.
    spread = torch.where(total == -torch.inf, even, rest - total + mass)
    return spread.scatter(-1, top.indices, top.values)


def argmax_labels(log_probs: Tensor) -> Tensor:
    """A13: the teacher's argmax as a hard label, the limit of softening for T to 0."""
    return one_hot(log_probs.argmax(-1), log_probs.shape[-1]).to(log_probs.dtype)


def sampled_labels(log_probs: Tensor, generator: Generator) -> Tensor:
    """A14: one hard label per row, drawn once from the teacher's probabilities; in expectation it is the teacher."""
    drawn = torch.multinomial(log_probs.exp().cpu(), 1, generator=generator).squeeze(-1).to(log_probs.device)
    return one_hot(drawn, log_probs.shape[-1]).to(log_probs.dtype)


def mean_margin(log_probs: Tensor) -> float:
    """Mean over rows of the top log-probability minus the mean of the others, in nats (a difference of logits).

    >>> round(mean_margin(torch.tensor([[3.0, 1.0, 0.0]])), 6)
    2.5
    """
    classes = log_probs.shape[-1]
    lowest = math.log(torch.finfo(torch.float32).tiny)  # a probability of 0 would make the mean infinite
    values = log_probs.double().clamp_min(lowest)
    top = values.max(-1).values
    return float((top - (values.sum(-1) - top) / (classes - 1)).mean())


def one_hot_with_margin(log_probs: Tensor, labels: Tensor, margin: float = 0.0) -> Tensor:
    """A15: the label's logit lies ``margin`` above all others, for `mse_centred`; 0 means the teacher's own margin."""
    margin = margin or mean_margin(log_probs)
    logits = torch.zeros_like(log_probs).scatter(-1, labels.unsqueeze(-1), margin)
    return torch.log_softmax(logits, -1)


def wrong_image(log_probs: Tensor, generator: Generator) -> Tensor:
    """A18c: every example gets the prediction for another example (never its own if N > 1), of any label."""
    order = torch.randperm(len(log_probs), generator=generator).to(log_probs.device)
    out = torch.empty_like(log_probs)
    out[order] = log_probs[order.roll(1)]
    return out


# (log-probabilities at T, labels, generator, amount) -> Target; what a control does not need begins with an underscore.
Control = Callable[[Tensor, Tensor, Generator, float], Target]

CONTROLS: dict[str, Control] = {
    "teacher": lambda p, _y, _g, _a: Target(p),
    "labels": lambda p, y, _g, _a: Target(one_hot(y, p.shape[-1])),
    "smoothed": lambda p, y, _g, a: Target(smoothed(y, p.shape[-1], a)),
    "smoothed_to_mean_entropy": lambda p, y, _g, _a: Target(smoothed_to_mean_entropy(p, y)),
    "smoothed_to_each_entropy": lambda p, y, _g, _a: Target(smoothed_to_each_entropy(p, y)),
    "virtual_teacher": lambda p, y, _g, a: Target(virtual_teacher(y, p.shape[-1], softening=a or VIRTUAL_TEMPERATURE)),
    "confidence_only": lambda p, _y, _g, _a: Target(confidence_only(p)),
    "confidence_weighted": lambda p, y, _g, _a: Target(one_hot(y, p.shape[-1]), confidence_weights(p)),
    "permuted_each": lambda p, _y, g, _a: Target(permuted_each(p, g)),
    "permuted_by_class": lambda p, _y, g, _a: Target(permuted_by_class(p, g)),
    "permuted_globally": lambda p, _y, g, _a: Target(permuted_globally(p, g)),
    "class_mean": lambda p, y, _g, _a: Target(class_mean(p, y)),
    "shuffled_within_class": lambda p, y, g, _a: Target(shuffled_within_class(p, y, g)),
    "class_mean_with_confidence": lambda p, y, _g, _a: Target(class_mean_with_confidence(p, y)),
    "argmax": lambda p, _y, _g, _a: Target(argmax_labels(p)),
    "sampled": lambda p, _y, g, _a: Target(sampled_labels(p, g)),
    "margin": lambda p, y, _g, a: Target(one_hot_with_margin(p, y, a)),
    "top_k": lambda p, _y, _g, a: Target(top_k(p, int(a))),
    "rank_only": lambda p, _y, _g, _a: Target(rank_only(p)),
    "wrong_image": lambda p, _y, g, _a: Target(wrong_image(p, g)),
}

PAPER_IDS: dict[str, str] = {
    "A0": "labels",
    "A1": "teacher",
    "A3": "smoothed",
    **{name: arm.control for name, arm in ARMS.items() if arm.control},
}
"""Control by the id of its arm. A2a, A2b and A17 are other losses, A18a and A18b other teachers: none is a control."""


def control_name(name: str) -> str:
    """The control that is meant by its own name or by the id of its arm.

    Args:
        name: a key of `CONTROLS`, ``class_mean_of_all``, or a key of `PAPER_IDS`.

    Raises:
        Refusal: ``unknown-control``.

    Example:
        >>> control_name("A11")
        'shuffled_within_class'
    """
    found = PAPER_IDS.get(name, name)
    if found not in CONTROLS and found not in (*RESHAPES, OF_ALL, MARKED, UNMARKED):
        known = ", ".join((*CONTROLS, *RESHAPES, OF_ALL, MARKED, UNMARKED))
        hint = f"ARMS[{name!r}].schedule(), which is a loss or a teacher and no control" if name in ARMS else ""
        raise refusal(
            "unknown-control", f"one of the controls {known}, or an id ({', '.join(PAPER_IDS)})", repr(name), hint
        )
    return found


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
    marked: Tensor | None = None,
    eligible: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Applies one control to a whole table of teacher predictions, ready for the losses at T.

    It softens at ``temperature``, applies the control, and returns logits whose softening **at the same temperature**
    is the controlled target.

    Args:
        name: a key of `CONTROLS`, ``class_mean_of_all``, the id of an arm (``A11``), or a key of `reshape.RESHAPES`,
            ``sloped_marked`` or ``sloped_unmarked``, which change the teacher at temperature 1, before softening.
        teacher: logits or log-probabilities (N, C).
        labels: observed labels (N,).
        generator: for controls that draw random numbers.
        temperature: T of the loss.
        amount: epsilon for ``smoothed``, k for ``top_k``, the margin for ``margin`` (0: the teacher's mean margin), the
            softening for ``virtual_teacher`` (0: 20).
        marked: for ``sloped_marked`` (changes these rows) and ``sloped_unmarked`` (as many others), (N,) bool.
        eligible: among which the others are, (N,) bool; all rows where not given.
        pool: for ``class_mean_of_all``, the teacher's predictions (M, C) and the labels (M,) of all its examples.

    Returns:
        Logits (N, C), and the weights (N,) of the examples or None.

    Raises:
        Refusal: ``unknown-control``, ``teacher-shape``, ``no-pool``, ``no-marked-rows``, or a refusal of the control.

    Example:
        >>> logits, _ = controlled("confidence_only", torch.tensor([[4.0, 2.0, 0.0]]), torch.tensor([0]),
        ...                        torch.Generator(), temperature=2.0)
        >>> torch.softmax(logits / 2.0, -1)
        tensor([[0.6652, 0.1674, 0.1674]])
    """
    name = control_name(name)
    if teacher.ndim != 2 or labels.shape != teacher.shape[:1]:
        got = f"{tuple(teacher.shape)} and {tuple(labels.shape)}"
        raise refusal("teacher-shape", "teacher predictions (N, C) and labels (N,)", got)
    if name in (MARKED, UNMARKED):
        rows = _rows(name, marked, eligible, len(teacher), generator)
        reshaped = sloped_where(torch.log_softmax(teacher.double(), -1), rows, amount)
        return reshaped.to(torch.promote_types(teacher.dtype, torch.float32)), None
    if name in RESHAPES:
        reshaped = RESHAPES[name](torch.log_softmax(teacher.double(), -1), generator, amount)
        return reshaped.to(torch.promote_types(teacher.dtype, torch.float32)), None
    softened = torch.log_softmax(teacher.double() / temperature, -1)
    if name == OF_ALL:
        if pool is None:
            expected = f"the predictions and labels of all the teacher's examples for {OF_ALL!r}"
            raise refusal("no-pool", expected, "none", "pool=(predictions, labels)")
        answers = torch.log_softmax(pool[0].double() / temperature, -1)
        target = Target(class_mean(softened, labels, (answers, pool[1])))
    else:
        target = CONTROLS[name](softened, labels, generator, amount)
    log_probs = target.log_probs.double()
    logits = temperature * (
        log_probs - log_probs.max(-1, keepdim=True).values
    )  # the largest is 0: smallest rounding error
    dtype = torch.promote_types(teacher.dtype, torch.float32)
    return logits.to(dtype), None if target.weights is None else target.weights.to(dtype)


def _rows(name: str, marked: Tensor | None, eligible: Tensor | None, n: int, generator: Generator) -> Tensor:
    """The marked rows, or as many eligible ones that are not marked (all of these, where they are fewer)."""
    if marked is None or len(marked) != n:
        raise refusal("no-marked-rows", f"marked rows for {name!r}: boundaries of masks, say", "none")
    if name == MARKED:
        return marked
    others = (~marked if eligible is None else ~marked & eligible).nonzero().squeeze(-1)
    drawn = others[torch.randperm(len(others), generator=generator)[: int(marked.sum())]]
    return torch.zeros(n, dtype=torch.bool).index_fill_(0, drawn, True)
