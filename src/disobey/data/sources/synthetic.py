"""Planted truth: data whose best answer is known, made from sizes and a seed.

``synthetic:spectrum``, ``synthetic:similarity`` and ``synthetic:overlap``, with the parameters of the functions below
behind ``#``: ``synthetic:overlap#classes=5,distance=2``. The data's own ``seed`` is one of them, so that the truth stays
put while the seeds of runs vary. ``modular-addition#p=97`` is read the same way; it needs no seed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import Dataset
from disobey.data.sources.modular import modular_addition
from disobey.data.subsets import base_splits, stream


def spectrum(
    *,
    examples: int = 5000,
    features: int = 64,
    classes: int = 10,
    decay: float = 1.0,
    margin: float = 3.0,
    seed: int = 0,
) -> Dataset:
    """Gaussian features with a power-law spectrum: variance k^-decay in direction k.

    Labels are drawn from the softmax of linear logits with planted Gaussian weights and deviation about ``margin``, so
    the best answer is known: `spectrum_log_probs`.
    """
    rng = stream(seed, "synthetic spectrum")
    x = rng.normal(size=(examples, features)) * np.arange(1, features + 1) ** (-decay / 2)
    labels = _draw(_spectrum_logits(x, features, classes, decay, margin, seed), rng)
    return _dataset("spectrum", x, labels, classes)


def spectrum_log_probs(
    inputs: NDArray, *, classes: int = 10, decay: float = 1.0, margin: float = 3.0, seed: int = 0
) -> NDArray:
    """The true log-probabilities of `spectrum`'s labels: (N, D) inputs to (N, C)."""
    logits = _spectrum_logits(np.asarray(inputs, np.float64), inputs.shape[1], classes, decay, margin, seed)
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def _spectrum_logits(x: NDArray, features: int, classes: int, decay: float, margin: float, seed: int) -> NDArray:
    weights = stream(seed, "synthetic weights").normal(size=(features, classes))
    scale = np.sqrt((np.arange(1, features + 1) ** -float(decay)).sum())  # logits of deviation ``margin``
    return margin * x @ weights / scale


def similarity(
    *,
    examples: int = 5000,
    classes: int = 10,
    features: int = 32,
    own: float = 1.0,
    shared: float = 0.5,
    sigma: float = 0.5,
    seed: int = 0,
) -> Dataset:
    """The class-similarity model: x = own * e_y + shared * e_s + sigma * xi.

    y is the class, s another class (uniform) that this example resembles, xi standard normal noise over all
    ``features`` >= classes directions. What a teacher knows beyond the label is s.
    """
    if features < classes:
        raise ValueError(f"expected at least {classes} features for {classes} classes, came {features}; try more")
    rng = stream(seed, "synthetic similarity")
    y = rng.permutation(np.arange(examples) % classes)
    s = (y + rng.integers(1, classes, examples)) % classes
    x = sigma * rng.normal(size=(examples, features))
    x[np.arange(examples), y] += own
    x[np.arange(examples), s] += shared
    return _dataset("similarity", x, y, classes)


def overlap(
    *, examples: int = 5000, classes: int = 10, features: int = 16, distance: float = 3.0, seed: int = 0
) -> Dataset:
    """Overlapping classes: unit Gaussians around planted means, ``distance`` apart in the root mean square.

    The best answer is known: `overlap_log_probs`.
    """
    rng = stream(seed, "synthetic overlap")
    y = rng.permutation(np.arange(examples) % classes)
    x = rng.normal(size=(examples, features)) + _means(classes, features, distance, seed)[y]
    return _dataset("overlap", x, y, classes)


def overlap_log_probs(inputs: NDArray, *, classes: int = 10, distance: float = 3.0, seed: int = 0) -> NDArray:
    """The true log-probabilities of `overlap`'s classes: (N, D) inputs to (N, C)."""
    means = _means(classes, inputs.shape[1], distance, seed)
    logits = np.asarray(inputs, np.float64) @ means.T - 0.5 * (means**2).sum(axis=1)
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def _means(classes: int, features: int, distance: float, seed: int) -> NDArray:
    return stream(seed, "synthetic means").normal(size=(classes, features)) * distance / np.sqrt(2 * features)


def _draw(logits: NDArray, rng: np.random.Generator) -> NDArray:
    """A class per row with probabilities softmax(logits)."""
    return (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def _dataset(name: str, x: NDArray, labels: NDArray, classes: int) -> Dataset:
    total = len(x)
    splits = base_splits(x.astype(np.float32), labels, validation=total // 10, test=total // 5)
    return Dataset(f"synthetic:{name}", "features", tuple(map(str, range(classes))), *splits, source="made from a seed")


SYNTHETIC: dict[str, Callable[..., Dataset]] = {
    "synthetic:spectrum": spectrum,
    "synthetic:similarity": similarity,
    "synthetic:overlap": overlap,
    "modular-addition": modular_addition,
}


def from_name(name: str) -> Dataset:
    """``synthetic:overlap#classes=5,distance=2`` made. `ValueError` for unknown parameters and values of another type.

    >>> from_name("synthetic:overlap#examples=100,classes=4").classes
    ('0', '1', '2', '3')
    """
    place, _, tail = name.partition("#")
    make = SYNTHETIC[place]
    known = {key: type(value.default) for key, value in inspect.signature(make).parameters.items()}
    chosen = {}
    for item in filter(None, tail.split(",")):
        key, _, value = item.partition("=")
        try:
            chosen[key] = known[key](value)
        except (KeyError, ValueError):
            usual = ", ".join(f"{key}={kind.__name__}" for key, kind in known.items())
            hint = f"{place}#{'p=31' if 'p' in known else 'seed=1'}"
            raise ValueError(f"{name}: expected parameters out of {usual}; came {item!r}; try {hint}") from None
    examples, classes = chosen.get("examples", 5000), chosen.get("classes", 10)
    if not (classes >= 2 and 10 * classes <= examples <= 10_000_000 and 1 <= chosen.get("features", 16) <= 100_000):
        raise ValueError(f"{name}: expected 2 classes or more and 10 examples of each; came {classes} and {examples}")
    return make(**chosen)
