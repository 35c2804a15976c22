"""Starts near a teacher: exact at both ends, of equal variance between them, part by part; and their controls."""

import pytest
import torch
from torch import nn

from disobey.models.heads import ProjectionHead, TwoHeads
from disobey.models.mlp import MLP
from disobey.models.near import mixed, near, neighbour, random_walk, shuffled
from disobey.models.resnet import LayerNormResNet
from disobey.models.vgg import VGGMini
from tests.support.refusals import refuses


def states(count=2, **options):
    torch.manual_seed(0)
    return [MLP((30,), 4, width=40, depth=1, **options).state_dict() for _ in range(count)]


def test_both_ends_are_exact_to_the_last_bit():
    a, b = states()
    for alpha, end in ((0.0, a), (1.0, b)):
        assert all(torch.equal(v, end[k]) for k, v in near(a, b, alpha).items())


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_a_mixture_of_independent_weights_keeps_their_variance(alpha):
    a, b = torch.randn(2, 200_000, generator=torch.Generator().manual_seed(0))
    assert abs(float(mixed(a, b, alpha).std()) - 1) < 0.01


def test_parts_have_distances_of_their_own_and_the_longest_beginning_counts():
    a, b = states()
    start = near(a, b, {"": 0.0, "head": 1.0, "head.bias": 0.0})
    assert torch.equal(start["head.weight"], b["head.weight"])
    assert torch.equal(start["head.bias"], a["head.bias"])
    assert torch.equal(start["hidden.hidden1.0.weight"], a["hidden.hidden1.0.weight"])


def test_requests_that_cannot_be_met_are_refused():
    a, b = states()
    with refuses("alpha-range"):
        near(a, b, 1.5)
    with refuses("no-alpha"):
        near(a, b, {"head": 1.0})
    with refuses("other-tensors"):
        near(a, {"w": torch.zeros(1)}, 0.5)
    with refuses("epsilon-range"):
        neighbour(a, -1.0, torch.Generator())
    with refuses("no-head"):
        TwoHeads(nn.Linear(3, 2), 1)


def test_a_random_walk_is_as_long_as_the_movement_tensor_by_tensor():
    a, b = states()
    walked = random_walk(a, b, torch.Generator().manual_seed(1))
    for name in a:
        assert torch.allclose((walked[name] - a[name]).norm(), (b[name] - a[name]).norm(), rtol=1e-4)
        assert not torch.allclose(walked[name], b[name])


def test_shuffled_weights_are_the_same_numbers():
    (a,) = states(1)
    moved = shuffled(a, torch.Generator().manual_seed(1))
    assert all(torch.equal(moved[k].flatten().sort().values, v.flatten().sort().values) for k, v in a.items())
    assert not torch.equal(moved["head.weight"], a["head.weight"])


def test_weight_norm_of_the_head_makes_outputs_cosines():
    torch.manual_seed(0)
    x = torch.randn(5, 8)
    normed, plain = (ProjectionHead(8, 20, hidden=16, bottleneck=4, weight_norm=norm) for norm in (True, False))
    with torch.inference_mode():
        assert float(normed(x).abs().max()) <= 1 + 1e-6
        assert normed(x).shape == plain(x).shape == (5, 20)
        assert torch.allclose(normed(x), normed(3 * x), atol=0.5)  # bounded, whatever the scale of the features


def test_networks_without_batch_norm_have_no_statistics():
    for network in (VGGMini((3, 16, 16), 5, width=2), LayerNormResNet((3, 16, 16), 5, depth=8, width=2)):
        assert not list(network.buffers())
        with torch.inference_mode():
            assert network(torch.zeros(2, 3, 16, 16)).shape == (2, 5)
