"""Which runs are trained as one batched program, and how many at once: functions of the recipe and the device alone.

A run that may be stacked always is, alone too, so the bits of a result never depend on what else was trained. The
sizes come from benchmarks/stacking.py; the decision is docs/decisions/0002-stacked-training.md.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache

import torch

from disobey.data.dataset import DataSpec
from disobey.data.load import load
from disobey.models.build import ModelSpec, build
from disobey.models.mlp import MLP
from disobey.models.stack import LINE, stackable
from disobey.training.recipe import Run

MLPS = ("mlp", "linear", "linear-from-zero")
LARGEST = 150_000  # parameters; above, matrix products alone fill the time and stacking only leaves the cache
TOGETHER = 16  # slices of a stack; more gain little and delay the first record


def stack_key(run: Run) -> Hashable | None:
    """Runs of equal keys can be one stack; None: this run is trained on its own.

    Equal models on the same data set (any subset, noise, seed, targets) with equal optimizers. Not stacked: sequences,
    mixup, and batches that are no multiple of 16 rows (they would tie bits to a slice's place).
    """
    recipe = run.recipe
    data, model, optim = recipe.data, recipe.model, recipe.optim
    if recipe.sequence is not None or model.name not in MLPS or data.augment == "mixup":
        return None
    if optim.batch % LINE:
        return None
    if not _pays(model, data.name, data.fingerprint):
        return None
    return model, data.name, data.fingerprint, data.augment, optim


def stream(run: Run) -> Hashable:
    """Runs of equal streams see the same examples at every step: the arms of a cell."""
    data, recipe = run.recipe.data, run.recipe
    return data.name, data.fingerprint, data.train or 0, data.fold or (), data.augment, run.seed, recipe.replica


@cache
def _pays(model: ModelSpec, name: str, fingerprint: str) -> bool:
    """Whether such a network is small enough, and one of those that `MLPStack` takes."""
    dataset = load(DataSpec(name, fingerprint=fingerprint), 0)
    if dataset.kind == "text":
        return False
    shape = dataset.test.inputs.shape[1:]
    shape = (shape[2], shape[0], shape[1]) if dataset.kind == "image" else tuple(shape)
    with torch.device("meta"):
        net = build(model, shape=shape, classes=len(dataset.classes))
    if not isinstance(net, MLP) or not stackable(net):
        return False
    return sum(p.numel() for p in net.parameters()) <= LARGEST
