"""`Dataset`: inputs, labels and three splits; `DataSpec`: which data, as a value that can be written down.

Shapes: N examples. Images (N, H, W, channels) uint8; texts (N, L) int64 token ids, 0 = padding; features (N, D)
float32. The validation split exists for every choice; the test split chooses nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["image", "text", "features"]


@dataclass(frozen=True)
class DataSpec:
    """Which data a run sees. Every field decides the result; defaults never change their meaning."""

    name: str = "mnist-5k"  # a key of `data.load.DATASETS`, `hub:NAME` or a path
    train: int | None = None  # stratified subset of the training split, nested over sizes within a seed
    noise: float = 0.0  # share of training labels replaced by another class
    noise_kind: Literal["symmetric", "class"] = "symmetric"
    fold: tuple[int, int] | None = None  # (i, K): leave the i-th of K parts of the training split out
    augment: Literal["none", "crop", "crop-flip", "mixup"] = "none"
    fingerprint: str = ""  # of the content, for data by path or from the hub: changed files are refused


@dataclass(frozen=True, eq=False)
class Split:
    """Examples in a fixed order. ``labels`` are the true classes, ``given`` what training is told."""

    inputs: NDArray
    labels: NDArray  # (N,) int64
    ids: NDArray  # (N,) int64: stable names of the examples within their data set
    given: NDArray = field(default=None)  # type: ignore[assignment]  # (N,) int64; the labels unless noise was planted

    def __post_init__(self):
        if self.given is None:
            object.__setattr__(self, "given", self.labels)
        lengths = {len(self.inputs), len(self.labels), len(self.ids), len(self.given)}
        assert len(lengths) == 1, f"columns of unequal length: {lengths}"

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def mislabelled(self) -> NDArray:
        """(N,) bool: where training is told something else than the truth."""
        return self.given != self.labels

    def take(self, rows: NDArray) -> Split:
        return Split(self.inputs[rows], self.labels[rows], self.ids[rows], self.given[rows])


@dataclass(frozen=True, eq=False)
class Dataset:
    name: str
    kind: Kind
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    vocabulary: tuple[str, ...] = ()  # texts: the token of every id; id 0 is padding
    separator: str = " "  # texts: what stands between two tokens when they are read
    source: str = ""  # where it came from and under which licence, for the report
    moments: tuple[NDArray, NDArray] | None = None  # (mean, deviation) of the whole training split: see `tensors`

    @property
    def fingerprint(self) -> str:
        """sha256 (16 hex digits) of the content of all splits and the class names."""
        digest = hashlib.sha256()
        for name in self.classes + self.vocabulary:
            digest.update(name.encode() + b"\0")
        for split in (self.train, self.validation, self.test):
            for array in (split.inputs, split.labels, split.given):
                array = np.ascontiguousarray(array)
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(array.data)
        return digest.hexdigest()[:16]

    def split(self, name: str) -> Split:
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]

    def text(self, row: NDArray) -> str:
        """The words of one row of token ids."""
        return self.separator.join(self.vocabulary[token] for token in row if token)

    def with_train(self, train: Split) -> Dataset:
        return replace(self, train=train)
