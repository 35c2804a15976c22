"""`load`, the one entry point of all data: a `DataSpec` and a seed become a `Dataset`.

The order of the steps is: name -> base splits (equal for all seeds) -> nested stratified subset (seed) -> label noise
(seed) -> one cross-fitting part left out (seed). The part comes last, so that K cross-fitted teachers together see
exactly the examples and the labels (right and wrong) that their student sees, each of them without the part that it
will predict.
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
from disobey.data.formats.detections import DETECTION, from_boxes
from disobey.data.formats.files import fashion_mnist, from_path, signature
from disobey.data.formats.masks import SEGMENTATION, from_masks
from disobey.data.moments import moments
from disobey.data.noise import (
    NoisePlan,
    class_dependent,
    mean_similarity,
    most_similar,
    plant,
    symmetric,
    wrong_boxes,
    wrong_regions,
)
from disobey.data.sources import embedded, languages, synthetic
from disobey.data.sources.hub import from_hub
from disobey.data.sources.hub_boxes import from_hub_boxes
from disobey.data.sources.hub_masks import from_hub_masks
from disobey.data.sources.reduced import REDUCED
from disobey.data.sources.regroup import REGROUPED
from disobey.data.sources.scenes import BOXES, SCENES, scenes, scenes_boxes
from disobey.data.sources.scenes import from_name as rendered_scenes
from disobey.data.sources.shapes import colour_shapes
from disobey.data.sources.synthetic import SYNTHETIC
from disobey.data.subsets import stratified_order, stratified_parts, stream
from disobey.errors import refusal

DATASETS: dict[str, Callable[[], Dataset]] = {
    "digits-8x8": embedded.digits,
    "mnist-5k": embedded.mnist_5k,
    "languages": languages.languages,
    "languages-ambiguous": languages.languages_ambiguous,
    "colour-shapes": colour_shapes,
    SCENES: scenes,
    BOXES: scenes_boxes,
    "fashion-mnist": fashion_mnist,
    **SYNTHETIC,
}

CHANGED: dict[str, Callable[[Dataset], Dataset]] = {**REGROUPED, **REDUCED}  # before a name, with a colon


def description(name: str) -> str:
    """The line that `disobey list` prints."""
    return (DATASETS[name].__doc__ or "").strip().splitlines()[0]


def load(spec: DataSpec, seed: int) -> Dataset:
    """The data that a run with this seed uses. Validation and test are equal for all seeds and subsets.

    Args:
        spec: which data.
        seed: decides the subset, the noise and the cross-fitting parts.

    Returns:
        The data set, with its training split as the run uses it.

    Raises:
        Refusal: for an unknown name (``unknown-data``), a file that cannot be used or changed since `resolve`
            (``changed-data``), and options that do not fit the data.

    Example:
        >>> data = load(DataSpec("digits-8x8", train=100, noise=0.2), seed=0)
        >>> len(data.train), int(data.train.mislabelled.sum()), len(data.test)
        (100, 20, 360)
    """
    base = _base(spec.name)
    if spec.fingerprint and spec.fingerprint != _digest(base):
        expected, attempt = (
            f"content with fingerprint {spec.fingerprint}",
            "the old files, or a new study on the new ones",
        )
        raise refusal("changed-data", expected, f"changed content, {_digest(base)}", attempt, where=spec.name)
    _check(spec, base)
    if base.dense or base.boxed:
        return base.with_train(_dense_train(spec, base, seed))
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


def _dense_train(spec: DataSpec, base: Dataset, seed: int) -> Split:
    """The training images of a run, nested over sizes; noise gives a box, or a class's whole region, another class."""
    train = base.train
    if spec.noise:
        wrong = wrong_boxes if base.boxed else wrong_regions
        observed = wrong(train.labels, len(base.classes), spec.noise, stream(seed, "noise"))
        train = Split(train.inputs, train.labels, train.ids, observed)
    return (
        train
        if spec.train is None
        else train.take(np.sort(stream(seed, "subset").permutation(len(train))[: spec.train]))
    )


