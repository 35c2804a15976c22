"""Is this a pair of language models, and where in its text does a token stand?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.evidence.evidence import Evidence

MANY = 200  # classes from which these are the tokens of a language, or as many
SEQUENTIAL = 20  # classes from which they are, where examples come in sequences


def speaks(evidence: Evidence) -> bool:
    """Whether the pair is of language models, or like them: top-k lists, many classes, classes in sequences."""
    classes = evidence.pair.shape[1]
    return evidence.sparse is not None or classes >= (MANY if evidence.codes is None else SEQUENTIAL)


def positions(codes: NDArray) -> NDArray:
    """(N,) the how-manieth example of its cluster each one is, from 0, in the data's order.

    >>> positions(np.array([1, 0, 1, 1, 0]))
    array([0, 0, 1, 2, 1])
    """
    order = np.argsort(codes, kind="stable")
    starts = np.r_[0, np.flatnonzero(np.diff(codes[order])) + 1]
    sizes = np.diff(np.r_[starts, len(codes)])
    out = np.empty(len(codes), np.int64)
    out[order] = np.arange(len(codes)) - np.repeat(starts, sizes)
    return out
