"""Matching on the network that the studies train: its reordered copy is found again, without a barrier."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from disobey.measures.matching import chain, matched, permuted
from disobey.measures.paths import path
from disobey.models.vgg import VGGMini


def trained_vgg(seed):
    """A small network without batch norm, and the patches of colour that it learned to tell apart."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(60) % 3
    inputs = 0.3 * torch.randn(60, 3, 16, 16, generator=generator)
    inputs[torch.arange(60), labels] += 1
    torch.manual_seed(seed)
    model = VGGMini((3, 16, 16), 3, width=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model, inputs, labels


@pytest.mark.parametrize("seed", range(3))
def test_a_trained_network_has_no_barrier_with_its_matched_copy(seed):
    """The units of all four convolutions are out of order at once."""
    model, inputs, labels = trained_vgg(seed)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    layers, rng = chain(model), np.random.default_rng(seed)
    copy = permuted(state, layers, [rng.permutation(len(state[f"{name}.weight"])) for name in layers[:-1]])
    found = matched(state, copy, layers)
    assert all(torch.equal(value, state[name]) for name, value in found.items())

    def score(weights):
        model.load_state_dict(weights)
        with torch.inference_mode():
            return float(cross_entropy(model(inputs), labels))

    assert path(state, copy, score).barrier > 0.1
    assert path(state, found, score).barrier == pytest.approx(0, abs=1e-6)
