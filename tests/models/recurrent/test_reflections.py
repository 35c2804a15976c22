"""Reflections: the walk against plain autograd, the layer against itself, and what it can represent."""

import itertools

import pytest
import torch

from disobey.models.recurrent import scan_cpu
from disobey.models.recurrent.reflection_walk import SOURCE, apply_factors, reflection_walk
from disobey.models.recurrent.reflections import ReflectionRNN
from disobey.models.recurrent.solvers import Exact, Iterate
from tests.support.groups import icosahedral, reflections, words_and_products
from tests.support.refusals import refuses

BACKENDS = [
    "loop",
    pytest.param("cpp", marks=pytest.mark.skipif(scan_cpu.kernel(SOURCE) is None, reason="no compiler")),
]
OPTIONS = [
    {},
    {"drive": True},
    {"gate": True, "strength": "bounded"},
    {"strength": "projection", "drive": True, "gate": True},
    {"state_dependent": True, "drive": True},
]


def _inputs(dtype=torch.float64, batch=3, time=5, factors=3, n=4, heads=6):
    torch.manual_seed(0)
    shapes = ((batch, time, factors, n, heads), (batch, n, heads), (batch, time, n, heads))
    keys, first, drive = (torch.randn(s, dtype=dtype).requires_grad_() for s in shapes)
    gates = torch.rand(batch, time, heads, dtype=dtype).requires_grad_()
    strengths = (2 * torch.rand(batch, time, factors, heads, dtype=dtype)).requires_grad_()
    return keys, first, drive, gates, strengths


def plain_walk(keys, first, drive, gates, strengths):
    """The walk in plain differentiable operations, written from its definition."""
    state, states = first, []
    for t in range(keys.shape[1]):
        for r in range(keys.shape[2]):
            u = torch.nn.functional.normalize(keys[:, t, r], dim=1, eps=1e-6)
            s = 2.0 if strengths is None else strengths[:, t, r, None]
            state = state - s * u * (u * state).sum(1, keepdim=True)
        state = state if gates is None else gates[:, t, None] * state
        state = state if drive is None else state + drive[:, t]
        states.append(state)
    return torch.stack(states, 1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kept", [(), (2,), (3,), (4,), (2, 3, 4)], ids=str)
def test_values_and_gradients_are_those_of_autograd(backend, kept):
    given = [v if i < 2 or i in kept else None for i, v in enumerate(_inputs())]
    ours, plain = reflection_walk(*given, backend=backend), plain_walk(*given)
    assert torch.allclose(ours, plain, atol=1e-12, rtol=0)
    weight = torch.randn_like(plain)
    wanted = [v for v in given if v is not None]
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), wanted),
        torch.autograd.grad((plain * weight).sum(), wanted),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-11, rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradcheck(backend):
    assert torch.autograd.gradcheck(lambda *x: reflection_walk(*x, backend=backend), _inputs(batch=2, time=3, heads=2))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_key_of_zero_does_nothing_and_has_finite_gradients(backend):
    keys = torch.zeros(1, 2, 1, 3, 1, dtype=torch.float64, requires_grad=True)
    first = torch.ones(1, 3, 1, dtype=torch.float64)
    states = reflection_walk(keys, first, backend=backend)
    assert torch.equal(states[:, -1], first)
    (gradient,) = torch.autograd.grad(states.sum(), keys)
    assert torch.isfinite(gradient).all()


def test_refusals():
    keys, first, drive, gates, _ = _inputs(torch.float32)
    with refuses("walk-shapes", "first"):
        reflection_walk(keys, first[:, :2])
    with refuses("walk-shapes", "drive"):
        reflection_walk(keys, first, drive[:, :3], gates)
    with refuses("walk-shapes"):
        reflection_walk(keys[0], first)
    with refuses("walk-backend"):
        reflection_walk(keys, first, backend="fast")
    with refuses("heads"):
        ReflectionRNN(8, 10, heads=4)
    with refuses("strength"):
        ReflectionRNN(8, 8, heads=4, strength="strong")


def test_half_precision_walks_in_single():
    keys, first, *_ = _inputs(torch.float32)
    assert reflection_walk(keys.bfloat16(), first.bfloat16()).dtype == torch.float32


