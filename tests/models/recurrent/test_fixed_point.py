"""The identity: iterated, exact, stepwise and densely solved recurrences are one function with one gradient."""

from dataclasses import replace

import pytest
import torch

from disobey.models.recurrent.fixed_point import FixedPointRNN, shifted, unit_rms
from disobey.models.recurrent.fixed_point_mamba import FixedPointMamba
from disobey.models.recurrent.solvers import Exact, Iterate
from tests.support.refusals import refuses

CONVERGED = Iterate(max_iter=2000, tol=1e-14)
MIXERS = [("householder", 1), ("householder", 2), ("householder", 4), ("diagonal_low_rank", 2), ("kronecker", 1)]


def vector_layer(mixer="householder", rank=1, *, dependent=True, d_inner=12, seed=0, **options):
    torch.manual_seed(seed)
    layer = FixedPointRNN(5, d_inner, mixer=mixer, rank=rank, state_dependent=dependent, **options)
    return layer.double()


def matrix_layer(mixer="householder", rank=1, *, dependent=True, seed=0, **options):
    torch.manual_seed(seed)
    reads = ("mixer", "b", "c") if dependent else ()
    return FixedPointMamba(5, 12, d_state=3, mixer=mixer, rank=rank, reads=reads, **options).double()


def inputs(steps=7, seed=1):
    return torch.randn(3, steps, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def dense_states(layer, x):
    """The slow twin: at each step solve(I - J_t, Λ h_{t-1} + (I - Λ) Q u) with matrices written out."""
    decay, drive, _, features = layer._project(x)
    eye, state, states = torch.eye(layer.d_inner, dtype=x.dtype), torch.zeros_like(drive[:, 0]), []
    for t in range(x.shape[1]):
        read = unit_rms(state) if layer.normalize_state else state
        complement = layer.mixer(features[:, t], read).dense()
        gain = (1 - decay[:, t])[:, :, None]
        right = decay[:, t] * state + (gain * (eye - complement) @ drive[:, t, :, None])[..., 0]
        state = torch.linalg.solve(eye - gain * complement, right)
        states.append(state)
    return torch.stack(states, 1)


def gradients(layer, x, state=None):
    x = x.clone().requires_grad_()
    y, after = layer(x, state)
    after = after if isinstance(after, tuple) else (after,)
    loss = y.square().sum() + sum(part.sin().sum() for part in after)
    wanted = [x, *layer.parameters()]
    return y.detach(), torch.autograd.grad(loss, wanted)


def relative(first, second):
    return max(float((a - b).norm() / b.norm().clamp_min(1e-300)) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("dependent", [True, False])
@pytest.mark.parametrize(("mixer", "rank"), MIXERS)
def test_identity_vector_state(mixer, rank, dependent):
    layer, x = vector_layer(mixer, rank, dependent=dependent), inputs()
    gate = layer._project(x)[2]
    expected = layer.to_output(dense_states(layer, x) * gate)
    layer.solver = Exact()
    torch.testing.assert_close(layer(x)[0], expected, rtol=0, atol=1e-12)
    layer.solver = CONVERGED
    torch.testing.assert_close(layer(x)[0], expected, rtol=0, atol=1e-10)
    assert bool(layer.last_solve.converged.all())


def dense_outputs(layer, x):
    """The slow twin of the matrix state: y solves (I - g P) y = r + g (I - P) u at each step, matrices written out."""
    now, gate = layer._project(x)
    eye, last = torch.eye(layer.d_inner, dtype=x.dtype), torch.zeros_like(now[1][:, 0])
    matrix, outputs = x.new_zeros(len(x), layer.d_state, layer.d_inner), []
    for t in range(x.shape[1]):
        decay, drive, *features = (part[:, t] for part in now)
        read = unit_rms(last) if layer.normalize_state else last
        keys, readouts = layer.keys(features[0], read), layer.readouts(features[1], read)
        complement = layer.mixer(features[2], read).dense()
        kept = decay[:, None] * matrix
        gain = (keys * readouts).sum(-1, keepdim=True) * (1 - decay)  # of x̃ in y
        fixed = (readouts[..., None] * kept).sum(1) + gain * ((eye - complement) @ drive[..., None])[..., 0]
        last = torch.linalg.solve(eye - gain[..., None] * complement, fixed)
        target = ((eye - complement) @ drive[..., None] + complement @ last[..., None])[..., 0]
        matrix = kept + keys[..., None] * ((1 - decay) * target)[:, None]
        outputs.append(last)
    outputs = torch.stack(outputs, 1)
    return layer._finish(outputs, now[1], gate, shifted(outputs, torch.zeros_like(last))), matrix


@pytest.mark.parametrize("dependent", [True, False])
@pytest.mark.parametrize(("mixer", "rank"), MIXERS)
def test_identity_matrix_state(mixer, rank, dependent):
    layer, x = matrix_layer(mixer, rank, dependent=dependent), inputs()
    expected, matrix = dense_outputs(layer, x)
    for solver in (Exact(), CONVERGED):
        layer.solver = solver
        y, (last, _) = layer(x)
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-10)
        torch.testing.assert_close(last, matrix, rtol=0, atol=1e-10)
    assert bool(layer.last_solve.converged.all())


@pytest.mark.parametrize("solver", [Exact(), CONVERGED])
@pytest.mark.parametrize(("mixer", "rank"), MIXERS)
def test_a_mixer_fed_with_the_layers_own_states_changes_nothing(mixer, rank, solver):
    layer, x = vector_layer(mixer, rank), inputs()
    layer.solver = solver
    y, states = layer.trace(x)
    assert torch.equal(states[:, -1], layer(x)[1])
    fed, again = layer.trace(x, reads=shifted(states, torch.zeros_like(states[:, 0])))
    torch.testing.assert_close((fed, again), (y, states), rtol=0, atol=1e-10)
    with torch.no_grad():
        other, _ = layer.trace(x, reads=torch.randn(states.shape, dtype=states.dtype))
    assert not torch.allclose(other, y, atol=1e-3)


def test_reads_need_a_mixer_that_reads():
    layer, x = vector_layer(dependent=False), inputs()
    with refuses("no-state-reads"):
        layer.trace(x, reads=torch.zeros(3, 7, 12, dtype=torch.float64))


@pytest.mark.parametrize("dependent", [True, False])
@pytest.mark.parametrize(("mixer", "rank"), MIXERS)
@pytest.mark.parametrize("build", [vector_layer, matrix_layer])
def test_both_solvers_give_one_gradient(build, mixer, rank, dependent):
    layer, x = build(mixer, rank, dependent=dependent), inputs()
    layer.solver = Exact()
    exact, wanted = gradients(layer, x)
    layer.solver = CONVERGED
    iterated, got = gradients(layer, x)
    torch.testing.assert_close(iterated, exact, rtol=0, atol=1e-10)
    assert relative(got, wanted) < 1e-9
    layer.solver = replace(CONVERGED, gradient="unroll", unroll=200)
    assert relative(gradients(layer, x)[1], wanted) < 1e-6


def test_gradient_through_the_dense_twin():
    """Neither of our solvers: autograd through matrices written out."""
    layer, x = vector_layer(rank=2), inputs().requires_grad_()
    wanted_parameters = [x, *(p for n, p in layer.named_parameters() if "to_output" not in n)]
    gate = layer._project(x)[2]
    wanted = torch.autograd.grad((dense_states(layer, x) * gate).square().sum(), wanted_parameters)
    layer.to_output = torch.nn.Identity()
    layer.solver = CONVERGED
    got = torch.autograd.grad(layer(x)[0].square().sum(), wanted_parameters)
    assert relative(got, wanted) < 1e-9


@pytest.mark.parametrize("build", [vector_layer, matrix_layer])
def test_gradcheck(build):
    layer = build()
    for solver in (Exact(), CONVERGED):
        layer.solver = solver
        x = inputs(3)[:1].requires_grad_()
        assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)


