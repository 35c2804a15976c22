"""From kept checkpoints to the paths of every layer in the eigenspace of its inputs.

Student and twin are read in one basis per layer: that of the twin's own inputs at its end (for the first layer, the
data). What is projected is the movement since initialization, which both share: initial weights lie on all directions
alike and would bury the lower ones.

Shapes: T kept moments, K bands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from disobey.data.dataset import Dataset
from disobey.data.tensors import inputs_tensor
from disobey.measures.eigenspace import Spectrum, band_norms, bands, patches, spectrum
from disobey.models.linear_nets import DeepLinear
from disobey.records.runs import RunRecord
from disobey.training.recipe import Run
from disobey.training.restore import built, trained

WHOLE = "end to end"  # the product of a linear network's layers, as one layer
ROWS = 512  # training examples that a basis is taken from, where they are many
PLACES = 20_000  # patches that a basis is taken from
SHARES = (0.5, 0.9, 0.99)  # of the input variance: the top band, then two lower ones


@dataclass(frozen=True, eq=False)
class Basis:
    """The eigenspace of one layer's inputs and its bands."""

    of: Spectrum
    bands: tuple[slice, ...]


def layers(model: nn.Module) -> dict[str, nn.Module]:
    """Trained linear and convolutional layers with more inputs than bands, by their path, from input to output."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d))
        and module.weight.requires_grad
        and module.weight[0].numel() > len(SHARES)
    }


def bases(run: Run, record: RunRecord, dataset: Dataset, known: dict[tuple, Basis] | None = None) -> dict[str, Basis]:
    """The basis of every layer, from the run's last weights.

    known: bases of first layers by what decides them (seed, data, kernel), shared between runs: the largest
    decompositions, and the same for all.
    """
    known = {} if known is None else known
    model = trained(run, record, dataset)
    x = inputs_tensor(dataset, "train")[:ROWS]
    found: dict[str, Basis] = {}
    for index, (name, inputs) in enumerate(_layer_inputs(model, x).items()):
        module = model.get_submodule(name)
        raw = index == 0 and inputs.data_ptr() == x.data_ptr()
        key = (run.seed, run.recipe.data.name, run.recipe.data.train, getattr(module, "kernel_size", 0))
        if not raw or key not in known:
            of = spectrum(_rows(module, inputs))
            basis = Basis(of, bands(of.values, SHARES))
            if raw:
                known[key] = basis
            found[name] = basis
        else:
            found[name] = known[key]
    if isinstance(model, DeepLinear):
        found[WHOLE] = next(iter(found.values()))
    return found


def paths(
    run: Run, record: RunRecord, dataset: Dataset, within: Mapping[str, Basis], steps: Sequence[int]
) -> dict[str, NDArray]:
    """Band norms of every layer's movement at the kept ``steps`` and at the end: (T, K) by layer."""
    start = built(run.recipe, dataset, run.seed).state_dict()
    states = [load_file(record.weights(step)) for step in (*steps, None)]
    found = {}
    for name, basis in within.items():
        before = _weight(start, name)
        moved = [_weight(state, name) - before for state in states]
        found[name] = np.stack([band_norms(weights, basis.of, basis.bands) for weights in moved])
    return found


def _weight(state: Mapping[str, Tensor], name: str) -> Tensor:
    """A layer's weights as (out, D); for the whole of a linear network, the product of all."""
    if name == WHOLE:
        ordered = [value.double() for key, value in state.items() if key.endswith(".weight")]
        return reduce(lambda done, weights: weights @ done, ordered)
    return state[f"{name}.weight"].flatten(1).double()


def _layer_inputs(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """What every layer sees when the model is given ``x``, in the order of the forward pass."""
    seen: dict[str, Tensor] = {}

    def keeper(name: str):
        def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen[name] = inputs[0].detach()

        return keep

    handles = [module.register_forward_pre_hook(keeper(name)) for name, module in layers(model).items()]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _rows(module: nn.Module, inputs: Tensor) -> Tensor:
    """Inputs of a layer as rows (N, D): patches for a convolution, a spread of them where they are many."""
    if not isinstance(module, nn.Conv2d):
        return inputs.flatten(1)
    (kernel, _), (stride, _) = module.kernel_size, module.stride
    padding = module.padding[0]
    assert isinstance(padding, int)
    rows = patches(inputs.contiguous(), kernel, stride=stride, padding=padding)
    return rows[:: max(len(rows) // PLACES, 1)]
