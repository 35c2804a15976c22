"""Synthetic data whose best prediction is known, from sizes and a seed.

There are ``synthetic:spectrum``, ``synthetic:similarity``, ``synthetic:overlap`` and ``synthetic:planted`` (module
`planted`), with the parameters of the functions after ``#``: ``synthetic:overlap#classes=5,distance=2``. The data have
a ``seed`` of their own, so that the truth stays fixed while the seeds of runs vary. ``modular-addition#p=97`` has the
same form; it needs no seed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import Dataset
from disobey.data.sources.modular import modular_addition
from disobey.data.sources.planted import planted
from disobey.data.subsets import base_splits, stream
from disobey.errors import refusal


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

    Labels are drawn from the softmax of linear logits with Gaussian weights and a standard deviation of about
    ``margin``. The best prediction is known: `spectrum_log_probs`.

    Args:
        examples: N.
        features: D.
        classes: C.
        decay: exponent of the spectrum.
        margin: standard deviation of the logits.
        seed: of the data.

    Returns:
        The data set.
    """
    rng = stream(seed, "synthetic spectrum")
    x = rng.normal(size=(examples, features)) * np.arange(1, features + 1) ** (-decay / 2)
    labels = _draw(_spectrum_logits(x, features, classes, decay, margin, seed), rng)
    return _dataset("spectrum", x, labels, classes)


def spectrum_log_probs(
    inputs: NDArray, *, classes: int = 10, decay: float = 1.0, margin: float = 3.0, seed: int = 0
) -> NDArray:
    """The true log-probabilities of the labels of `spectrum`.

    Args:
        inputs: (N, D).
        classes: as in `spectrum`.
        decay: as in `spectrum`.
        margin: as in `spectrum`.
        seed: as in `spectrum`.

    Returns:
        (N, C) float64.
    """
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

    y is the class, s another class (uniform) that this example resembles, and xi standard normal noise in all
    directions. What a teacher can know beyond the label is s.

    Args:
        examples: N.
        classes: C.
        features: D, at least C.
        own: weight of the own class.
        shared: weight of the other class.
        sigma: standard deviation of the noise.
        seed: of the data.

    Returns:
        The data set.

    Raises:
        Refusal: ``few-features``.
    """
    if features < classes:
        expected = f"at least {classes} features for {classes} classes"
        raise refusal("few-features", expected, features, "more features")
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
    """Overlapping classes: unit Gaussians around random means. The best prediction is known: `overlap_log_probs`.

    Args:
        examples: N.
        classes: C.
        features: D.
        distance: root mean square distance between two means.
        seed: of the data.

    Returns:
        The data set.
    """
    rng = stream(seed, "synthetic overlap")
    y = rng.permutation(np.arange(examples) % classes)
    x = rng.normal(size=(examples, features)) + _means(classes, features, distance, seed)[y]
    return _dataset("overlap", x, y, classes)


def overlap_log_probs(inputs: NDArray, *, classes: int = 10, distance: float = 3.0, seed: int = 0) -> NDArray:
    """The true log-probabilities of the classes of `overlap`.

    Args:
        inputs: (N, D).
        classes: as in `overlap`.
        distance: as in `overlap`.
        seed: as in `overlap`.

    Returns:
        (N, C) float64.
    """
    means = _means(classes, inputs.shape[1], distance, seed)
    logits = np.asarray(inputs, np.float64) @ means.T - 0.5 * (means**2).sum(axis=1)
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def _means(classes: int, features: int, distance: float, seed: int) -> NDArray:
    return stream(seed, "synthetic means").normal(size=(classes, features)) * distance / np.sqrt(2 * features)


def _draw(logits: NDArray, rng: np.random.Generator) -> NDArray:
    """One class per row, drawn with probabilities softmax(logits)."""
    return (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def _dataset(name: str, x: NDArray, labels: NDArray, classes: int) -> Dataset:
    total = len(x)
    splits = base_splits(x.astype(np.float32), labels, validation=total // 10, test=total // 5)
    return Dataset(f"synthetic:{name}", "features", tuple(map(str, range(classes))), *splits, source="made from a seed")


SYNTHETIC: dict[str, Callable[..., Dataset]] = {
    "synthetic:spectrum": spectrum,
    "synthetic:similarity": similarity,
    "synthetic:overlap": overlap,
    "synthetic:planted": planted,
    "modular-addition": modular_addition,
}


def from_name(name: str) -> Dataset:
    """The synthetic data set of a name such as ``synthetic:overlap#classes=5,distance=2``.

    Args:
        name: a key of `SYNTHETIC`, with parameters after ``#``.

    Returns:
        The data set.

    Raises:
        Refusal: ``synthetic-parameter`` for unknown parameters and values of another type, ``synthetic-size``.

    Example:
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
            raise refusal("synthetic-parameter", f"parameters out of {usual}", repr(item), hint, where=name) from None
    examples, classes = chosen.get("examples", 5000), chosen.get("classes", 10)
    if not (classes >= 2 and 10 * classes <= examples <= 10_000_000 and 1 <= chosen.get("features", 16) <= 100_000):
        expected = "2 classes or more, 10 examples of each or more (10,000,000 in all), 1 to 100,000 features"
        got = f"{classes} classes, {examples} examples, {chosen.get('features', 16)} features"
        raise refusal("synthetic-size", expected, got, where=name)
    return make(**chosen)
