"""Which runs are trained as one batched program, and how many at once: functions of the recipe and the device alone.

On CPU a run that may be stacked always is, alone too, so the bits of a result never depend on what else was trained.
The sizes come from benchmarks/stacking.py; the decision is docs/decisions/0002-stacked-training.md.
"""

from __future__ import annotations

import math
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
OTHERS = ("deep-linear", "lenet")  # by `torch.func`, which has no batching rule for attention
LARGEST = {"cpu": 150_000, "cuda": 1_000_000}  # parameters; above, the work of one network fills the time alone
TOGETHER = {"cpu": 32, "cuda": 128}  # slices of a stack at most: more gain little and delay the first record
CACHED = 640_000  # parameters of a stack on CPU: weights, gradients and Adam's moments beyond 10 MB leave the cache
FEWEST = 8


def stack_key(run: Run, device: str = "cpu") -> Hashable | None:
    """Runs of equal keys can be one stack on this kind of device; None: this run is trained on its own.

    Equal models on the same data set (any subset, noise, seed, targets) with equal optimizers. On CPU MLPs only, on GPUs
    small networks without batch norm, attention and dropout. Not stacked: sequences, text, mixup, and batches that are no
    multiple of 16 rows (they would tie bits to a slice's place).
    """
    recipe = run.recipe
    data, model, optim = recipe.data, recipe.model, recipe.optim
    if recipe.sequence is not None or data.augment == "mixup" or optim.batch % LINE or device not in LARGEST:
        return None
    if model.name not in (MLPS if device == "cpu" else (*MLPS, *OTHERS)):
        return None
    if not 0 < _parameters(model, data.name, data.fingerprint, device == "cpu") <= LARGEST[device]:
        return None
    return model, data.name, data.fingerprint, data.augment, optim


def stream(run: Run) -> Hashable:
    """Runs of equal streams see the same examples at every step: the arms of a cell."""
    data, recipe = run.recipe.data, run.recipe
    return data.name, data.fingerprint, data.train or 0, data.fold or (), data.augment, run.seed, recipe.replica


def together(run: Run, device: str = "cpu") -> int:
    """How many runs like this one go into a stack at most on this kind of device."""
    if device != "cpu":
        return TOGETHER[device]
    data = run.recipe.data
    size = _parameters(run.recipe.model, data.name, data.fingerprint, False)
    return min(max(CACHED // max(size, 1), FEWEST), TOGETHER["cpu"])


def device_type(device: str) -> str:
    """``cpu`` or ``cuda``, for ``auto`` what is there."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device).type


@cache
def _parameters(model: ModelSpec, name: str, fingerprint: str, only_mlps: bool) -> int:
    """Of such a network; 0 where its slices cannot be stacked."""
    dataset = load(DataSpec(name, fingerprint=fingerprint), 0)
    if dataset.kind == "text":
        return 0
    shape = dataset.test.inputs.shape[1:]
    shape = (shape[2], shape[0], shape[1]) if dataset.kind == "image" else tuple(shape)
    with torch.device("meta"):
        net = build(model, shape=shape, classes=len(dataset.classes))
    if not stackable(net) or (only_mlps and not isinstance(net, MLP)):
        return 0
    if not all(p.requires_grad for p in net.parameters()):
        return 0
    return sum(math.prod(p.shape) for p in net.parameters())
