"""What are these numbers: logits, log-probabilities or probabilities? Detected, stated, and checked row by row."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from disobey.diagnosis.matrices import Matrix, head
from disobey.diagnosis.problems import problem, row_list

Values: TypeAlias = Literal["logits", "log-probabilities", "probabilities"]
VALUES = get_args(Values)
_LOOK = 2**20  # numbers that detection looks at


def tolerance(dtype: np.dtype) -> float:
    """How far a row of probabilities may sum from 1: rounding to half precision alone gives 5e-4 a class."""
    return 1e-2 if dtype.itemsize <= 2 else 1e-3


def detected(matrix: Matrix, asked: str = "auto") -> Values:
    """The kind of values of (N, C), from its first rows; ``asked`` overrides.

    Raises `ValueError` where all values lie in [0, 1] and rows do not sum to 1: independent probabilities (a sigmoid
    a class), or logits squeezed by something else, mean different things and nothing here can tell which.
    """
    if asked != "auto":
        if asked not in VALUES:
            raise problem("values", f"auto or one of {', '.join(VALUES)}", repr(asked))
        return asked  # type: ignore[return-value]
    some = np.asarray(head(matrix, max(1, min(4096, _LOOK // max(1, matrix.shape[1])))), dtype=np.float64)
    numbers = np.isfinite(some).all(axis=1) | ((some == -np.inf).any(axis=1) & ~np.isnan(some).any(axis=1))
    some = some[numbers & np.isfinite(some).any(axis=1)]
    if len(some) == 0:
        return "logits"  # nothing usable at the start: the pass itself will say which rows
    slack = tolerance(matrix.dtype)
    if some.min() >= 0 and some.max() <= 1 + slack:
        sums = some.sum(axis=1)
        odd = np.flatnonzero(np.abs(sums - 1) > slack)
        if len(odd) == 0:
            return "probabilities"
        # A few odd rows are damaged probabilities, reported with all the others; many are something else.
        if len(odd) > 0.01 * len(some) + 1:
            raise problem(
                matrix.where, "logits, log-probabilities, or probabilities that sum to 1 in every row",
                f"values in [0, 1] whose rows sum to something else (row {odd[0]}: {sums[odd[0]]:.4g})",
                "normalize them, save logits instead, or say --values logits",
            )  # fmt: skip
        return "probabilities"
    if some.max() <= slack and np.abs(logsumexp(some, axis=1)).max() <= 2 * slack:
        return "log-probabilities"
    return "logits"


def as_logits(block: NDArray, values: str, where: str, numbers: NDArray) -> NDArray:
    """Float64 logits of rows with these ``numbers``. Raises `ValueError` naming those that cannot be used."""
    block = np.asarray(block, dtype=np.float64)
    bad = unusable(block)
    if len(bad):
        raise problem(
            where, "a finite number for some class and no NaN or +Inf in every row", f"otherwise in {row_list(numbers[bad])}",
            "drop these rows, or find where the model overflows (half precision?)",
        )  # fmt: skip
    if values != "probabilities":
        return block
    sums = block.sum(axis=1)
    slack = 1e-2 if len(block) and np.abs(sums - 1).max() <= 1e-2 else 1e-3
    odd = np.flatnonzero((np.abs(sums - 1) > slack) | (block < -1e-6).any(axis=1))
    if len(odd):
        raise problem(
            where, "probabilities that sum to 1 in every row",
            f"a sum of {sums[odd[0]]:.4g} or a negative value in {row_list(numbers[odd])}",
            "normalize them, or save logits",
        )  # fmt: skip
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(block, 0.0))


def unusable(block: NDArray) -> NDArray:
    """Row numbers with NaN, +Inf or nothing but −Inf."""
    with np.errstate(invalid="ignore"):
        top = block.max(axis=1)
    return np.flatnonzero(~np.isfinite(top))
