"""What which layer can represent: the statements of docs/guides/group-tracking.md, each with its numbers."""

import math

import pytest
import torch
from torch import Tensor

from disobey.data.sources.sequences import group
from disobey.models.recurrent.delta_product import DeltaProductRNN
from disobey.models.recurrent.fixed_point import FixedPointRNN
from disobey.models.recurrent.reflections import ReflectionRNN
from disobey.models.recurrent.solvers import Iterate
from tests.support.groups import icosahedral, reflections, standard_with_sign, words_and_products


def one_hot(words: Tensor, size: int) -> Tensor:
    return torch.nn.functional.one_hot(words, size).double()


def test_a_convergent_iteration_with_one_decay_reaches_positive_real_parts_only():
    """a = λ / (1 - j) for eigenvalues j of J = (1-λ)(I - Q): |j| < 1 puts 1 - j, and so a, right of the axis."""
    generator, seen, diverging = torch.Generator().manual_seed(0), 0, 0
    eye = torch.eye(4, dtype=torch.float64)
    for _ in range(500):
        mixer = torch.randn(4, 4, generator=generator, dtype=torch.float64)
        decay = float(torch.rand(1, generator=generator)) * 0.98 + 0.01
        jacobian = (1 - decay) * (eye - mixer)
        values = torch.linalg.eigvals(torch.linalg.inv(eye + (1 / decay - 1) * mixer))
        predicted = decay / (1 - torch.linalg.eigvals(jacobian))
        assert torch.allclose(values.abs().sort()[0], predicted.abs().sort()[0], rtol=1e-6)
        if torch.linalg.eigvals(jacobian).abs().max() < 1:
            seen += 1
            assert values.real.min() > 0
        else:
            diverging += bool(values.real.min() < 0)
    assert seen > 100
    assert diverging > 50  # the others do reach negative real parts


@pytest.mark.parametrize("degrees", [30, 89, 91, 120, 144, 180])
def test_no_turn_of_a_right_angle_or_more_is_a_limit(degrees):
    angle, best = math.radians(degrees), 10.0
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    for decay in torch.linspace(0.001, 0.999, 200, dtype=torch.float64):
        jacobian = torch.eye(2, dtype=torch.float64) - decay * turn.T  # the mixer that has this turn at this decay
        radius = float(torch.linalg.eigvals(jacobian).abs().max())
        assert radius == pytest.approx(math.sqrt(1 - 2 * float(decay) * math.cos(angle) + float(decay) ** 2))
        best = min(best, radius)
    assert (best < 1) == (degrees < 90)


def _turned_mixer(rotation: Tensor) -> tuple[float, Tensor]:
    """Decay and keys (3, 3) with which the vector layer's exact step is a rotation of R³."""
    cosine = float((rotation.trace() - 1) / 2)
    half = math.acos(max(-1.0, min(1.0, cosine))) / 2
    values, vectors = torch.linalg.eig(rotation)
    axis = vectors[:, (values - 1).abs().argmin()].real
    axis = axis / axis.norm()
    u = torch.linalg.cross(axis, torch.eye(3, dtype=torch.float64)[axis.abs().argmin()])
    u = u / u.norm()
    side = torch.linalg.cross(axis, u)
    sign = 1.0 if side @ rotation @ u >= 0 else -1.0
    turn = -sign * (math.pi / 2 + half)  # of the mixer, across the axis: λ (Aᵀ - I) / (1 - λ)
    v = math.cos(turn / 2) * u + math.sin(turn / 2) * side
    return 1 / (1 + 2 * math.sin(half)), torch.stack((v, u, axis))  # the first factor stands leftmost


