"""What are these numbers: logits, log-probabilities or probabilities? Detected, stated, and checked row by row."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from disobey.diagnosis.errors import row_list
from disobey.diagnosis.input.matrices import Matrix, head
from disobey.errors import refusal

Values: TypeAlias = Literal["logits", "log-probabilities", "probabilities"]
VALUES = get_args(Values)
_READ = 2**20  # numbers that detection reads
WIDE = 1e-2  # how far sums may be from 1 where all are as near as that


def tolerance(dtype: np.dtype) -> float:
    """How far a row of probabilities may sum from 1: rounding to half precision alone gives 5e-4 a class."""
    return 1e-2 if dtype.itemsize <= 2 else 1e-3


def detected(matrix: Matrix, asked: str = "auto") -> Values:
    """The kind of values of (N, C), from its first rows; ``asked`` overrides.

    Raises `Refusal` where all values lie in [0, 1] and rows do not sum to 1: independent probabilities (one sigmoid for
    each class) and squeezed logits mean different things, and nothing here can tell which these are.
    """
    if asked != "auto":
        if asked not in VALUES:
            raise refusal("unknown-values", f"auto or one of {', '.join(VALUES)}", repr(asked), where="values")
        if asked == "log-probabilities":
            _sum_to_one(matrix)
        return asked  # type: ignore[return-value]
    some = _first_rows(matrix)
    if len(some) == 0:
        return "logits"  # nothing usable at the start: reading the whole will say which rows
    slack = tolerance(matrix.dtype)
    if some.min() >= 0 and some.max() <= 1 + WIDE:
        sums = some.sum(axis=1)
        if np.abs(sums - 1).max() <= WIDE:  # rounded (bfloat16), as `as_logits` takes them
            return "probabilities"
        odd = np.flatnonzero(np.abs(sums - 1) > slack)
        # A few odd rows are damaged probabilities, refused by number later; many are something else.
        if len(odd) > 0.01 * len(some) + 1:
            raise refusal(
                "not-normalized",
                "logits, log-probabilities, or probabilities that sum to 1 in every row",
                f"values in [0, 1] whose rows sum to something else (row {odd[0]}: {sums[odd[0]]:.4g})",
                "normalize them, save logits instead, or say --values logits",
                where=matrix.where,
            )
        return "probabilities"
    sums = some.sum(axis=1)
    even = sums.mean() / some.shape[1]
    if 0 <= some.min() < 0.1 * even and len(sums) > 1 and np.ptp(sums) <= 1e-3 * sums.mean():  # what no logits do
        got = f"values above 0 whose rows all sum to {sums.mean():.4g}"
        hint = "divide by that sum (percent? counts of votes?), or say --values logits"
        raise refusal("not-scores", "logits, log-probabilities or probabilities", got, hint, where=matrix.where)
    if some.max() <= slack and np.abs(logsumexp(some, axis=1)).max() <= 2 * slack:
        return "log-probabilities"
    return "logits"


def _first_rows(matrix: Matrix) -> NDArray:
    """(≤ 4096, C) float64: the first rows, without unusable ones."""
    some = np.asarray(head(matrix, max(1, min(4096, _READ // max(1, matrix.shape[1])))), dtype=np.float64)
    numbers = np.isfinite(some).all(axis=1) | ((some == -np.inf).any(axis=1) & ~np.isnan(some).any(axis=1))
    return some[numbers & np.isfinite(some).any(axis=1)]


def _sum_to_one(matrix: Matrix) -> None:
    """Refuses what is far from being log-probabilities (rounding to bfloat16 alone gives a few percent)."""
    some = _first_rows(matrix)
    sums = logsumexp(some, axis=1) if len(some) else np.zeros(1)
    odd = np.flatnonzero(np.abs(sums) > 0.2)
    if len(odd):
        got = f"another sum (e to the {sums[odd[0]]:.4g}, say) in {len(odd):,} of the first {len(some):,} rows"
        hint = "--values auto, logits or probabilities"
        raise refusal("not-normalized", "log-probabilities, whose exponentials sum to 1", got, hint, where=matrix.where)


def as_logits(block: NDArray, values: str, where: str, numbers: NDArray) -> NDArray:
    """Float64 logits of rows with these ``numbers``. Raises `Refusal` naming those that cannot be used."""
    block = np.asarray(block, dtype=np.float64)
    bad = unusable(block)
    if len(bad):
        raise refusal(
            "not-finite",
            "a finite number for some class and no NaN or +Inf in every row",
            f"otherwise in {row_list(numbers[bad])}",
            "drop these rows, or find where the model overflows (half precision?)",
            where=where,
        )
    if values != "probabilities":
        return block
    sums = block.sum(axis=1)
    slack = WIDE if len(block) and np.abs(sums - 1).max() <= WIDE else 1e-3
    odd = np.flatnonzero((np.abs(sums - 1) > slack) | (block < -1e-6).any(axis=1))
    if len(odd):
        raise refusal(
            "not-normalized",
            "probabilities that sum to 1 in every row",
            f"a sum of {sums[odd[0]]:.4g} or a negative value in {row_list(numbers[odd])}",
            "normalize them, or save logits",
            where=where,
        )
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(block, 0.0))


def unusable(block: NDArray) -> NDArray:
    """Row numbers with NaN, +Inf or nothing but −Inf."""
    with np.errstate(invalid="ignore"):
        top = block.max(axis=1)
    return np.flatnonzero(~np.isfinite(top))
