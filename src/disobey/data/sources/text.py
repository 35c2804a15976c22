"""Texts to rows of token ids: a vocabulary of the training split and a fixed length.

Id 0 is padding (after the text), id 1 stands for every token that is not in the vocabulary.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNKNOWN = "\ufffd"
MAX_TOKENS = 10_000  # size of a vocabulary, of the most frequent tokens
MAX_LENGTH = {"word": 64, "char": 256}  # tokens of a text, unless the user sets the length


def split_tokens(text: str, level: str) -> list[str]:
    """The tokens of a text: lower-case words and punctuation marks (``word``), or all characters (``char``).

    >>> split_tokens("Don't panic!", "word")
    ["don't", 'panic', '!']
    """
    text = text.lower()
    return list(text) if level == "char" else re.findall(r"\w+(?:'\w+)?|[^\w\s]", text)


@dataclass(frozen=True)
class Vocabulary:
    """Tokens and how to encode texts with them.

    Attributes:
        tokens: the token of every id.
        level: ``word`` or ``char``.
        length: of every encoded text.
    """

    tokens: tuple[str, ...]
    level: str
    length: int

    @classmethod
    def of(cls, texts: Iterable[str], level: str = "word", length: int = 0) -> Vocabulary:
        """The vocabulary of the most frequent tokens of the training texts; ties are in alphabetical order.

        Args:
            texts: training texts.
            level: ``word`` or ``char``.
            length: tokens of an encoded text; longer texts lose their end. 0 means the length that 95% of the texts fit
                into, at most 64 words or 256 characters.

        Returns:
            The vocabulary.

        Example:
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
        """What stands between two tokens when they are joined to a text."""
        return "" if self.level == "char" else " "

    def encode(self, texts: Sequence[str] | NDArray) -> NDArray:
        """Token ids (N, length) int64 of texts."""
        ids = {token: number for number, token in enumerate(self.tokens)}
        rows = np.zeros((len(texts), self.length), dtype=np.int64)
        for row, text in zip(rows, texts, strict=True):
            tokens = [ids.get(token, 1) for token in split_tokens(text, self.level)[: self.length]]
            row[: len(tokens)] = tokens
        return rows
