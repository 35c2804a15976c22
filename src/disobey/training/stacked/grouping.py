"""Which runs are trained as one batched program, and how many at once: functions of the recipe and the device alone.

On CPU a run that may be stacked always is, alone too, so the bits of a result never depend on what else was trained.
The sizes come from benchmarks/stacking.py; the decision is docs/decisions/0002-stacked-training.md.
"""

from __future__ import annotations

from collections.abc import Hashable

from disobey.models.stack import LINE
from disobey.training.facts import NetworkFacts
from disobey.training.recipe import Run

MLPS = ("mlp", "linear", "linear-from-zero")
OTHERS = ("deep-linear", "lenet")  # by `torch.func`, which has no batching rule for attention
MAX_PARAMETERS = {"cpu": 150_000, "cuda": 1_000_000}  # above, the work of one network fills the time alone
MAX_SLICES = {"cpu": 32, "cuda": 128}  # of a stack: more gain little and delay the first record
CACHED_PARAMETERS = 640_000  # of a stack on CPU: more weights, gradients and moments than 10 MB leave the cache
MIN_SLICES = 8  # that a stack may have whatever their size


def stack_key(run: Run, network: NetworkFacts, device: str = "cpu") -> Hashable | None:
    """Runs of equal keys can be one stack on this kind of device; None: this run is trained on its own.

    Equal models on the same data set (any subset, noise, seed, targets) with equal optimizers. On CPU MLPs only, on
    GPUs small networks without batch norm, attention and dropout. Not stacked: sequences, text, mixup, forward passes
    in another precision than float32, and batches that are no multiple of 16 rows (they would tie bits to a slice's
    place).

    Args:
        run: a run that was checked.
        network: what is known of its network.
        device: ``cpu`` or ``cuda``.
    """
    data, model, optim = run.recipe.data, run.recipe.model, run.recipe.optim
    if data.augment == "mixup" or optim.precision != "float32" or optim.batch % LINE or device not in MAX_PARAMETERS:
        return None
    if model.name not in (MLPS if device == "cpu" else (*MLPS, *OTHERS)):
        return None
    if not 0 < network.parameters <= MAX_PARAMETERS[device] or (device == "cpu" and not network.mlp):
        return None
    return model, data.name, data.fingerprint, data.augment, optim


def stream(run: Run) -> Hashable:
    """Runs of equal streams see the same examples at every step: the arms of a cell."""
    data, recipe = run.recipe.data, run.recipe
    return data.name, data.fingerprint, data.train or 0, data.fold or (), data.augment, run.seed, recipe.replica


def max_slices(network: NetworkFacts, device: str = "cpu") -> int:
    """How many runs with such a network go into a stack at most on this kind of device."""
    if device != "cpu":
        return MAX_SLICES[device]
    return min(max(CACHED_PARAMETERS // max(network.parameters, 1), MIN_SLICES), MAX_SLICES["cpu"])