def _layer(solver="exact", *, dtype=torch.float64, **options):
    torch.manual_seed(1)
    return ReflectionRNN(6, 12, heads=3, rank=2, solver=solver, **options).to(dtype)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_steps_agree_with_the_whole_and_states_carry_over(options):
    layer, x = _layer(**options), torch.randn(2, 7, 6, dtype=torch.float64)
    y, last = layer(x)
    state, rows = None, []
    for t in range(7):
        row, state = layer.step(x[:, t], state)
        rows.append(row)
    assert torch.allclose(torch.stack(rows, 1), y, atol=1e-12)
    assert torch.allclose(state, last, atol=1e-12)
    y1, middle = layer(x[:, :3])
    y2, _ = layer(x[:, 3:], middle)
    assert torch.allclose(torch.cat((y1, y2), 1), y, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_l_sweeps_are_exact_at_the_first_l_positions_and_not_beyond(options):
    layer, x = _layer(**options), torch.randn(2, 9, 6, dtype=torch.float64)
    exact = layer.trace(x)[1]
    for sweeps in (1, 4, 9):
        layer.solver = Iterate(sweeps, tol=0.0)
        states = layer.trace(x)[1]
        assert torch.allclose(states[:, :sweeps], exact[:, :sweeps], atol=1e-10)
        if sweeps < 9:
            assert (states[:, sweeps] - exact[:, sweeps]).abs().max() > 1e-3


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_t_sweeps_have_the_exact_gradient(options):
    layer, x = _layer(**options), torch.randn(2, 6, 6, dtype=torch.float64)

    def gradients():
        layer.zero_grad()
        y, _ = layer(x)
        (y * torch.arange(y.numel(), dtype=y.dtype).view_as(y).cos()).sum().backward()
        return [p.grad.clone() for p in layer.parameters() if p.grad is not None]

    exact = gradients()
    layer.solver = Iterate(6, tol=0.0, gradient="ift")
    for a, b in zip(exact, gradients(), strict=True):
        assert torch.allclose(a, b, atol=1e-9)


def test_one_sweep_is_a_signed_diagonal_recurrence():
    layer, x = _layer(Iterate(1, tol=0.0)), torch.randn(1, 5, 6, dtype=torch.float64)
    states = layer.trace(x)[1]
    dense = layer.transitions(x)
    decay = dense.diagonal(dim1=-2, dim2=-1).transpose(2, 3).flatten(2)
    assert decay.abs().max() <= 1 + 1e-12
    assert decay.min() < 0 < decay.max()
    assert torch.allclose(states[:, 1:], decay[:, 1:] * states[:, :-1], atol=1e-12)


def test_transitions_are_orthogonal_with_a_fixed_determinant():
    dense = _layer().transitions(torch.randn(2, 4, 6, dtype=torch.float64))
    eye = torch.eye(4, dtype=torch.float64)
    assert torch.allclose(dense @ dense.mT, eye.expand_as(dense), atol=1e-12)
    assert torch.allclose(torch.linalg.det(dense), torch.ones(2, 4, 3, dtype=torch.float64), atol=1e-12)


def test_transitions_are_what_the_walk_applies():
    layer, x = _layer(drive=True, gate=True, strength="bounded"), torch.randn(2, 4, 6, dtype=torch.float64)
    states = layer.trace(x)[1].unflatten(-1, (4, 3))
    before = states[:, :-1].movedim(-1, 2).unsqueeze(-1)
    mapped = (layer.transitions(x)[:, 1:] @ before).squeeze(-1).movedim(2, -1)
    drive = layer.to_drive(x)[:, 1:].unflatten(-1, (4, 3))
    assert torch.allclose(mapped + drive, states[:, 1:], atol=1e-12)


@pytest.mark.parametrize("solver", [Exact(), Iterate(5, tol=0.0)], ids=["exact", "iterate"])
def test_autocast_keeps_states_in_single_precision(solver):
    layer, x = _layer(solver, dtype=torch.float32, drive=True), torch.randn(2, 5, 6)
    plain = layer(x)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, states = layer.trace(x)
    assert states.dtype == torch.float32
    assert (y.float() - plain).abs().max() < 0.1


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # dynamo's own look at the solver's output
@pytest.mark.parametrize("solver", [Exact(), Iterate(5, tol=0.0)], ids=["exact", "iterate"])
def test_compiles_around_the_solver(solver):
    layer, x = _layer(solver, dtype=torch.float32, drive=True), torch.randn(2, 5, 6)
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="aot_eager")
    expected, got = layer(x)[0], compiled(x)[0]
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
    weight = layer.to_keys.weight
    wanted, found = (torch.autograd.grad(y.square().sum(), weight)[0] for y in (expected, got))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_layer_in_bfloat16_has_states_in_single_precision():
    layer, x = _layer(dtype=torch.float32), torch.randn(2, 5, 6)
    plain = layer(x)[0]
    y, states = layer.bfloat16().trace(x.bfloat16())
    assert (y.dtype, states.dtype) == (torch.bfloat16, torch.float32)
    assert (y.float() - plain).abs().max() < 0.1


def test_hand_weights_track_a5_for_a_thousand_tokens_and_two_sweeps_do_not():
    """One head of three dimensions and two reflections a token carry the icosahedral representation of A5."""
    group, table = icosahedral()
    assert len(group) == 60
    layer = ReflectionRNN(60, 3, heads=1, rank=2).double()
    with torch.no_grad():
        layer.to_keys.weight.zero_()
        layer.to_keys.bias.zero_()
        for g, rotation in enumerate(group):
            layer.to_keys.weight[:, g] = reflections(rotation, 2).flatten()
        start = torch.tensor([0.31, 0.56, 0.77], dtype=torch.float64)
        layer.start.copy_(start)
    words, answers = words_and_products(table, 16, 1000)
    x = torch.nn.functional.one_hot(words, 60).double()
    orbit = group @ start
    exact = (layer.trace(x)[1] @ orbit.T).argmax(-1)
    assert torch.equal(exact, answers)
    layer.solver = Iterate(2, tol=0.0)
    with torch.no_grad():  # with gradients on, ift adds one sweep to differentiate
        swept = (layer.trace(x)[1] @ orbit.T).argmax(-1)
    assert torch.equal(swept[:, :2], answers[:, :2])
    assert (swept[:, 4:] == answers[:, 4:]).float().mean() < 0.1


def test_apply_factors_broadcasts_over_columns():
    keys, first, *_ = _inputs()
    one = apply_factors(keys[:, 0], None, first)
    both = apply_factors(keys[:, 0].unsqueeze(1), None, torch.stack((first, 2 * first), 1))
    assert torch.allclose(both, torch.stack((one, 2 * one), 1))


@pytest.mark.parametrize(("n", "heads"), list(itertools.product((1, 3), (1, 5))))
def test_small_shapes(n, heads):
    keys, first, drive, gates, strengths = _inputs(n=n, heads=heads, factors=1, time=2)
    assert torch.allclose(
        reflection_walk(keys, first, drive, gates, strengths), plain_walk(keys, first, drive, gates, strengths)
    )
