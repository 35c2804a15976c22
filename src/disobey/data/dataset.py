"""`Dataset`: inputs, labels and three splits. `DataSpec`: which data, as a value that can be stored.

Shapes: N examples. Images are (N, H, W, channels) uint8; texts (N, L) int64 token ids, 0 = padding; features (N, D)
float32. Labels are (N,) int64, masks (N, H, W) int16 where pixels have classes, or boxes (N, K, 5) float32 (see
`boxes`). Every choice is made on the validation split; the test split is used for no choice.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["image", "text", "features"]
VOID = -1  # class of a pixel that nobody labelled, of a row that is no box: left out of training and of every number


@dataclass(frozen=True)
class DataSpec:
    """Which data a run uses. Every field affects the result, and defaults never change their meaning.

    Attributes:
        name: a key of `data.load.DATASETS`, ``hub:NAME`` or a path.
        train: size of a stratified subset of the training split, nested over sizes within a seed; None means all of it.
        noise: share of training labels that are replaced by another class.
        noise_kind: ``symmetric`` (any other class) or ``class`` (always the most similar class).
        fold: (i, K) leaves out the i-th of K parts of the training split.
        augment: ``none``, ``crop``, ``crop-flip`` or ``mixup``.
        fingerprint: of the content, for data from a path or the hub; changed files are refused.
    """

    name: str = "mnist-5k"
    train: int | None = None
    noise: float = 0.0
    noise_kind: Literal["symmetric", "class"] = "symmetric"
    fold: tuple[int, int] | None = None
    augment: Literal["none", "crop", "crop-flip", "mixup"] = "none"
    fingerprint: str = ""


@dataclass(frozen=True, eq=False)
class Split:
    """Examples in a fixed order.

    Attributes:
        inputs: see the shapes above.
        labels: true classes (N,) int64; of pixels (N, H, W) int16, `VOID` where a pixel has none; of boxes (N, K, 5)
            float32, `VOID` in rows that are none.
        ids: stable numbers of the examples within their data set, (N,) int64.
        observed: labels that training uses, like ``labels``; the true ones unless noise was added.
    """

    inputs: NDArray
    labels: NDArray
    ids: NDArray
    observed: NDArray = field(default=None)  # type: ignore[assignment]

    def __post_init__(self):
        if self.observed is None:
            object.__setattr__(self, "observed", self.labels)
        lengths = {len(self.inputs), len(self.labels), len(self.ids), len(self.observed)}
        assert len(lengths) == 1, f"columns of unequal length: {lengths}"

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.labels)

    @property
    def given(self) -> NDArray:
        """Old name of `observed`, kept for one release."""
        return self.observed

    @property
    def mislabelled(self) -> NDArray:
        """Where the observed label is not the true one, bool, in the shape of the labels."""
        return self.observed != self.labels

    def take(self, rows: NDArray) -> Split:
        """The examples in these rows."""
        return Split(self.inputs[rows], self.labels[rows], self.ids[rows], self.observed[rows])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits and what is known about them.

    Attributes:
        name: as in `DataSpec`.
        kind: ``image``, ``text`` or ``features``.
        classes: names of the classes.
        train: examples to train on.
        validation: examples on which choices are made.
        test: examples on which results are reported.
        vocabulary: for texts, the token of every id; id 0 is padding.
        separator: for texts, what stands between two tokens.
        source: where the data come from and under which licence, for the report.
        moments: mean and standard deviation of the inputs of the whole training split (see `tensors`).
    """

    name: str
    kind: Kind
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    vocabulary: tuple[str, ...] = ()
    separator: str = " "
    source: str = ""
    moments: tuple[NDArray, NDArray] | None = None

    @property
    def dense(self) -> bool:
        """Whether pixels have classes, and not whole images."""
        return self.train.labels.ndim == 3 and self.train.labels.dtype.kind in "iu"

    @property
    def boxed(self) -> bool:
        """Whether boxes in images have classes, and not whole images."""
        return self.train.labels.ndim == 3 and self.train.labels.dtype.kind == "f"

    @property
    def fingerprint(self) -> str:
        """The sha256 (16 hex digits) of the content of all splits and of the class names."""
        digest = hashlib.sha256()
        for name in self.classes + self.vocabulary:
            digest.update(name.encode() + b"\0")
        for split in (self.train, self.validation, self.test):
            for array in (split.inputs, split.labels, split.observed):
                array = np.ascontiguousarray(array)
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(array.data)
        return digest.hexdigest()[:16]

    def split(self, name: str) -> Split:
        """The split ``train``, ``validation`` or ``test``."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]

    def text(self, row: NDArray) -> str:
        """The text of one row of token ids."""
        return self.separator.join(self.vocabulary[token] for token in row if token)

    def with_train(self, train: Split) -> Dataset:
        """The same data with another training split."""
        return replace(self, train=train)
