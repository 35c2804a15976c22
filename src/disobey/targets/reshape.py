"""Reshaped teachers: targets under which a perfectly obedient student shows a planned deviation.

All functions act on the teacher at temperature 1, on the log-odds x of its most likely class; the other classes keep
their proportions. A student that matches the reshaped teacher exactly has the planned log-odds against the original.
Where `sloped` lowers x, another class may become the most likely one: that is part of what is forced. The underfits
keep the most likely class: lowering x by d lowers its lead over the next class by d, too, and no more than half of a
lead is taken.

N examples, C classes; log-odds in nats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Generator, Tensor
from torch.nn.functional import logsigmoid

from disobey.errors import refusal
from disobey.targets.calibrated import FITTED, divided

QUARTILE = 0.25
KEPT = 0.5  # share of its lead that the most likely class keeps at least; part of what the names below mean


def top_log_odds(log_probs: Tensor) -> Tensor:
    """Log-odds of the most likely class against all others.

    Args:
        log_probs: (N, C), log-probabilities or logits.

    Returns:
        (N,), in nats.

    Example:
        >>> top_log_odds(torch.tensor([[0.75, 0.25], [0.2, 0.8]]).log())
        tensor([1.0986, 1.3863])
    """
    top = log_probs.max(-1, keepdim=True)
    rest = log_probs.scatter(-1, top.indices, -torch.inf)
    return top.values.squeeze(-1) - rest.logsumexp(-1)


def with_top_log_odds(log_probs: Tensor, odds: Tensor) -> Tensor:
    """Gives the most likely class new log-odds; the others share the rest in their old proportions.

    Args:
        log_probs: (N, C).
        odds: new log-odds of each row's most likely class (N,), in nats.

    Returns:
        Log-probabilities (N, C).

    Example:
        >>> with_top_log_odds(torch.tensor([[0.6, 0.3, 0.1]]).log(), torch.tensor([0.0])).exp()
        tensor([[0.5000, 0.3750, 0.1250]])
    """
    top = log_probs.argmax(-1, keepdim=True)
    rest = log_probs.scatter(-1, top, -torch.inf)
    spread = rest - rest.logsumexp(-1, keepdim=True) + logsigmoid(-odds).unsqueeze(-1)
    return spread.scatter(-1, top, logsigmoid(odds).unsqueeze(-1))


def sloped(log_probs: Tensor, slope: float) -> Tensor:
    """Multiplies the log-odds of the most likely class: above 1 exaggerates the teacher's confidence, below 1 shrinks.

    Args:
        log_probs: (N, C).
        slope: of the obedient student's log-odds on the teacher's, above 0.

    Returns:
        Log-probabilities (N, C).

    Raises:
        Refusal: ``reshape-amount``.

    Example:
        >>> sloped(torch.tensor([[0.75, 0.25]]).log(), 2.0).exp()
        tensor([[0.9000, 0.1000]])
    """
    return with_top_log_odds(log_probs, _positive(slope) * top_log_odds(log_probs))


def underfit_lowest_kept(log_probs: Tensor, factor: float) -> Tensor:
    """Lowers the quarter of the examples with the lowest log-odds, and keeps each one's most likely class.

    Their distance to the median grows by a factor, but no example loses more than half of the lead (in nats) that its
    most likely class has over the next one.

    Args:
        log_probs: (N, C).
        factor: 1 changes nothing, above 1 underfits.

    Returns:
        Log-probabilities (N, C).

    Raises:
        Refusal: ``reshape-amount``.

    Example:
        >>> p = torch.tensor([[0.8, 0.2], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]]).log()
        >>> underfit_lowest_kept(p, 2.0).exp()[:2]
        tensor([[0.6667, 0.3333],
                [0.9000, 0.1000]])
    """
    odds = top_log_odds(log_probs)
    rows, fall = _lowest(log_probs, odds, _positive(factor))
    return with_top_log_odds(log_probs, odds.index_add(0, rows, -fall))


def underfit_random_kept(log_probs: Tensor, generator: Generator, factor: float) -> Tensor:
    """Control for `underfit_lowest_kept`: the same decreases of log-odds, each dealt to a random example.

    Drawn from the examples that lose no more than half of their lead by it, the largest decrease first: every decrease
    finds one, so both change the log-odds by equally much and neither changes a most likely class.

    Args:
        log_probs: (N, C).
        generator: deals the decreases.
        factor: as in `underfit_lowest_kept`.

    Returns:
        Log-probabilities (N, C).

    Raises:
        Refusal: ``reshape-amount``.

    Example:
        >>> p = torch.tensor([[0.8, 0.2], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]]).log()
        >>> changed = underfit_random_kept(p, torch.Generator().manual_seed(0), 2.0) - p
        >>> int((changed.abs().sum(-1) > 1e-6).sum())
        1
    """
    odds = top_log_odds(log_probs)
    _, fall = _lowest(log_probs, odds, _positive(factor))
    fall = fall.sort(descending=True).values
    rows = _dealt(fall, _room(log_probs), generator)
    return with_top_log_odds(log_probs, odds.index_add(0, rows, -fall))


def sloped_where(log_probs: Tensor, rows: Tensor, slope: float) -> Tensor:
    """`sloped` for some examples only; the others stay as they are.

    Args:
        log_probs: (N, C).
        rows: (N,) bool.
        slope: as in `sloped`.

    Returns:
        Log-probabilities (N, C).

    Raises:
        Refusal: ``reshape-amount``.

    Example:
        >>> p = torch.tensor([[0.75, 0.25], [0.75, 0.25]]).log()
        >>> sloped_where(p, torch.tensor([True, False]), 2.0).exp()
        tensor([[0.9000, 0.1000],
                [0.7500, 0.2500]])
    """
    return torch.where(rows[:, None], sloped(log_probs, slope), log_probs)


def _lowest(log_probs: Tensor, odds: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """The lowest quarter's rows, and by how much their log-odds fall (by at least 0 for a factor above 1)."""
    rows = odds.argsort(stable=True)[: int(QUARTILE * len(odds))]
    return rows, torch.minimum((factor - 1) * (odds.median() - odds[rows]), _room(log_probs)[rows])


