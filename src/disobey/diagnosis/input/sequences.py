"""Logits of whole sequences, (S, T, V): every token is an example, and the tokens of a sequence are one cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.input.matrices import ArrayMatrix, BatchMatrix, Matrix, whole
from disobey.errors import refusal

IGNORED = -100  # the label of tokens that losses leave out (padding, prompts)


def flattened(named: Mapping[str, Matrix]) -> dict[str, Matrix]:
    """Arrays of (S, T, …) as arrays of (S·T, …), where all scores are three-dimensional; else as they are.

    Labels (S, T) of −100 leave their tokens out of all arrays. Columns (S,) are repeated for every token. Where no
    ``cluster`` is given, the sequences are the clusters.
    """
    teacher = named.get("teacher")
    scores = [m for name, m in named.items() if name.split("/")[0] in ("teacher", "student", "twin")]
    if teacher is None or {len(m.shape) for m in scores} != {3} or len({m.shape[:2] for m in scores}) > 1:
        return dict(named)
    sequences, tokens = teacher.shape[:2]
    if not sequences * tokens:
        raise refusal("no-examples", "at least one token", f"shape {teacher.shape}", where=teacher.where)
    keep = _kept(named.get("labels"), sequences, tokens)
    out = {name: _flat(matrix, name, sequences, tokens, keep) for name, matrix in named.items()}
    if "cluster" not in out:
        numbers = np.repeat(np.arange(sequences), tokens)
        out["cluster"] = ArrayMatrix(numbers if keep is None else numbers[keep], "cluster")
    return out


def _kept(labels: Matrix | None, sequences: int, tokens: int) -> NDArray | None:
    if labels is None or labels.shape != (sequences, tokens):
        return None
    keep = whole(labels).ravel() != IGNORED
    if not keep.any():
        raise refusal("no-examples", "labels other than −100", "none", "the tokens' true ids", where=labels.where)
    return None if keep.all() else keep


def _flat(matrix: Matrix, name: str, sequences: int, tokens: int, keep: NDArray | None) -> Matrix:
    shape = matrix.shape
    if name in ("class_names", "vocabulary") or not shape or shape[0] != sequences:
        return matrix  # refused later where it has another number of rows
    if shape[1:2] != (tokens,):
        if len(shape) > 1:
            return matrix
        repeated = np.repeat(whole(matrix), tokens)
        return ArrayMatrix(repeated if keep is None else repeated[keep], matrix.where)
    n = sequences * tokens if keep is None else int(keep.sum())
    if isinstance(matrix, ArrayMatrix) and keep is None:
        return ArrayMatrix(matrix.array.reshape(n, *shape[2:]), matrix.where)
    return BatchMatrix(partial(_batches, matrix, tokens, keep), (n, *shape[2:]), matrix.dtype, matrix.where)


def _batches(matrix: Matrix, tokens: int, keep: NDArray | None, rows: int) -> Iterator[NDArray]:
    start = 0
    for block in matrix.blocks(max(1, rows // tokens)):
        flat = block.reshape(len(block) * tokens, *block.shape[2:])
        part = flat if keep is None else flat[keep[start : start + len(flat)]]
        start += len(flat)
        if len(part):
            yield part
