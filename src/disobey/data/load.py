"""The one door: `load` turns a `DataSpec` and a seed into a `Dataset`.

Order of events: name -> base splits (the same for everybody) -> nested stratified subset (seed) -> planted noise
(seed) -> one cross-fitting part left out (seed). The part goes last, so that K cross-fitted teachers see exactly the
examples and the labels, right and wrong, that their student sees, less the part they will be asked about.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import Dataset, DataSpec, Split
from disobey.data.formats.files import fashion_mnist, from_path, signature
from disobey.data.moments import moments
from disobey.data.noise import NoisePlan, class_dependent, mean_similarity, most_similar, plant, symmetric
from disobey.data.sources import embedded, languages, synthetic
from disobey.data.sources.hub import from_hub
from disobey.data.sources.regroup import REGROUPED
from disobey.data.sources.synthetic import SYNTHETIC
from disobey.data.subsets import stratified_order, stratified_parts, stream

DATASETS: dict[str, Callable[[], Dataset]] = {
    "digits-8x8": embedded.digits,
    "mnist-5k": embedded.mnist_5k,
    "languages": languages.languages,
    "languages-ambiguous": languages.languages_ambiguous,
    "fashion-mnist": fashion_mnist,
    **SYNTHETIC,
}


def description(name: str) -> str:
    """The line that `disobey list` prints."""
    return (DATASETS[name].__doc__ or "").strip().splitlines()[0]


def load(spec: DataSpec, seed: int) -> Dataset:
    """The data a run with this seed sees; validation and test are the same for every seed and every subset.

    Raises `ValueError` for an unknown name, a file that is not what it should be or has changed since `resolve`, and
    options that do not fit the data.

    >>> data = load(DataSpec("digits-8x8", train=100, noise=0.2), seed=0)
    >>> len(data.train), int(data.train.mislabelled.sum()), len(data.test)
    (100, 20, 360)
    """
    base = _base(spec.name)
    if spec.fingerprint and spec.fingerprint != _digest(base):
        came, attempt = f"{_digest(base)}: the data has changed", "the old files, or a new study on the new ones"
        raise ValueError(
            f"{spec.name}: expected content with fingerprint {spec.fingerprint}; came {came}; try {attempt}"
        )
    _check(spec, base)
    order = stratified_order(base.train.labels, stream(seed, "subset"))
    rows = order if spec.train is None else order[: spec.train]
    rows = np.sort(rows)
    train = base.train.take(rows) if spec.train is not None else base.train
    if spec.noise:
        plan = _noise_plan(spec, base, seed).take(rows)
        train = Split(train.inputs, train.labels, train.ids, plant(train.labels, plan, spec.noise))
    if spec.fold is not None:
        part, parts = spec.fold
        train = train.take(np.flatnonzero(_parts(base, order, parts, seed)[rows] != part))
    return base.with_train(train)


def fold_parts(spec: DataSpec, seed: int, parts: int) -> NDArray:
    """The cross-fitting part of every example of ``load(replace(spec, fold=None), seed).train``: (N,) int64.

    A run with ``fold=(i, parts)`` has not seen the examples whose part is i.
    """
    base = _base(spec.name)
    order = stratified_order(base.train.labels, stream(seed, "subset"))
    return _parts(base, order, parts, seed)[np.sort(order if spec.train is None else order[: spec.train])]


def _parts(base: Dataset, order: NDArray, parts: int, seed: int) -> NDArray:
    return stratified_parts(base.train.labels, order, parts, stream(seed, "fold"))


def _noise_plan(spec: DataSpec, base: Dataset, seed: int) -> NoisePlan:
    generator = stream(seed, "noise")
    if spec.noise_kind == "symmetric":
        return symmetric(base.train.labels, len(base.classes), generator)
    return class_dependent(base.train.labels, _partners(base), generator)


@lru_cache(maxsize=4)
def _partners(base: Dataset) -> NDArray:
    """The class each class is mistaken for: the one with the nearest mean over the whole training split."""
    inputs, labels, classes = base.train.inputs, base.train.labels, len(base.classes)
    counts = np.bincount(labels, minlength=classes)
    if base.kind == "text":  # how often each token occurs in a text; padding says nothing
        tokens = len(base.vocabulary)
        pairs = (labels[:, None] * tokens + inputs).ravel()
        sums = np.bincount(pairs, minlength=classes * tokens).reshape(classes, tokens)[:, 1:]
    else:
        sums = np.stack([inputs[labels == c].sum(axis=0, dtype=np.float64).ravel() for c in range(classes)])
    means = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], np.nan)
    return most_similar(mean_similarity(means))


def _base(name: str) -> Dataset:
    """The data set before anything that depends on a seed, with the input scale of its whole training split."""
    kind, _, inner = name.partition(":")
    if kind in REGROUPED:
        return _regrouped(kind, _base(inner))
    return _made(name, signature(name) if _is_path(name) else ())


@lru_cache(maxsize=4)
def _regrouped(kind: str, base: Dataset) -> Dataset:
    return replace(REGROUPED[kind](base), name=f"{kind}:{base.name}")


@lru_cache(maxsize=4)
def _made(name: str, changes: tuple) -> Dataset:
    """``changes`` only tells the cache that files are not what they were."""
    place = name.partition("#")[0]
    if place in SYNTHETIC:
        base = synthetic.from_name(name)
    elif name in DATASETS:
        base = DATASETS[name]()
    elif place.startswith("hub:"):
        base = from_hub(name)
    elif _is_path(name):
        base = from_path(name)
    else:
        near = difflib.get_close_matches(name, DATASETS, 1)
        hint = f"did you mean {near[0]!r}?" if near else "try `disobey list`"
        raise ValueError(f"expected a path, hub:NAME or one of {', '.join(DATASETS)}; came {name!r}; {hint}")
    return replace(base, moments=moments(base))


def _is_path(name: str) -> bool:
    """Whether a name that is no data set of ours is meant as a file or folder."""
    place = Path(name.partition("#")[0])
    return (
        name not in DATASETS
        and name.partition("#")[0] not in SYNTHETIC
        and not name.startswith(("hub:", "synthetic:"))
        and (len(place.parts) > 1 or bool(place.suffix) or place.expanduser().exists())
    )


def resolve(spec: DataSpec) -> DataSpec:
    """The spec with the fingerprint of what is there now, where the name stands for files or the hub.

    With it the content is part of a run's identity, and `load` refuses content that has changed. Embedded and
    synthetic data come back as they are: their content belongs to the release.
    """
    if not (_is_path(spec.name) or spec.name.startswith("hub:")):
        _base(spec.name)  # an unknown name is refused here, before any run
        return spec
    return replace(spec, fingerprint=_digest(_base(spec.name)))


@lru_cache(maxsize=4)
def _digest(base: Dataset) -> str:
    return base.fingerprint  # compared by object: data sets are values that nobody writes into


def _check(spec: DataSpec, base: Dataset) -> None:
    """Options against the data, before any work."""
    size = len(base.train)
    if spec.train is not None and not 1 <= spec.train <= size:
        raise ValueError(f"expected train in 1 .. {size}, the training split of {spec.name}; came {spec.train}")
    if not 0 <= spec.noise < 1:
        raise ValueError(f"expected noise, a share of wrong labels, in [0, 1); came {spec.noise}")
    if spec.noise_kind not in ("symmetric", "class"):
        raise ValueError(f"expected noise_kind 'symmetric' or 'class'; came {spec.noise_kind!r}")
    if spec.augment not in ("none", "crop", "crop-flip", "mixup"):
        raise ValueError(f"expected augment 'none', 'crop', 'crop-flip' or 'mixup'; came {spec.augment!r}")
    if spec.augment.startswith("crop") and base.kind != "image":
        raise ValueError(f"expected images for augment={spec.augment!r}; {spec.name} holds {base.kind}; try 'none'")
    if spec.augment == "mixup" and base.kind == "text":
        raise ValueError(f"expected images or features for augment='mixup'; {spec.name} holds text; try 'none'")
    if spec.fold is not None:
        part, parts = spec.fold
        if not (2 <= parts <= (spec.train or size) and 0 <= part < parts):
            raise ValueError(
                f"expected fold (i, K) with 0 <= i < K and K >= 2 parts of the training split; came {spec.fold}"
            )
