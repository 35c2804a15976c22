"""Inputs as plain vectors, for models without layers: kernel students, probes of the data itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import Dataset
from disobey.data.moments import moments

MAX_CHARACTERS = 64  # a vocabulary of at most this size is one of characters, whose pairs are counted as well


def flat_inputs(dataset: Dataset, split: str) -> NDArray:
    """The inputs of a split as vectors.

    Images (channel, row, column) and features are scaled as networks get them. A text becomes the square root of how
    often each token occurs in it (a fifth e is less informative than a first). If tokens are characters, pairs of
    neighbours are counted as well, including the beginning and the end of the text. On `languages` the pairs increase
    the validation accuracy of kernel regression on 2,700 words from 0.47 to 0.72.

    Args:
        dataset: the data set.
        split: ``train``, ``validation`` or ``test``.

    Returns:
        (N, D) float64.

    Example:
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
    """Counts of tokens, and of pairs of neighbouring tokens for small vocabularies.

    In a pair 0 stands for the beginning or the end of the text.

    Args:
        inputs: token ids (N, L), 0 = padding at the end.
        tokens: size of the vocabulary, including padding.

    Returns:
        (N, D) float64, where D is tokens - 1, plus tokens**2 - 1 for at most 64 tokens.

    Example:
        >>> token_counts(np.array([[1, 1, 0]]), 2)  # of 1; of (beginning, 1), (1, end) and (1, 1)
        array([[2., 1., 1., 1.]])
    """
    counts = _counted(inputs, tokens)[:, 1:]
    if tokens > MAX_CHARACTERS:
        return counts
    edge = np.zeros((len(inputs), 1), inputs.dtype)
    padded = np.concatenate([edge, inputs, edge], axis=1)
    pairs = _counted(padded[:, :-1] * tokens + padded[:, 1:], tokens**2)[:, 1:]  # (0, 0) is padding
    return np.concatenate([counts, pairs], axis=1)


def _counted(ids: NDArray, size: int) -> NDArray:
    cells = np.arange(len(ids))[:, None] * size + ids
    return np.bincount(cells.ravel(), minlength=len(ids) * size).reshape(len(ids), size).astype(np.float64)