def fold_parts(spec: DataSpec, seed: int, parts: int) -> NDArray:
    """The cross-fitting part of every training example.

    A run with ``fold=(i, parts)`` was not trained on the examples of part i.

    Args:
        spec: which data; its ``fold`` is ignored.
        seed: of the run.
        parts: K.

    Returns:
        Parts (N,) int64 of ``load(replace(spec, fold=None), seed).train``.
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
    """The class for which each class is mistaken: the one with the nearest mean over the whole training split."""
    inputs, labels, classes = base.train.inputs, base.train.labels, len(base.classes)
    counts = np.bincount(labels, minlength=classes)
    if base.kind == "text":  # how often each token occurs in a text, without padding
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
    if kind in CHANGED:
        return _changed(kind, _base(inner))
    path = name.removeprefix(SEGMENTATION).removeprefix(DETECTION)
    return _made(name, signature(path) if path != name or _is_path(name) else ())


@lru_cache(maxsize=8)
def _changed(kind: str, base: Dataset) -> Dataset:
    if base.dense:
        raise refusal("change-masks", "one class for every example", "a class for every pixel", where=base.name)
    if base.boxed:
        raise refusal("change-boxes", "one class for every example", "a class for every box", where=base.name)
    return replace(CHANGED[kind](base), name=f"{kind}:{base.name}")


@lru_cache(maxsize=4)
def _made(name: str, file_signature: tuple) -> Dataset:
    """The data set of a name; the signature makes the cache reload files that changed."""
    del file_signature
    place = name.partition("#")[0]
    if place in SYNTHETIC:
        base = synthetic.from_name(name)
    elif name in DATASETS:
        base = DATASETS[name]()
    elif place in (SCENES, BOXES):
        base = rendered_scenes(name)
    elif place.startswith(f"{SEGMENTATION}hub:"):
        base = from_hub_masks(name)
    elif place.startswith(SEGMENTATION):
        base = from_masks(name)
    elif place.startswith(f"{DETECTION}hub:"):
        base = from_hub_boxes(name)
    elif place.startswith(DETECTION):
        base = from_boxes(name)
    elif place.startswith("hub:"):
        base = from_hub(name)
    elif _is_path(name):
        base = from_path(name)
    else:
        near = difflib.get_close_matches(name, DATASETS, 1)
        expected = f"a path, hub:NAME or one of {', '.join(DATASETS)}"
        raise refusal("unknown-data", expected, repr(name), repr(near[0]) if near else "`disobey list`")
    return replace(base, moments=moments(base))


def _is_path(name: str) -> bool:
    """Whether a name that is no data set of ours is a file or folder."""
    place = Path(name.partition("#")[0])
    return (
        name not in DATASETS
        and name.partition("#")[0] not in (SCENES, BOXES)
        and name.partition("#")[0] not in SYNTHETIC
        and not name.startswith(("hub:", "synthetic:", SEGMENTATION, DETECTION))
        and (len(place.parts) > 1 or bool(place.suffix) or place.expanduser().exists())
    )


def resolve(spec: DataSpec) -> DataSpec:
    """The spec with the fingerprint of the current content, if the name stands for files or the hub.

    With the fingerprint the content is part of a run's identity, and `load` refuses content that has changed. Embedded
    and synthetic data are returned unchanged, because their content belongs to the release.

    Args:
        spec: which data.

    Returns:
        The spec, with ``fingerprint`` set for files and the hub.

    Raises:
        Refusal: ``unknown-data``, or a refusal of the files.
    """
    if not (_is_path(spec.name) or spec.name.startswith(("hub:", SEGMENTATION, DETECTION))):
        _base(spec.name)  # refuses an unknown name before any run
        return spec
    return replace(spec, fingerprint=_digest(_base(spec.name)))


@lru_cache(maxsize=4)
def _digest(base: Dataset) -> str:
    return base.fingerprint  # cached by object: data sets are values and never modified


def _check(spec: DataSpec, base: Dataset) -> None:
    """Checks the options against the data, before any work."""
    size, where = len(base.train), spec.name
    if spec.train is not None and not 1 <= spec.train <= size:
        raise refusal("train-size", f"train from 1 to {size}, the size of the training split", spec.train, where=where)
    if not 0 <= spec.noise < 1:
        raise refusal("noise-range", "noise, a share of wrong labels, in [0, 1)", spec.noise, where=where)
    if spec.noise_kind not in ("symmetric", "class"):
        raise refusal("noise-kind", "noise_kind 'symmetric' or 'class'", repr(spec.noise_kind), where=where)
    if spec.augment not in ("none", "crop", "crop-flip", "mixup"):
        expected = "augment 'none', 'crop', 'crop-flip' or 'mixup'"
        raise refusal("unknown-augment", expected, repr(spec.augment), where=where)
    if spec.augment.startswith("crop") and base.kind != "image":
        raise refusal("augment-kind", f"images for augment={spec.augment!r}", base.kind, "'none'", where=where)
    parts = base.dense or base.boxed  # of images have classes
    if parts and (spec.augment != "none" or spec.fold is not None or (spec.noise and spec.noise_kind == "class")):
        expected = "plain images for classes of pixels or boxes: no augmentation, fold or noise by class"
        raise refusal("dense-data", expected, f"{spec.augment}, {spec.fold}, {spec.noise_kind}", where=where)
    if spec.augment == "mixup" and base.kind == "text":
        raise refusal("augment-kind", "images or features for augment='mixup'", "text", "'none'", where=where)
    if spec.fold is not None:
        part, parts = spec.fold
        if not (2 <= parts <= (spec.train or size) and 0 <= part < parts):
            expected = "fold (i, K) with 0 <= i < K and K >= 2 parts of the training split"
            raise refusal("fold-range", expected, spec.fold, where=where)
