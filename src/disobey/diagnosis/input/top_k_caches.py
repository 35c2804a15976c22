"""Lists of likely tokens as trainers keep them: each model's own tokens, sequences in the first axis, a mask.

verl, TRL, axolotl and others name them differently (`PREFIXES`, `IDS`, `LOGS`), and store (sequences, tokens, k) or
(tokens, k). Where a student has a list of its own tokens, its log-probability of a teacher's token that is not on it is
unknown, and how many are on it is the overlap of both lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import BUDGET
from disobey.diagnosis.input.aliases import listed
from disobey.diagnosis.input.matrices import ArrayMatrix, Matrix, whole
from disobey.errors import refusal

IDS = ("ids", "topk_ids", "topk_indices", "topk_token_ids", "token_ids", "indices")
LOGS = ("logprobs", "log_probs", "topk_logprobs", "topk_log_probs")
PREFIXES = {"teacher": ("teacher_", "target_", "distill_teacher_"), "student": ("student_",), "twin": ("twin_",)}
MASKS = ("target_mask", "response_mask", "loss_mask", "attention_mask")
UNUSED = -9_000.0  # of places that servers and trainers fill up


def from_cache(arrays: Mapping[str, Matrix]) -> tuple[dict[str, Matrix], dict[str, Any]]:
    """Arrays under the names of a top-k pair, and what is known of overlaps; as they are where this is no cache."""
    teacher = _names(arrays, "teacher")
    if teacher[0] is None or "topk_ids" in arrays:
        return dict(arrays), {}
    if teacher[1] is None:
        raise refusal("missing-top-k", "the teacher's log-probabilities beside its ids", listed(arrays), where="top-k")
    shape = arrays[teacher[0]].shape
    if len(shape) not in (2, 3) or 8 * np.prod(shape, dtype=np.float64) > BUDGET:
        got = f"shape {shape}"
        raise refusal(
            "top-k-shape", "lists of shape ([sequences,] tokens, k)", got, where=arrays[teacher[0]].where or "top-k"
        )
    mask = next((name for name in MASKS if name in arrays), None)
    keep = _kept(arrays, mask, shape)
    used = {name for name in (*teacher, mask) if name is not None}
    ids, logs = (_flat(arrays[name], shape, keep) for name in teacher if name is not None)
    out = {"topk_ids": _wrapped(ids, "topk_ids"), "topk_teacher": _wrapped(logs, "topk_teacher")}
    overlap: dict[str, NDArray] = {}
    for who in ("student", "twin"):
        own_ids, own_logs = _names(arrays, who)
        if own_logs is None:
            continue
        used |= {name for name in (own_ids, own_logs) if name is not None}
        if own_ids is None:
            out[f"topk_{who}"] = _wrapped(_flat(arrays[own_logs], shape, keep), f"topk_{who}")
            continue
        listed_ids, listed_logs = (_flat(arrays[name], shape, keep) for name in (own_ids, own_logs))
        if listed_ids.ndim != 2 or listed_ids.shape != listed_logs.shape or listed_ids.shape[1] == 0:
            got = f"{listed_ids.shape} and {listed_logs.shape}"
            raise refusal("top-k-shape", f"as many ids as log-probabilities of the {who}", got, where=own_ids)
        found, overlap[who] = aligned(ids, logs, listed_ids, listed_logs)
        best = listed_ids[np.arange(len(ids)), listed_logs.argmax(axis=1)]
        out |= {f"topk_{who}": _wrapped(found, f"topk_{who}"), f"topk_{who}_top": _wrapped(best, f"topk_{who}_top")}
    rest = {name: matrix for name, matrix in arrays.items() if name not in used and name not in MASKS}
    for name, matrix in rest.items():
        fits = len(shape) == 3 and matrix.shape[:2] == shape[:2]
        out[name] = (
            _wrapped(_flat(matrix, shape, keep), matrix.where) if fits or matrix.shape[:1] == shape[:-1] else matrix
        )
    if len(shape) == 3 and "cluster" not in out:
        out["cluster"] = _wrapped(np.repeat(np.arange(shape[0]), shape[1])[keep], "cluster")
    return out, {"overlap_ratio": overlap} if overlap else {}


def aligned(ids: NDArray, logs: NDArray, own_ids: NDArray, own_logs: NDArray) -> tuple[NDArray, NDArray]:
    """A student's log-probabilities of its teacher's tokens, from a list of its own.

    Args:
        ids: (N, k) the teacher's tokens.
        logs: (N, k) its log-probabilities; unused places are −9,000 or less.
        own_ids: (N, j) the student's tokens.
        own_logs: (N, j).

    Returns:
        (N, k) with NaN where a token is not on its list, and (N,) the share of the teacher's tokens that are.

    >>> found, share = aligned(np.array([[4, 7]]), np.log([[0.6, 0.3]]), np.array([[7, 1]]), np.log([[0.5, 0.2]]))
    >>> found.round(3).tolist(), share.tolist()
    ([[nan, -0.693]], [0.5])
    """
    out, used = np.full(ids.shape, np.nan), logs > UNUSED
    for place in range(own_ids.shape[1]):  # a table of (N, k) at a time, not (N, k, j)
        hit = (ids == own_ids[:, place, None]) & (own_logs[:, place, None] > UNUSED)
        out = np.where(hit, own_logs[:, place, None], out)
    on_it = ~np.isnan(out) & used
    return out, on_it.sum(axis=1) / np.maximum(used.sum(axis=1), 1)


def _names(arrays: Mapping[str, Matrix], who: str) -> tuple[str | None, str | None]:
    """The arrays that hold a side's token ids and log-probabilities."""
    found = []
    for endings in (IDS, LOGS):
        names = (f"{prefix}{ending}" for prefix in PREFIXES[who] for ending in endings)
        found.append(next((name for name in names if name in arrays), None))
    return found[0], found[1]


def _kept(arrays: Mapping[str, Matrix], mask: str | None, shape: tuple[int, ...]) -> NDArray:
    """(positions,) bool: those that count."""
    if mask is None:
        return np.ones(int(np.prod(shape[:-1])), bool)
    held = whole(arrays[mask])
    if held.shape == shape:  # a mask of list entries
        held = held.any(axis=-1)
    if held.shape != shape[:-1]:
        raise refusal("top-k-shape", f"a mask of shape {shape[:-1]}", held.shape, where=arrays[mask].where or mask)
    keep = held.ravel().astype(bool)
    if not keep.any():
        raise refusal("no-tokens", "tokens that the mask keeps", "none", where=arrays[mask].where or mask)
    return keep


def _flat(matrix: Matrix, shape: tuple[int, ...], keep: NDArray) -> NDArray:
    """Positions first, without those that the mask leaves out."""
    array = whole(matrix)
    if array.shape[: len(shape) - 1] != shape[:-1] or array.dtype.kind not in "biufUS":
        raise refusal("top-k-shape", f"positions of shape {shape[:-1]}", array.shape, where=matrix.where or "top-k")
    return array.reshape(len(keep), *array.shape[len(shape) - 1 :])[keep]


def _wrapped(array: NDArray, where: str) -> Matrix:
    if array.dtype.kind == "f" and array.ndim == 2:
        array = np.where(array <= UNUSED, -np.inf, array)
    return ArrayMatrix(array, where)
