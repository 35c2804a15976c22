"""Running text for language models: the documentation strings inside an installed package, as word pieces.

A name ``text:PACKAGE#SIZE`` says which package and how many pieces: ``text:scipy#512``. The texts are what stands
between triple quotes in the package's files (tests left out), long ones only: English with formulas and examples. They
are split by document, with the same split for every seed. Another version of the package is another text, so its
fingerprint belongs to a run's identity. The package is not imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import DataSpec
from disobey.data.pieces import Pieces, words_of
from disobey.data.subsets import stream
from disobey.errors import refusal

NAME = re.compile(r"text:([A-Za-z_]\w*)#(\d+)")
LICENCES: dict[str, str] = dict.fromkeys(("scipy", "numpy", "sklearn", "jinja2"), "BSD 3-clause")
SHORTEST = 200  # characters of a document
CHARACTERS = 4_000_000  # of all documents at most, in random order
SHARES = (0.9, 0.04, 0.06)  # of documents: training, validation, test
_QUOTED = re.compile(r'"""(.*?)"""', re.DOTALL)


@dataclass(frozen=True, eq=False)
class Passages:
    """Text as three streams of piece ids.

    Attributes:
        name: as in `DataSpec`.
        vocabulary: the piece of every id; piece 0 ends a document.
        train: (tokens,) int64.
        validation: (tokens,).
        test: (tokens,).
        source: package, version and licence.
    """

    name: str
    vocabulary: tuple[str, ...]
    train: NDArray
    validation: NDArray
    test: NDArray
    source: str

    @property
    def fingerprint(self) -> str:
        """The sha256 (16 hex digits) of vocabulary and streams."""
        digest = hashlib.sha256("\0".join(self.vocabulary).encode())
        for part in (self.train, self.validation, self.test):
            digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()[:16]

    def windows(self, split: str, length: int) -> NDArray:
        """A split as windows (N, length + 1): inputs are all tokens but the last, answers all but the first.

        Neighbours share one token, so that every token but the first is an answer once.
        """
        tokens = {"train": self.train, "validation": self.validation, "test": self.test}[split]
        count = (len(tokens) - 1) // length
        return np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[::length][:count]


def passages(spec: DataSpec) -> Passages:
    """The text of a specification.

    Raises:
        Refusal: ``text-name``, ``no-data-package``, ``little-text`` or ``changed-data``.
    """
    found = _made(spec.name)
    if spec.fingerprint and spec.fingerprint != found.fingerprint:
        expected = f"text with fingerprint {spec.fingerprint}"
        got = f"{found.fingerprint} ({found.source})"
        raise refusal("changed-data", expected, got, "the package in its old version", where=spec.name)
    return found


def resolved(spec: DataSpec) -> DataSpec:
    """The specification with the fingerprint of the text that is installed here."""
    return replace(spec, fingerprint=passages(replace(spec, fingerprint="")).fingerprint)


@lru_cache(maxsize=2)
def _made(name: str) -> Passages:
    matched = NAME.fullmatch(name)
    if matched is None:
        raise refusal("text-name", "text:PACKAGE#SIZE, a package and a number of word pieces", repr(name))
    package, size = matched[1], int(matched[2])
    documents = [texts[i] for i in stream(0, "passages").permutation(len(texts))] if (texts := _texts(package)) else []
    kept = documents[: int(np.searchsorted(np.cumsum([len(text) for text in documents]), CHARACTERS)) + 1]
    if len(kept) < 50:
        raise refusal("little-text", "a package with 50 documentation strings", len(kept), "text:scipy#512", where=name)
    first, second = int(SHARES[0] * len(kept)), int((SHARES[0] + SHARES[1]) * len(kept))
    parts = kept[:first], kept[first:second], kept[second:]
    pieces = Pieces.of(Counter(word for text in parts[0] for word in words_of(text)), size)
    train, validation, test = (np.array(pieces.encode(part), dtype=np.int64) for part in parts)
    return Passages(name, pieces.vocabulary, train, validation, test, _source(package))


def _texts(package: str) -> list[str]:
    """All long documentation strings, each once, in the order of the files' names."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        expected = f"the package {package!r}, whose documentation is the text"
        raise refusal("no-data-package", expected, "none", f"pip install {package}")
    root = Path(found.submodule_search_locations[0])
    files = sorted(file for file in root.rglob("*.py") if "tests" not in file.parts)
    quoted = (text for file in files for text in _QUOTED.findall(file.read_text("utf-8", errors="ignore")))
    return list(dict.fromkeys(text for text in quoted if len(text) >= SHORTEST))


def _source(package: str) -> str:
    try:
        number = version({"sklearn": "scikit-learn"}.get(package, package))
    except PackageNotFoundError:
        number = "of unknown version"
    licence = LICENCES.get(package, "the package's own licence")
    return f"documentation strings of {package} {number} ({licence})"
