"""Which language is this word? Real text with natural class similarity, from the word lists of pyspellchecker.

Nine languages in Latin script. Accents are removed, because they would reveal the language. Words have 3 to 12 letters,
and of each language only the 5,000 most frequent words are used, with equal weights. From them 1,200 words per language
are for training, 200 for validation and 400 for test. Logistic regression reaches a test accuracy of 0.76 with letters
and pairs of letters, and of 0.82 with triples. Portuguese is mistaken for Spanish, Dutch for German.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import Dataset
from disobey.data.sources.embedded import package_file
from disobey.data.subsets import base_splits, stream
from disobey.errors import refusal

LANGUAGES = {
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "eu": "Basque",
    "fr": "French",
    "it": "Italian",
    "lv": "Latvian",
    "nl": "Dutch",
    "pt": "Portuguese",
}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
LENGTH = 12
FREQUENT, TRAIN, VALIDATION, TEST = 5_000, 1_200, 200, 400  # words per language
SOURCE = "pyspellchecker's word lists (MIT), out of OpenSubtitles and Wikipedia counts"


def languages() -> Dataset:
    """Which of 9 languages is this word? 10,800 training, 1,800 validation, 3,600 test words (the text default)."""
    return _dataset("languages", ambiguous=False)


def languages_ambiguous() -> Dataset:
    """The same with words that belong to several languages: some answers are truly uncertain."""
    return _dataset("languages-ambiguous", ambiguous=True)


def _dataset(name: str, *, ambiguous: bool) -> Dataset:
    files = [package_file("spellchecker", f"resources/{code}.json.gz") for code in LANGUAGES]
    words = _cached(name, files, lambda: _chosen_words(files, ambiguous))
    labels = np.repeat(np.arange(len(LANGUAGES)), TRAIN + VALIDATION + TEST)
    letters = np.zeros((len(words), LENGTH), dtype=np.int64)
    codes = words.astype(f"S{LENGTH}").view(np.uint8).reshape(len(words), LENGTH)
    letters[codes > 0] = codes[codes > 0] - ord("a") + 1
    classes = len(LANGUAGES)
    train, validation, test = base_splits(letters, labels, validation=VALIDATION * classes, test=TEST * classes)
    vocabulary = ("", *LETTERS)
    return Dataset(name, "text", tuple(LANGUAGES.values()), train, validation, test, vocabulary, "", SOURCE)


def _chosen_words(files: list[Path], ambiguous: bool) -> NDArray:
    """The words of all languages, one language after another, in random order: (classes * words per class,) of str."""
    lists = [_plain_words(file) for file in files]
    chosen = []
    for number, counts in enumerate(lists):
        others = [other for index, other in enumerate(lists) if index != number]
        frequent: list[str] = []
        for word in sorted(counts, key=counts.__getitem__, reverse=True):  # ties keep the order of the file
            if ambiguous or not any(word in other for other in others):
                frequent.append(word)
            if len(frequent) == FREQUENT:
                break
        if len(frequent) < FREQUENT:
            got, where = f"{len(frequent)} words", files[number]
            raise refusal("few-words", f"{FREQUENT} words", got, "pyspellchecker 0.9", where=where)
        picked = stream(0, f"languages {number}").permutation(len(frequent))[: TRAIN + VALIDATION + TEST]
        chosen.append(np.array(frequent)[picked])
    return np.concatenate(chosen)


def _plain_words(file: Path) -> dict[str, int]:
    """Words without accents, with 3 to 12 letters a-z, and how often they occur."""
    with gzip.open(file, "rt", encoding="utf-8") as raw:
        text = unicodedata.normalize("NFKD", raw.read().replace("ß", "ss"))
    text = re.sub("[\u0300-\u036f]+", "", text)  # for the whole file at once: twice as fast as word by word
    plain: dict[str, int] = {}
    for word, count in re.findall(rf'"([a-z]{{3,{LENGTH}}})": ?(\d+)', text):
        plain[word] = plain.get(word, 0) + int(count)
    return plain


def _cached(name: str, files: list[Path], make: Callable[[], NDArray]) -> NDArray:
    """``make()``, kept in the user's cache folder, because reading 1.8 million words takes seconds in every worker.

    The file name contains the checksums of the lists and of this module, so nothing outdated is read. A cache that
    cannot be read or written is ignored.
    """
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for file in files:
        with open(file, "rb") as raw:
            raw.seek(-8, os.SEEK_END)  # gzip ends with the checksum and the size of its content
            digest.update(raw.read())
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "disobey"
    place = root / f"{name}-{digest.hexdigest()[:16]}.npy"
    expected = (len(LANGUAGES) * (TRAIN + VALIDATION + TEST),)
    try:
        words = np.load(place, allow_pickle=False)
        if words.shape == expected and words.dtype.kind == "U":
            return words
    except (OSError, ValueError, EOFError):
        pass
    words = make()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=root, prefix=f".{name}-", delete=False) as file:
            np.save(file, words, allow_pickle=False)
        os.replace(file.name, place)
    except OSError:
        pass
    return words
