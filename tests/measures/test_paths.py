"""Paths: planted barriers come back, and a network has none with itself or with its own reordered copy."""

import numpy as np
import pytest
import torch
from torch import nn

from disobey.measures.matching import chain, matched, permuted
from disobey.measures.paths import alignment, asymmetry, between, distance, path, plane, reestimated, surface
from tests.support.refusals import refuses


def convolutional(seed=0):
    torch.manual_seed(seed)
    layers = (nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(8 * 4, 10), nn.ReLU(), nn.Linear(10, 3))


def outputs_of(model, x):
    def score(state):
        model.load_state_dict(state)
        with torch.inference_mode():
            return float((model(x) - target).square().mean())

    with torch.inference_mode():
        target = model(x).clone()
    return score


@pytest.fixture
def x():
    return torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(3))


def orders(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.permutation(n) for n in (6, 8, 10)]


def test_no_barrier_with_itself(x):
    state = {k: v.clone() for k, v in convolutional().state_dict().items()}
    assert path(state, state, outputs_of(convolutional(), x)).barrier == pytest.approx(0, abs=1e-9)


def test_a_reordered_copy_has_a_barrier_until_its_units_are_matched(x):
    model = convolutional()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    copy = permuted(state, chain(model), orders())
    score = outputs_of(model, x)
    assert score(copy) == pytest.approx(0, abs=1e-9)  # the same function
    assert path(state, copy, score).barrier > 1e-4
    assert path(state, matched(state, copy, chain(model)), score).barrier == pytest.approx(0, abs=1e-9)


def test_matching_recovers_the_order_under_noise(x):
    model = convolutional()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    noisy = {k: v + 0.02 * torch.randn_like(v) for k, v in permuted(state, chain(model), orders(1)).items()}
    assert distance(state, matched(state, noisy, chain(model))) < 0.3 * distance(state, noisy)


@pytest.mark.parametrize("height", [0.0, 0.5, 2.0])
def test_a_planted_barrier_is_recovered(height):
    def hill(state):
        return height * (1 - float(state["w"]) ** 2) + 0.25

    found = path({"w": torch.tensor(-1.0)}, {"w": torch.tensor(1.0)}, hill, points=21)
    assert found.barrier == pytest.approx(height)
    assert found.bump == pytest.approx(height)
    assert len(found.scores) == 21


def test_whole_numbers_are_not_averaged():
    a, b = ({"w": torch.tensor(v), "count": torch.tensor(n)} for v, n in ((0.0, 3), (1.0, 9)))
    middle = between(a, b, 0.5)
    assert float(middle["w"]) == 0.5
    assert int(middle["count"]) == 3
    assert distance(a, b) == 1.0


def test_the_plane_goes_through_its_three_networks():
    torch.manual_seed(0)
    three = [nn.Linear(4, 3).double().state_dict() for _ in range(3)]
    of = plane(*three)
    for place, state in zip(of.places, three, strict=True):
        found = of.at(*place)
        assert all(torch.allclose(found[k], v) for k, v in state.items())
    norms = [sum(float((d[k] * d[k]).sum()) for k in d) for d in (of.across, of.up)]
    assert np.allclose(norms, 1)
    heights = surface(of, lambda state: float(state["bias"][0]), [0.0, 1.0], [0.0, 1.0, 2.0])
    assert heights.shape == (3, 2)
    with refuses("on-a-line"):
        plane(three[0], three[1], three[1])


def test_a_symmetric_valley_has_no_asymmetry_and_alignment_is_a_cosine():
    center, towards = {"w": torch.zeros(3)}, {"w": torch.tensor([2.0, 0.0, 0.0])}
    bowl = asymmetry(center, towards, lambda s: float(s["w"].square().sum()), [0.1, 1.0])
    assert np.allclose(bowl, 0, atol=1e-6)
    assert alignment(center, towards, {"w": torch.tensor([-1.0, 0.0, 0.0])}) == pytest.approx(-1)
    assert np.isnan(alignment(center, center, towards))


def test_statistics_are_those_of_the_weights_and_the_modes_are_put_back(x):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5)).eval()
    momentum = model[1].momentum
    reestimated(model, [x[:10], x[10:]])
    with torch.inference_mode():
        maps = model[0](x)
    assert torch.allclose(model.get_buffer("1.running_mean"), maps.mean(dim=(0, 2, 3)), atol=1e-5)
    assert not any(module.training for module in model.modules())
    assert model[1].momentum == momentum


def test_requests_that_cannot_be_met_are_refused():
    a, b = nn.Linear(2, 2).state_dict(), nn.Linear(3, 2).state_dict()
    with refuses("path-points"):
        path(a, a, lambda state: 0.0, points=2)
    with refuses("other-tensors"):
        path(a, b, lambda state: 0.0)
    with refuses("no-inner-layer"):
        matched(a, a, ("",))