def _room(log_probs: Tensor) -> Tensor:
    """By how much each row's log-odds may fall (N,): so that its most likely class keeps `KEPT` of its lead."""
    first, second = log_probs.topk(2, -1).values.unbind(-1)
    return (1 - KEPT) * (first - second)


def _dealt(fall: Tensor, room: Tensor, generator: Generator) -> Tensor:
    """A random row for every decrease, each row at most once: one of those whose room is large enough.

    Largest first, whoever has room for a decrease has room for all later ones: so no choice takes the last place from
    a later decrease.
    """
    draws = _numbers(torch.rand(len(fall), generator=generator, dtype=torch.float64))
    by_room = room.argsort(descending=True, stable=True)
    wide = _numbers(torch.searchsorted(-room[by_room], -fall, right=True))  # how many rows have room for each decrease
    order, met = _numbers(by_room), 0
    free: list[int] = []
    dealt: list[int] = []
    for draw, count in zip(draws, map(int, wide), strict=True):
        free += map(int, order[met:count])
        met = max(met, count)
        at = int(draw * len(free))
        free[at], free[-1] = free[-1], free[at]
        dealt.append(free.pop())
    return torch.tensor(dealt, dtype=torch.long, device=fall.device)


def _numbers(values: Tensor) -> list[float]:
    """A vector as numbers of Python."""
    return cast(list[float], values.tolist())  # pyright: ignore[reportUnknownMemberType]


def _positive(amount: float) -> float:
    if not 0 < amount < float("inf"):
        raise refusal("reshape-amount", "a slope or factor above 0", amount, "1, which changes nothing")
    return amount


# (log-probabilities at temperature 1, generator, amount) -> log-probabilities at temperature 1
Reshape = Callable[[Tensor, Generator, float], Tensor]

RESHAPES: dict[str, Reshape] = {
    "sloped": lambda p, _g, a: sloped(p, a),
    "underfit_lowest_kept": lambda p, _g, a: underfit_lowest_kept(p, a),
    "underfit_random_kept": underfit_random_kept,
    FITTED: lambda p, _g, a: divided(p, a),
}
