"""Word pieces: byte-pair encoding of ASCII text, learned from how often words occur.

Reference: Sennrich, Haddow and Birch, "Neural machine translation of rare words with subword units", 2016, section 3.2.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from disobey.errors import refusal

END = ""  # piece 0: the end of a document
LETTERS = tuple(chr(code) for code in range(32, 127))
FEWEST = 1 + len(LETTERS)
_WORD = re.compile(r" ?[A-Za-z]+| ?[0-9]| ?[^A-Za-z0-9 ]| ")


def words_of(text: str) -> list[str]:
    """The words of a text, each with the space before it; digits one by one; what is not ASCII is left out.

    >>> words_of("two  words, 10")
    ['two', ' words', ',', ' 1', '0']
    """
    return _WORD.findall(" ".join(text.encode("ascii", "ignore").decode().split()))


@dataclass(frozen=True)
class Pieces:
    """A vocabulary of pieces; piece 0 ends a document.

    Attributes:
        vocabulary: the piece of every id: the end, all printable ASCII characters, then pairs in the order learned.
        merges: the pairs.
    """

    vocabulary: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, counts: Mapping[str, int], size: int) -> Pieces:
        """Learns pieces: joins the most frequent pair, again and again; ties in alphabetical order.

        Args:
            counts: how often each word occurs.
            size: of the vocabulary, at least 96.

        Raises:
            Refusal: ``piece-count``, for fewer pieces than characters, or text with fewer pairs.

        Example:
            >>> Pieces.of(Counter({"low": 5, "lower": 2}), 98).merges
            (('l', 'o'), ('lo', 'w'))
        """
        if size < FEWEST:
            raise refusal("piece-count", f"at least {FEWEST} pieces, the characters and the end", size)
        spelled = {word: list(word) for word in counts}
        pairs: Counter[tuple[str, str]] = Counter()
        where: dict[tuple[str, str], set[str]] = {}
        for word, letters in spelled.items():
            _count(pairs, where, word, letters, counts[word])
        merges: list[tuple[str, str]] = []
        while len(merges) < size - FEWEST:
            best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
            if best is None or pairs[best] < 1:
                raise refusal("piece-count", f"text with {size} pieces in it", len(merges) + FEWEST, "fewer pieces")
            merges.append(best)
            for word in sorted(where.pop(best)):
                _count(pairs, where, word, spelled[word], -counts[word])
                spelled[word] = _joined(spelled[word], best)
                _count(pairs, where, word, spelled[word], counts[word])
        return cls((END, *LETTERS, *(first + second for first, second in merges)), tuple(merges))

    @cached_property
    def ids(self) -> dict[str, int]:
        """Id by piece."""
        return {piece: number for number, piece in enumerate(self.vocabulary)}

    @cached_property
    def ranks(self) -> dict[tuple[str, str], int]:
        """Place of every pair in the order learned."""
        return {pair: rank for rank, pair in enumerate(self.merges)}

    def encode(self, documents: Iterable[str]) -> list[int]:
        """The ids of all documents in a row, each followed by its end.

        >>> pieces = Pieces.of(Counter({"low": 5, "lower": 2}), 98)
        >>> [pieces.vocabulary[i] for i in pieces.encode(["lower"])]
        ['low', 'e', 'r', '']
        """
        known: dict[str, list[int]] = {}
        found: list[int] = []
        for document in documents:
            for word in words_of(document):
                if word not in known:
                    known[word] = self._spell(word)
                found += known[word]
            found.append(0)
        return found

    def _spell(self, word: str) -> list[int]:
        letters = list(word)
        while len(letters) > 1:
            pair = min(pairwise(letters), key=lambda p: self.ranks.get(p, len(self.ranks)))
            if pair not in self.ranks:
                break
            letters = _joined(letters, pair)
        return [self.ids[letter] for letter in letters]


def _count(
    pairs: Counter[tuple[str, str]], where: dict[tuple[str, str], set[str]], word: str, letters: list[str], times: int
) -> None:
    """Adds the pairs of one spelling, or takes them away."""
    for pair in pairwise(letters):
        pairs[pair] += times
        if pairs[pair] <= 0:
            del pairs[pair]
        if times > 0:
            where.setdefault(pair, set()).add(word)


def _joined(letters: list[str], pair: tuple[str, str]) -> list[str]:
    """A spelling with every occurrence of a pair as one piece, from the left."""
    joined: list[str] = []
    for letter in letters:
        if joined and (joined[-1], letter) == pair:
            joined[-1] += letter
        else:
            joined.append(letter)
    return joined
