"""Inputs as plain vectors, for whoever has no layers: kernel students, probes of the data itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import Dataset
from disobey.data.moments import moments

LETTERS = 64  # up to so many tokens a vocabulary is one of characters, and pairs of neighbours are counted too


def flat_inputs(dataset: Dataset, split: str) -> NDArray:
    """(N, D) float64. Images (channel, row, column) and features scaled as networks see them; texts as counts.

    A text is the square root of how often each token occurs in it (a fifth e tells less than a first); where tokens are
    characters also each pair of neighbours, begin and end of the text included. On `languages` the pairs take kernel
    regression on 2,700 words from .47 to .72 of the validation words.

    >>> from disobey.data.load import DataSpec, load
    >>> flat_inputs(load(DataSpec("digits-8x8", train=50), 0), "train").shape
    (50, 64)
    """
    inputs = dataset.split(split).inputs
    if dataset.kind == "text":
        return np.sqrt(token_counts(inputs, len(dataset.vocabulary)))
    inputs = inputs / 255.0 if dataset.kind == "image" else inputs.astype(np.float64)
    mean, deviation = dataset.moments or moments(dataset)  # type: ignore[misc]
    inputs = (inputs - mean) / deviation
    return (np.moveaxis(inputs, -1, 1) if dataset.kind == "image" else inputs).reshape(len(inputs), -1)


def token_counts(inputs: NDArray, tokens: int) -> NDArray:
    """Token ids (N, L), 0 = padding at the end, to counts (N, D) float64: of tokens, then of pairs of neighbours.

    D is tokens - 1, plus tokens**2 - 1 where there are at most 64 tokens. In a pair 0 stands for begin or end.

    >>> token_counts(np.array([[1, 1, 0]]), 2)  # of 1; of (begin, 1), (1, end) and (1, 1)
    array([[2., 1., 1., 1.]])
    """
    counts = _counted(inputs, tokens)[:, 1:]
    if tokens > LETTERS:
        return counts
    edge = np.zeros((len(inputs), 1), inputs.dtype)
    padded = np.concatenate([edge, inputs, edge], axis=1)
    pairs = _counted(padded[:, :-1] * tokens + padded[:, 1:], tokens**2)[:, 1:]  # (0, 0) is padding
    return np.concatenate([counts, pairs], axis=1)


def _counted(ids: NDArray, size: int) -> NDArray:
    cells = np.arange(len(ids))[:, None] * size + ids
    return np.bincount(cells.ravel(), minlength=len(ids) * size).reshape(len(ids), size).astype(np.float64)
