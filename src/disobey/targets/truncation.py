"""What a loss sees of a teacher of which only a part was kept: four losses, one value per position.

All compare at temperature T and carry the factor T² (see `losses`); the cache is taken to be made at that temperature.
p is the teacher's softened distribution, L its k most likely classes, m their mass, q the student's softened one.

    renormalized  p/m on L, nothing elsewhere: the student is told that the tail is impossible
    bucket        p on L, and the tail as one more class of mass 1 − m: the student is told how likely the tail is as a
                  whole, and not which of its classes
    spread        p on L, the tail evenly over all other classes: the student is told that they are alike
    sampled       n classes drawn from p with replacement, each of mass 1/n

Expected gradient on the student's logits minus that of the whole teacher, over T: for *renormalized* −p(1 − m)/m on L
and p elsewhere, of total size 2(1 − m), whatever the student; for *bucket* 0 on L and p − (1 − m)q/(1 − q(L))
elsewhere, which is 0 where the student's tail has the teacher's shape; for *sampled* 0 everywhere, with variance
p(1 − p)/n.

Shapes: M positions, C classes, k kept, n drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Generator, Tensor

from disobey.errors import refusal
from disobey.targets.losses import kl
from disobey.targets.softening import dot, log_softmax, times_squared

SMALLEST = 1e-30  # mass of a tail that rounding has left nothing of


def kl_renormalized(logits: Tensor, targets: Tensor, k: int, *, temperature: float = 1.0) -> Tensor:
    """KL from the renormalized top k of the teacher: T² Σ p/m log(p / (m q)) over the k classes.

    Args:
        logits: student logits (M, C).
        targets: teacher logits or log-probabilities (M, C).
        k: classes kept.
        temperature: T.

    Returns:
        (M,), in nats.

    Raises:
        Refusal: ``top-k-range``.

    Example:
        >>> kl_renormalized(torch.zeros(1, 3), torch.tensor([[0.6, 0.3, 0.1]]).log(), 2)
        tensor([0.4621])
    """
    log_q = log_softmax(logits, temperature)
    ids, log_p = _listed(targets, k, temperature)
    log_p = log_p - log_p.logsumexp(-1, keepdim=True)
    return times_squared(temperature, dot(log_p.exp(), log_p - log_q.gather(-1, ids)), logits)


def kl_bucket(logits: Tensor, targets: Tensor, k: int, *, temperature: float = 1.0) -> Tensor:
    """KL over k + 1 events: the k classes, and "any other class". Never more than the whole KL; equal to it for k = C.

    Args:
        logits: student logits (M, C).
        targets: teacher logits or log-probabilities (M, C).
        k: classes kept.
        temperature: T.

    Returns:
        (M,), in nats.

    Raises:
        Refusal: ``top-k-range``.

    Example:
        >>> kl_bucket(torch.zeros(1, 3), torch.tensor([[0.6, 0.3, 0.1]]).log(), 1)
        tensor([0.1483])
    """
    log_q = log_softmax(logits, temperature)
    ids, log_p = _listed(targets, k, temperature)
    listed = dot(log_p.exp(), log_p - log_q.gather(-1, ids))
    if k == logits.shape[-1]:
        return times_squared(temperature, listed, logits)
    listed_here = torch.zeros_like(log_q, dtype=torch.bool).scatter(-1, ids, True)
    tail = (1 - log_p.exp().sum(-1)).clamp_min(SMALLEST)
    log_tail = log_q.masked_fill(listed_here, -torch.inf).logsumexp(-1)  # summed: 1 − q(L) may round to 0
    return times_squared(temperature, listed + tail * (tail.log() - log_tail), logits)


def kl_spread(logits: Tensor, targets: Tensor, k: int, *, temperature: float = 1.0) -> Tensor:
    """KL from the teacher's k most likely classes and an even tail: what `TeacherCache` gives back for ``top_k``.

    Args:
        logits: student logits (M, C).
        targets: teacher logits or log-probabilities (M, C).
        k: classes kept.
        temperature: T.

    Returns:
        (M,), in nats.

    Raises:
        Refusal: ``top-k-range``.

    Example:
        >>> kl_spread(torch.zeros(1, 3), torch.tensor([[0.6, 0.3, 0.1]]).log(), 1)
        tensor([0.1483])
    """
    ids, log_p = _listed(targets, k, temperature)
    classes = logits.shape[-1]
    tail = (1 - log_p.exp().sum(-1, keepdim=True)).clamp_min(SMALLEST) / max(classes - k, 1)
    whole = tail.log().expand_as(targets).scatter(-1, ids, log_p)
    return kl(logits, temperature * whole, temperature=temperature)


def kl_sampled(
    logits: Tensor, targets: Tensor, draws: int, generator: Generator, *, temperature: float = 1.0
) -> Tensor:
    """KL from the frequencies of n classes drawn from the teacher; its expected gradient is that of the whole teacher.

    The *value* is not an unbiased estimate: the frequencies have less entropy than the teacher. A cache draws once for
    each position; drawing anew every epoch would be another method.

    Args:
        logits: student logits (M, C).
        targets: teacher logits or log-probabilities (M, C).
        draws: n.
        generator: on the CPU.
        temperature: T.

    Returns:
        (M,), in nats.

    Raises:
        Refusal: ``top-k-range``, for no draws.

    Reference:
        Anshumann et al., "Sparse logit sampling", 2025, with the teacher itself as the proposal.

    Example:
        >>> kl_sampled(torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 0.0]]).log(), 4, torch.Generator())
        tensor([1.0986])
    """
    if draws < 1:
        raise refusal("top-k-range", "at least one draw", draws)
    log_q = log_softmax(logits, temperature)
    p = torch.softmax(targets.detach().to(log_q.dtype) / temperature, -1)
    ids = torch.multinomial(p.cpu(), draws, replacement=True, generator=generator).to(p.device)
    shares = torch.zeros_like(p).scatter_add_(-1, ids, torch.full_like(ids, 1 / draws, dtype=p.dtype))
    negentropy = torch.xlogy(shares, shares).sum(-1)
    return times_squared(temperature, negentropy - dot(shares, log_q), logits)


Truncated: TypeAlias = Callable[[Tensor, Tensor, int, Generator, float], Tensor]
TRUNCATED: dict[str, Truncated] = {
    "renormalized": lambda z, t, k, _, tau: kl_renormalized(z, t, k, temperature=tau),
    "bucket": lambda z, t, k, _, tau: kl_bucket(z, t, k, temperature=tau),
    "spread": lambda z, t, k, _, tau: kl_spread(z, t, k, temperature=tau),
    "draws": lambda z, t, n, generator, tau: kl_sampled(z, t, n, generator, temperature=tau),
}
"""By the control of a term of the task ``next_token``, whose amount is k, or n for ``draws``: (student logits, teacher
logits, amount, generator, T) to one value a position."""


def bytes_per_row(kept: str, amount: int, classes: int) -> int:
    """Bytes that a cache needs for one position: class numbers of 2 or 4 bytes, half-precision log-probabilities.

    Args:
        kept: a key of `TRUNCATED`, or ``all`` for every logit.
        amount: k or n.
        classes: C.

    Example:
        >>> [bytes_per_row(kept, n, 512) for kept, n in (("all", 0), ("renormalized", 8), ("bucket", 8), ("draws", 16))]
        [1024, 32, 36, 32]
    """
    number = 2 if classes <= 2**16 else 4
    if kept == "all":
        return 2 * classes
    if kept == "draws":
        return number * amount
    return (number + 2) * amount + (0 if kept == "renormalized" else 4)  # the tail's mass in single precision


def _listed(targets: Tensor, k: int, temperature: float) -> tuple[Tensor, Tensor]:
    """The teacher's k most likely classes (M, k) and their softened log-probabilities."""
    classes = targets.shape[-1]
    if not 1 <= k <= classes:
        raise refusal("top-k-range", f"k from 1 to {classes}, the number of classes to keep", k)
    log_p = log_softmax(targets.detach(), temperature)
    kept = log_p.topk(k, -1)
    return kept.indices, kept.values
