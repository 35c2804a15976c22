"""How a teacher's answers are packed for a cache, and unpacked: all logits, the k likeliest and a tail, or draws."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disobey.errors import refusal

HALF = 65504.0
"""The largest number of half precision."""


def packed(logits: Tensor, top_k: int, kind: str) -> dict[str, NDArray]:
    """Logits (B, C) as the arrays that are stored.

    Args:
        logits: (B, C) float32.
        top_k: 0 for all of them; else k, at most C.
        kind: ``float32`` or ``float16``.

    Returns:
        ``logits`` (B, C); or ``ids`` (B, k), ``listed`` (B, k) log-probabilities and ``tail`` (B,), the log of the mass
        beyond the list (−inf where k = C).

    Raises:
        Refusal: ``half-range`` or ``top-k-range``.

    Example:
        >>> found = packed(torch.tensor([[0.5, 0.3, 0.2]]).log(), 1, "float32")
        >>> found["ids"], np.exp(found["tail"]).round(3)
        (array([[0]], dtype=uint16), array([0.5], dtype=float32))
    """
    dtype = np.dtype(kind)
    if not top_k:
        values = logits.numpy()
        if dtype == np.float16 and np.abs(values[np.isfinite(values)]).max(initial=0) > HALF:
            largest = float(np.abs(values[np.isfinite(values)]).max())
            raise refusal("half-range", f"logits of at most {HALF:g} for float16", largest, "kind='float32'")
        return {"logits": values.astype(dtype)}
    classes = logits.shape[1]
    if not 1 <= top_k <= classes:
        raise refusal("top-k-range", f"k from 1 to {classes}, the number of classes", top_k, where="top_k")
    log_probs = torch.log_softmax(logits.double(), -1)
    kept = log_probs.topk(top_k, -1)
    tail = log_probs.scatter(-1, kept.indices, -torch.inf).logsumexp(-1)  # summed: 1 − kept rounds to 0
    return {
        "ids": kept.indices.numpy().astype(np.uint16 if classes <= 2**16 else np.int32),
        "listed": kept.values.numpy().astype(dtype),
        "tail": tail.numpy().astype(np.float32),
    }


def from_lists(ids: NDArray, listed: NDArray, tail: NDArray, classes: int) -> Tensor:
    """Lists and their tails as log-probabilities of all classes, the tail spread evenly.

    Args:
        ids: (B, k).
        listed: (B, k) log-probabilities.
        tail: (B,) log-probability of all others together.
        classes: C.

    Returns:
        (B, C) float32.

    Example:
        >>> from_lists(np.array([[0]]), np.log([[0.5]]), np.log([0.5]), 3).exp()
        tensor([[0.5000, 0.2500, 0.2500]])
    """
    b, k = ids.shape
    rest = tail.astype(np.float32) - np.float32(math.log(max(1, classes - k)))
    out = torch.from_numpy(rest)[:, None].repeat(1, classes) if b else torch.empty(0, classes)
    return out.scatter_(1, torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(listed.astype(np.float32)))


def drawn(logits: Tensor, draws: int, seed: int, view: int, start: int) -> NDArray:
    """Classes drawn from the teacher's probabilities, with replacement.

    A row's draws depend on the seed, the view and the row alone: not on who is asked for at the same time.

    Args:
        logits: (B, C) of consecutive rows.
        draws: n.
        seed: of all draws.
        view: of the rows.
        start: number of the first row.

    Returns:
        (B, n) class numbers, of two bytes for up to 65,536 classes.

    Example:
        >>> drawn(torch.tensor([[0.0, 50.0], [50.0, 0.0]]), 3, seed=0, view=0, start=0)
        array([[1, 1, 1],
               [0, 0, 0]], dtype=uint16)
    """
    rows, classes = logits.shape
    blocks = -(-draws // 4)  # the generator counts in fours
    bits = np.random.Philox(key=[seed, view]).advance(start * blocks)
    uniform = np.random.Generator(bits).random((rows, 4 * blocks))[:, :draws]
    below = torch.softmax(logits.double(), -1).cumsum(-1)
    below /= below[:, -1:].clone()
    ids = torch.searchsorted(below, torch.from_numpy(uniform.copy()), right=True).clamp_max(classes - 1)
    return ids.numpy().astype(np.uint16 if classes <= 2**16 else np.int32)


def from_draws(ids: NDArray, classes: int) -> Tensor:
    """The logs of how often each class was drawn, −inf where never.

    Args:
        ids: (B, n).
        classes: C.

    Returns:
        (B, C) float32.

    Example:
        >>> from_draws(np.array([[0, 2, 2, 2]]), 3).exp()
        tensor([[0.2500, 0.0000, 0.7500]])
    """
    places = torch.from_numpy(ids.astype(np.int64))
    shares = torch.zeros(len(ids), classes).scatter_add_(1, places, torch.full(ids.shape, 1 / ids.shape[1]))
    return shares.log()
