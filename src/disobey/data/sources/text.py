"""Texts to rows of token ids: a vocabulary of the training split, a fixed length.

Id 0 is padding (after the text), id 1 everything the training split does not know.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNKNOWN = "\ufffd"
MAX_TOKENS = 10_000  # of a vocabulary: the most frequent ones
MAX_LENGTH = {"word": 64, "char": 256}  # of a text, unless the user says otherwise


def split_tokens(text: str, level: str) -> list[str]:
    """The tokens of a text: lower-case words and single marks, or all its characters.

    >>> split_tokens("Don't panic!", "word")
    ["don't", 'panic', '!']
    """
    text = text.lower()
    return list(text) if level == "char" else re.findall(r"\w+(?:'\w+)?|[^\w\s]", text)


@dataclass(frozen=True)
class Vocabulary:
    """tokens: what every id stands for. level: "word" or "char". length: of every encoded text."""

    tokens: tuple[str, ...]
    level: str
    length: int

    @classmethod
    def of(cls, texts: Iterable[str], level: str = "word", length: int = 0) -> Vocabulary:
        """The most frequent tokens of the training texts; ties in the order of the alphabet.

        length: 0 takes what 19 of 20 training texts fit into, at most 64 words or 256 characters; what is longer
        loses its end.

        >>> Vocabulary.of(["a dog", "a cat"]).encode(["a cow", "cat"])
        array([[2, 1],
               [3, 0]])
        """
        lists = [split_tokens(text, level) for text in texts]
        counts = Counter(token for tokens in lists for token in tokens)
        known = sorted(counts, key=lambda token: (-counts[token], token))[: MAX_TOKENS - 2]
        fits = int(np.quantile([len(tokens) for tokens in lists], 0.95, method="inverted_cdf"))
        return cls(("", UNKNOWN, *known), level, length or min(max(fits, 1), MAX_LENGTH[level]))

    @property
    def separator(self) -> str:
        return "" if self.level == "char" else " "

    def encode(self, texts: Sequence[str] | NDArray) -> NDArray:
        """(N, length) int64 token ids."""
        ids = {token: number for number, token in enumerate(self.tokens)}
        rows = np.zeros((len(texts), self.length), dtype=np.int64)
        for row, text in zip(rows, texts, strict=True):
            tokens = [ids.get(token, 1) for token in split_tokens(text, self.level)[: self.length]]
            row[: len(tokens)] = tokens
        return rows