@pytest.mark.parametrize("build", [vector_layer, matrix_layer])
def test_one_sweep_is_diagonal(build):
    """With one sweep no channel's state reaches another: the derivative of h_t by h_0 is diagonal."""
    layer = build(dependent=False)
    layer.solver = Iterate(max_iter=1, tol=0)
    x = inputs(3)[:1]
    if build is vector_layer:
        run = lambda state: layer(x, state)[1][0]
        start = torch.randn(1, 12, dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(run, start)[:, 0]
        assert float((jacobian - jacobian.diag().diag()).abs().max()) < 1e-14
        assert float(jacobian.diag().abs().min()) > 0
        layer.solver = Exact()
        dense = torch.autograd.functional.jacobian(run, start)[:, 0]
        assert float((dense - dense.diag().diag()).abs().max()) > 1e-4
    else:
        run = lambda matrix: layer(x, (matrix, torch.zeros(1, 12, dtype=torch.float64)))[1][0][0].sum(0)
        start = torch.randn(1, 3, 12, dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(run, start)[:, 0].sum(1)
        assert float((jacobian - jacobian.diag().diag()).abs().max()) < 1e-14


@pytest.mark.parametrize("solver", [Exact(), CONVERGED])
@pytest.mark.parametrize(("mixer", "rank"), MIXERS)
@pytest.mark.parametrize("build", [vector_layer, matrix_layer])
def test_step_and_chunks_equal_forward(build, mixer, rank, solver):
    layer, x = build(mixer, rank), inputs()
    layer.solver = solver
    with torch.no_grad():
        whole, last = layer(x)
        first, state = layer(x[:, :3])
        rest, after = layer(x[:, 3:], state)
        torch.testing.assert_close(torch.cat((first, rest), 1), whole, rtol=0, atol=1e-10)
        outputs, state = [], None
        for t in range(x.shape[1]):
            y, state = layer.step(x[:, t], state)
            outputs.append(y)
    torch.testing.assert_close(torch.stack(outputs, 1), whole, rtol=0, atol=1e-10)
    torch.testing.assert_close(after, last, rtol=0, atol=1e-10)
    torch.testing.assert_close(state, last, rtol=0, atol=1e-10)


@pytest.mark.parametrize("build", [vector_layer, matrix_layer])
def test_step_of_the_diagonal_layer(build):
    layer, x = build(dependent=False), inputs()
    layer.solver = Iterate(max_iter=1)
    whole, state, outputs = layer(x)[0], None, []
    for t in range(x.shape[1]):
        y, state = layer.step(x[:, t], state)
        outputs.append(y)
    torch.testing.assert_close(torch.stack(outputs, 1), whole)


@pytest.mark.parametrize("build", [vector_layer, matrix_layer])
def test_causal(build):
    layer, x = build(), inputs()
    changed = x.clone()
    changed[:, 4:] += 1
    for solver in (Exact(), Iterate(5, 0)):
        layer.solver = solver
        torch.testing.assert_close(layer(x)[0][:, :4], layer(changed)[0][:, :4], rtol=0, atol=1e-14)
        assert not torch.allclose(layer(x)[0][:, 4:], layer(changed)[0][:, 4:])


def test_rate_predicts_the_residual():
    """Without reading the state the iteration is linear: the residual falls at the predicted rate or faster."""
    layer, x = vector_layer(dependent=False, seed=3), inputs(3)[:1]
    residuals = []
    for sweeps in (20, 30):
        layer.solver = Iterate(sweeps, tol=0)
        with torch.no_grad():
            layer(x)
        residuals.append(float(layer.last_solve.residual))
    measured = (residuals[1] / residuals[0]) ** (1 / 10)
    predicted = float(layer.contraction_rate(x))
    assert 0 < predicted < 1
    # a defective spectrum over T steps adds a polynomial factor
    assert 0.7 * predicted < measured < 1.3 * predicted


def test_a_diverging_sequence_is_never_called_converged():
    layer = vector_layer(scale=2.0, dependent=False, init_decay=0.01, seed=1)
    with torch.no_grad():
        layer.mixer.from_input.bias[-1] = 8.0  # α near 1: P has an eigenvalue near 2
        assert float(layer.contraction_rate(inputs()).min()) > 1.2
        for sweeps in (50, 5000):
            layer.solver = Iterate(sweeps, tol=1e-3)
            layer(inputs())
            assert not layer.last_solve.converged.any()
        layer.solver = Exact()
        y, _ = layer(inputs())
    assert torch.isfinite(y).all()
    assert layer.last_solve.converged.all()


def test_tolerance_and_budget():
    layer, x = vector_layer(), inputs(12)
    used = []
    for tol in (1e-1, 1e-3, 1e-9):
        layer.solver = Iterate(500, tol)
        layer(x)
        assert layer.last_solve.converged.all()
        assert float(layer.last_solve.residual.max()) <= tol
        used.append(layer.last_solve.iterations)
    assert used[0] < used[1] < used[2]
    layer.solver = Iterate(3, 1e-9)
    layer(x)
    assert layer.last_solve.iterations == 3
    assert not layer.last_solve.converged.any()


@pytest.mark.parametrize("gradient", ["one_step", "unroll"])
def test_cheap_gradients_are_approximations(gradient):
    layer, x = vector_layer(), inputs()
    layer.solver = Exact()
    wanted = gradients(layer, x)[1]
    layer.solver = replace(CONVERGED, gradient=gradient, unroll=2)
    got = gradients(layer, x)[1]
    assert 1e-3 < relative(got, wanted) < 1.5
    flat = [torch.cat([g.flatten() for g in grads]) for grads in (got, wanted)]
    assert torch.nn.functional.cosine_similarity(*flat, dim=0) > 0.5


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # dynamo's own look at the solver's output
@pytest.mark.parametrize("build", [vector_layer, matrix_layer])
@pytest.mark.parametrize("solver", [Exact(), Iterate(30, 0)])
def test_compiles(build, solver):
    layer, x = build(), inputs(4)
    layer.solver = solver
    y, wanted = gradients(layer, x)
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="aot_eager")
    x = x.clone().requires_grad_()
    got_y, after = compiled(x)
    torch.testing.assert_close(got_y, y)
    after = after if isinstance(after, tuple) else (after,)
    loss = got_y.square().sum() + sum(part.sin().sum() for part in after)
    assert relative(torch.autograd.grad(loss, [x, *layer.parameters()]), wanted) < 1e-9


@pytest.mark.parametrize("solver", [Exact(), Iterate(200, 1e-4)])
@pytest.mark.parametrize(("rank", "dependent"), [(1, True), (2, True), (2, False)])
def test_a_layer_in_bfloat16_has_states_in_single_precision(rank, dependent, solver):
    layer, x = vector_layer(rank=rank, dependent=dependent).float(), inputs().float()
    layer.solver = solver
    plain = layer(x)[0]
    y, states = layer.bfloat16().trace(x.bfloat16())
    assert (y.dtype, states.dtype) == (torch.bfloat16, torch.float32)
    assert (y.float() - plain).abs().max() < 0.1
    y.float().sum().backward()


@pytest.mark.parametrize("build", [vector_layer, matrix_layer])
@pytest.mark.parametrize("solver", [Exact(), Iterate(200, 1e-4)])
def test_autocast_solves_in_full_precision(build, solver):
    layer, x = build().float(), inputs().float()
    layer.solver = solver
    expected = layer(x)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = layer(x)
    y.float().sum().backward()
    assert (state[0] if isinstance(state, tuple) else state).dtype == torch.float32
    assert layer.last_solve.converged.all()  # bfloat16 alone would stall near 1e-2
    assert float((y.float() - expected).detach().abs().max()) < 0.05 * float(expected.detach().abs().max()) + 0.05


def test_state_dict_round_trip():
    one, other = vector_layer(seed=0), vector_layer(seed=1)
    assert not torch.equal(one(inputs())[0], other(inputs())[0])
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(inputs())[0], other(inputs())[0])


