"""Mixers: the structured operations against dense matrices, and the certificates they claim."""

import pytest
import torch
from torch import nn

from disobey.models.recurrent.mixers import MIXERS, HouseholderMixer, build_mixer
from tests.support.refusals import refuses

CASES = [("householder", 1), ("householder", 2), ("householder", 4), ("diagonal_low_rank", 3), ("kronecker", 1)]


def mixed(name, rank, *, scale=1.0, d_inner=12, spread=1.0, seed=0):
    """A mixer's P at 2 x 3 positions, with inputs of this spread."""
    torch.manual_seed(seed)
    mixer = build_mixer(name, 5, d_inner, rank, scale=scale).double()
    x = spread * torch.randn(2, 3, 5, dtype=torch.float64)
    return mixer(mixer.features(x), torch.randn(2, 3, d_inner, dtype=torch.float64))


@pytest.mark.parametrize(("name", "rank"), CASES)
def test_apply_and_solve_agree_with_the_dense_matrix(name, rank):
    complement = mixed(name, rank)
    vector = torch.randn(2, 3, 12, dtype=torch.float64)
    gain = torch.rand(2, 3, 12, dtype=torch.float64)
    matrix = complement.dense()
    torch.testing.assert_close(complement.apply(vector), (matrix @ vector[..., None])[..., 0])
    system = torch.eye(12, dtype=torch.float64) - gain[..., None] * matrix
    torch.testing.assert_close(complement.solve(gain, vector), torch.linalg.solve(system, vector))


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("rank", [1, 2, 4])
def test_householder_is_the_product_of_its_factors(rank, scale):
    torch.manual_seed(0)
    mixer = HouseholderMixer(5, 6, rank, scale=scale, state_dependent=False).double()
    features = mixer.features(torch.randn(1, 5, dtype=torch.float64))
    expected = torch.eye(6, dtype=torch.float64)
    keys, strengths = features[0, : rank * 6].view(rank, 6), features[0, rank * 6 :]
    for key, strength in zip(keys, strengths, strict=True):
        unit = key / key.norm()
        factor = torch.eye(6, dtype=torch.float64) - scale * strength.sigmoid() * torch.outer(unit, unit)
        expected = expected @ factor
    torch.testing.assert_close(torch.eye(6, dtype=torch.float64) - mixer(features).dense()[0], expected)


@pytest.mark.parametrize(("name", "rank"), [c for c in CASES if c not in (("householder", 2), ("householder", 4))])
@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0])
def test_certified_norm(name, rank, spread):
    norms = [torch.linalg.matrix_norm(mixed(name, rank, spread=spread, seed=s).dense(), 2).max() for s in range(5)]
    assert max(norms) <= 1 + 1e-12
    if spread == 30.0:
        assert max(norms) > 0.8  # and the bound is not an empty one


def test_scale_two_leaves_the_certified_region():
    matrices = mixed("householder", 1, scale=2.0, spread=9.0).dense()
    assert torch.linalg.matrix_norm(matrices, 2).max() > 1.5


def test_products_of_householders_are_not_certified():
    """|I - Q1 Q2| can exceed 1 although each factor contracts: two projections 45 degrees apart."""
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0]) / 2**0.5
    product = (torch.eye(2) - torch.outer(first, first)) @ (torch.eye(2) - torch.outer(second, second))
    assert torch.linalg.matrix_norm(torch.eye(2) - product, 2) > 1.1


@pytest.mark.parametrize("name", sorted(MIXERS))
def test_state_is_read_only_where_asked(name):
    for dependent in (True, False):
        mixer = build_mixer(name, 5, 12, state_dependent=dependent)
        features = mixer.features(torch.randn(1, 5))
        one, other = (mixer(features, torch.randn(1, 12)).dense() for _ in range(2))
        assert torch.equal(one, other) == (not dependent)
        assert isinstance(mixer.from_state, nn.Linear) == dependent


def test_errors_say_what_to_do():
    with refuses("unknown-mixer", "householder", "dense"):
        build_mixer("dense", 4, 8)
    with refuses("mixer-rank", "8", "9"):
        build_mixer("householder", 4, 8, rank=9)
