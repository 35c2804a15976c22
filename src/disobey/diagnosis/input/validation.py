"""What shape and type an array of a pair must have; every refusal says what to save instead."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.input.matrices import Matrix, whole
from disobey.errors import printable, refusal


def scores(matrix: Matrix, name: str) -> None:
    """Numbers (N, C) of a model: floating point, at least one example and two classes."""
    where, shape = matrix.where or name, matrix.shape
    if len(shape) != 2:
        hint = "reshape(-1, classes): every token is an example" if len(shape) == 3 else "one row an example"
        raise refusal("score-shape", "an array of shape (examples, classes)", f"shape {shape}", hint, where=where)
    if matrix.dtype.kind != "f":
        hint = "save the scores, not their argmax" if matrix.dtype.kind in "iu" else "save numbers"
        raise refusal("score-type", "floating-point scores", f"type {matrix.dtype}", hint, where=where)
    if shape[0] == 0:
        raise refusal(
            "no-examples",
            "at least one example",
            "none: the array is empty",
            "check the loop that saved it",
            where=where,
        )
    if shape[1] < 2:
        raise refusal(
            "one-class", "at least 2 classes", shape[1], "for one logit z, save the two columns 0 and z", where=where
        )


def listed_scores(matrix: Matrix, name: str, ids: Matrix) -> None:
    """Scores (N, k), one for each of ``ids``."""
    scores(matrix, name)
    if matrix.shape != ids.shape:
        raise refusal(
            "top-k-shape", f"the shape of topk_ids {ids.shape}", matrix.shape, "one column a token", where=matrix.where
        )


def same_rule(columns: Mapping[str, NDArray], twin: Matrix | None, where: str) -> None:
    """Agreement is exact with a most likely token and a lower bound without: never one of each."""
    tops = [key for key in ("topk_student_top", "topk_twin_top") if key in columns]
    if twin is not None and len(tops) == 1:
        missing = "topk_twin_top" if tops[0] == "topk_student_top" else "topk_student_top"
        raise refusal(
            "half-rule",
            f"{missing!r} beside {tops[0]!r} and 'topk_twin'",
            "only one of them",
            "save both or none",
            where=where,
        )


def column(matrix: Matrix, name: str, n: int) -> NDArray:
    """An array with one value an example, read: (n,)."""
    same_rows(matrix, n, name)
    if len(matrix.shape) != 1:
        raise refusal(
            "column-shape",
            f"{name} of shape ({n},)",
            f"shape {matrix.shape}",
            "one value an example",
            where=matrix.where,
        )
    values = whole(matrix)
    return values.astype(bool) if name == "mislabelled" else values


def same_rows(matrix: Matrix, n: int, name: str) -> None:
    """Any array with one row an example."""
    if not matrix.shape or matrix.shape[0] != n:
        got = f"{matrix.shape[0]:,}" if matrix.shape else "a single number"
        raise refusal(
            "row-counts",
            f"{n:,} rows, as the teacher has",
            got,
            "save them from the same loop",
            where=matrix.where or name,
        )


def unique(ids: NDArray, where: str) -> None:
    """Every id names one example."""
    if ids.ndim != 1:
        raise refusal("id-shape", "ids of shape (N,)", f"shape {ids.shape}", "one id an example", where=where)
    _, first, counts = np.unique(ids, return_index=True, return_counts=True)
    twice = first[counts > 1]
    if len(twice):
        got = f"{printable(ids[twice[0]], 60)!r} {int(counts[counts > 1][0])} times, and {len(twice):,} such ids"
        raise refusal(
            "id-twice", "every id once", got, "drop repeated examples, or make ids unique", where=f"{where}[ids]"
        )