def test_norm_in_the_loop_has_its_own_step():
    layer, x = matrix_layer("householder", 4, norm="loop", inner_iter=400, seed=0), inputs()
    layer.solver = Exact()
    whole, state, outputs = layer(x)[0], None, []
    for t in range(x.shape[1]):
        y, state = layer.step(x[:, t], state)
        outputs.append(y)
    torch.testing.assert_close(torch.stack(outputs, 1), whole, rtol=0, atol=1e-10)


def test_norm_in_the_loop_has_several_fixed_points():
    """Both iterations settle, on different states: the published form needs its start to be specified."""
    torch.manual_seed(0)
    layer = FixedPointMamba(6, 16, d_state=4, norm="loop", inner_iter=500).double()
    x = torch.randn(3, 9, 6).double()  # a draw with two solutions; half of all draws have
    with torch.no_grad():
        layer.solver = Exact()
        stepwise = layer(x)[0]
        layer.inner_iter = 700
        torch.testing.assert_close(layer(x)[0], stepwise, rtol=0, atol=1e-12)
        layer.solver = Iterate(2000, 1e-12)
        swept = layer(x)[0]
    assert layer.last_solve.converged.all()
    assert float((swept - stepwise).abs().max()) > 0.1


def test_errors_say_what_came():
    with refuses("unknown-solver", "newton"):
        FixedPointRNN(4, solver="newton")
    with refuses("unknown-gradient", "two_step"):
        FixedPointRNN(4, solver="iterate", gradient="two_step")  # pyright: ignore
    with refuses("iterate-settings", "max_iter=0"):
        Iterate(max_iter=0)
    with refuses("mamba-options", "lambda"):
        FixedPointMamba(4, reads=("lambda",))
    with refuses("init-decay", "1.0"):
        FixedPointRNN(4, init_decay=1.0)
