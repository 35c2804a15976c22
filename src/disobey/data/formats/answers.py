"""A teacher's saved answers: what it says of every example of a data set, without the teacher itself.

An ``.npz`` with arrays ``train`` and ``validation`` (``test`` is not needed), or a folder with these as ``.npy``: the
folder of a finished run is one. Row i is about example i of the split, all of it, in the order of the data set. Rows
are logits, log-probabilities or probabilities; the last are recognized, the first two need not be told apart.
N examples, C classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import mendable, regular
from disobey.data.dataset import Dataset
from disobey.data.formats.files import npz_arrays
from disobey.errors import refusal

NEEDED = ("train", "validation")
TOLERANCE = 1e-3  # by which a row of probabilities may miss 1: they may be stored in half precision


def fingerprint(path: str | Path) -> str:
    """The sha256 (16 hex digits) of the files that hold the answers."""
    digest = hashlib.sha256()
    for file in _files(Path(path).expanduser()):
        with open(regular(file), "rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def read_answers(path: str, dataset: Dataset, planned: str = "") -> Mapping[str, NDArray]:
    """Log-probabilities of the splits ``train`` and ``validation``, (N, C) float32.

    Args:
        path: of the file or folder.
        dataset: with its whole training split, for numbers of rows and classes.
        planned: fingerprint of the content that is meant; "" for any.

    Raises:
        Refusal: ``no-answers``, ``changed-answers``, ``answer-arrays``, ``answer-shape`` or ``answer-numbers``, and
            those of damaged files.
    """
    found = fingerprint(path)
    if planned not in ("", found):
        expected = f"the content that was planned with, fingerprint {planned}"
        raise refusal("changed-answers", expected, found, "the old files, or a new plan", where=path)
    read = _read(path, found)
    return {split: _checked(read[split], dataset, split, path) for split in NEEDED}


@lru_cache(maxsize=8)
def _read(path: str, content: str) -> Mapping[str, NDArray]:
    """All arrays of a file or folder with this content."""
    del content
    place = Path(path).expanduser()
    with mendable(path):
        if place.suffix == ".npz" and place.is_file():
            found = npz_arrays(place)
        else:
            found = {file.stem: _npy(file) for file in _files(place)}
    missing = [split for split in NEEDED if split not in found]
    if missing:
        expected = "arrays train and validation, a row an example"
        attempt = "numpy.savez(FILE, train=..., validation=...)"
        raise refusal("answer-arrays", expected, ", ".join(found) or "none", attempt, where=path)
    return found


def _files(place: Path) -> list[Path]:
    """The files of answers at a place, refused where there are none."""
    if place.is_file() and place.suffix == ".npz":
        return [place]
    folder = place / "predictions" if (place / "predictions").is_dir() else place
    files = [file for split in NEEDED if (file := folder / f"{split}.npy").is_file()]
    if files:
        return files
    if place.suffix in (".pt", ".pth", ".bin", ".ckpt", ".safetensors"):
        got, attempt = "weights without a network", "FILE.py:FACTORY that builds and loads it, or its answers as .npz"
    else:
        got, attempt = "nothing of the kind" if place.exists() else "nothing there", "another path"
    expected = "saved answers (.npz, or a folder with train.npy and validation.npy), hf:NAME, or FILE.py:FACTORY"
    raise refusal("no-answers", expected, got, attempt, where=place)


def _npy(file: Path) -> NDArray:
    try:
        return np.load(regular(file), allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        raise refusal("answer-numbers", "a .npy file of numbers", str(error), "numpy.save", where=file) from None


def _checked(rows: NDArray, dataset: Dataset, split: str, path: str) -> NDArray:
    """Log-probabilities of one split."""
    shape = len(dataset.split(split)), len(dataset.classes)
    if rows.shape != shape:
        expected = f"{split} of shape {shape}: every example of {dataset.name}, every class"
        raise refusal("answer-shape", expected, rows.shape, "answers on the whole split, in its order", where=path)
    if rows.dtype.kind not in "fiu" or np.isnan(rows).any() or not np.isfinite(rows.max(axis=1)).all():
        raise refusal("answer-numbers", "numbers, none NaN or +infinity", f"{rows.dtype} in {split}", where=path)
    values = rows.astype(np.float64)
    if (values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=TOLERANCE):
        with np.errstate(divide="ignore"):
            values = np.log(values)
    top = values.max(axis=1, keepdims=True)
    return (values - top - np.log(np.exp(values - top).sum(axis=1, keepdims=True))).astype(np.float32)