def test_hand_weights_of_the_vector_layer_track_a5_exactly_and_fail_when_iterated():
    matrices, table = icosahedral()
    basis = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64))[0]
    matrices = basis @ matrices @ basis.T  # so that no axis of the layer is special to the group
    layer = FixedPointRNN(60, 3, rank=3, scale=2.0, state_dependent=False).double()
    with torch.no_grad():
        for module in (layer.to_inner, layer.mixer.from_input):
            module.weight.zero_()
            module.bias.zero_()
        layer.to_inner.bias[0] = -1.0  # the drive, about which the state turns
        layer.mixer.from_input.bias[9:11] = 40.0  # two reflections
        for g, rotation in enumerate(matrices):
            decay, keys = _turned_mixer(rotation)
            layer.to_inner.weight[3:6, g] = torch.logit(torch.tensor(min(decay, 1 - 1e-16), dtype=torch.float64))
            layer.mixer.from_input.weight[:9, g] = keys.flatten()
    words, products = words_and_products(table, 64, 1000)
    orbit = matrices[:, :, 0]
    x, drive = one_hot(words, 60), torch.tensor([-1.0, 0, 0], dtype=torch.float64)
    with torch.no_grad():
        states = layer.trace(x)[1] - drive
        assert torch.equal((states @ orbit.T).argmax(-1), products)
        assert (states.norm(dim=-1) - 1).abs().max() < 1e-10
        assert 1.3 < float(layer.contraction_rate(x[:4, :16]).max()) < 1.75
        layer.solver = Iterate(64, tol=0.0)
        swept = layer.trace(x[:, :32])[1] - drive
    right = (torch.nan_to_num(swept) @ orbit.T).argmax(-1) == products[:, :32]
    assert right[:, -8:].float().mean() < 0.2


def test_even_numbers_of_reflections_need_a_dimension_more_for_odd_permutations():
    on = group("S5")
    matrices = standard_with_sign("S5")
    odd = matrices[:, 4, 4] < 0
    standard = matrices[:, :4, :4]
    for twisted in (standard, standard * matrices[:, 4, 4, None, None]):  # the two representations of dimension 4
        assert torch.allclose(torch.linalg.det(twisted[odd]), -torch.ones(60, dtype=torch.float64))
    assert torch.allclose(torch.linalg.det(matrices), torch.ones(120, dtype=torch.float64))
    layer = ReflectionRNN(120, 5, heads=1, rank=4).double()
    start = torch.tensor([0.31, 0.56, 0.77, 0.23, 0.41], dtype=torch.float64)
    with torch.no_grad():
        layer.to_keys.weight.zero_()
        layer.to_keys.bias.zero_()
        layer.start.copy_(start)
        for g, matrix in enumerate(matrices):
            layer.to_keys.weight[:, g] = reflections(matrix, 4).flatten()
    # these matrices multiply as the letters do when each is applied after the last: p · q is first p, then q
    words, products = words_and_products(torch.as_tensor(on.table).T, 16, 300)
    found = (layer.trace(one_hot(words, 120))[1] @ (matrices @ start).T).argmax(-1)
    assert torch.equal(found, products)


def test_delta_product_with_full_strength_and_empty_values_is_a_walk_of_reflections():
    torch.manual_seed(0)
    reflecting = ReflectionRNN(6, 12, heads=3, rank=2).double()
    writing = DeltaProductRNN(6, 12, heads=3, rank=2).double()
    with torch.no_grad():
        writing.to_rules.weight.zero_()
        writing.to_rules.bias.zero_()
        writing.to_rules.weight[:24] = reflecting.to_keys.weight
        writing.to_rules.bias[:24] = reflecting.to_keys.bias
        writing.to_strengths.weight.zero_()
        writing.to_strengths.bias.fill_(40.0)
    x, state = torch.randn(2, 7, 6, dtype=torch.float64), torch.randn(2, 4, 4, 3, dtype=torch.float64)
    last = writing(x, state.flatten(2))[1].unflatten(-1, (4, 3))
    for column in range(4):
        expected = reflecting(x, state[:, :, column].flatten(1))[1]
        assert torch.allclose(last[:, :, column].flatten(1), expected, atol=1e-12)


@pytest.mark.parametrize("degrees", [59, 61, 120, 180])
def test_the_papers_own_splitting_of_an_orthogonal_mixer_converges_below_sixty_degrees(degrees):
    angle = math.radians(degrees)
    mixer = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    radius = float(torch.linalg.eigvals(torch.eye(2) - mixer).abs().max())
    assert (radius < 1) == (degrees < 60)
