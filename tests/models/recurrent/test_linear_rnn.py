"""The scan: every backend against a five-line loop, its gradient, and the build of the kernel."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch

from disobey.models.recurrent import scan_cpu
from disobey.models.recurrent.linear_rnn import linear_recurrence, scan_backend
from tests.support.refusals import refuses

BACKENDS = ["loop"] + (["cpp"] if scan_cpu.kernel() is not None else [])
if torch.cuda.is_available():
    BACKENDS.append("triton")


def reference(decay, inputs, initial=None, reverse=False):
    """The slow twin: the definition, by autograd."""
    order = range(inputs.shape[1])[:: -1 if reverse else 1]
    state = torch.zeros_like(inputs[:, 0]) if initial is None else initial
    states = {}
    for t in order:
        state = states[t] = decay[:, t] * state + inputs[:, t]
    return torch.stack([states[t] for t in range(inputs.shape[1])], dim=1)


def device(backend):
    return "cuda" if backend == "triton" else "cpu"


def case(shape=(3, 7, 5), seed=0, dtype=torch.float64, on="cpu"):
    generator = torch.Generator().manual_seed(seed)
    decay = 2 * torch.rand(shape, generator=generator, dtype=dtype) - 1
    inputs = torch.randn(shape, generator=generator, dtype=dtype)
    initial = torch.randn(shape[0], shape[2], generator=generator, dtype=dtype)
    return [tensor.to(on).requires_grad_() for tensor in (decay, inputs, initial)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("with_initial", [False, True])
@pytest.mark.parametrize("shape", [(3, 7, 5), (1, 1, 1), (2, 1, 3), (1, 30, 1200), (5, 600, 3)])
def test_equals_reference_with_gradients(backend, reverse, with_initial, shape):
    decay, inputs, initial = case(shape, on=device(backend))
    wanted = [decay, inputs] + ([initial] if with_initial else [])
    given = initial if with_initial else None
    weights = torch.randn_like(inputs)
    got = linear_recurrence(decay, inputs, given, reverse=reverse, backend=backend)
    expected = reference(decay, inputs, given, reverse)
    torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)
    for a, b in zip(
        torch.autograd.grad((got * weights).sum(), wanted),
        torch.autograd.grad((expected * weights).sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_gradcheck(backend, reverse):
    arguments = case((2, 5, 3), on=device(backend))
    call = lambda *a: linear_recurrence(*a, reverse=reverse, backend=backend)
    assert torch.autograd.gradcheck(call, arguments)
    assert torch.autograd.gradcheck(call, arguments[:2])


@pytest.mark.parametrize("backend", BACKENDS)
def test_invariances(backend):
    decay, inputs, initial = (t.detach() for t in case(on=device(backend)))
    run = lambda *a, **k: linear_recurrence(*a, backend=backend, **k)
    flipped = run(decay.flip(1), inputs.flip(1), initial).flip(1)
    torch.testing.assert_close(run(decay, inputs, initial, reverse=True), flipped)
    torch.testing.assert_close(run(torch.zeros_like(decay), inputs), inputs)
    torch.testing.assert_close(run(torch.ones_like(decay), inputs), inputs.cumsum(1))
    torch.testing.assert_close(run(decay, 3 * inputs), 3 * run(decay, inputs))
    halves = run(decay[:, :4], inputs[:, :4], initial)
    rest = run(decay[:, 4:], inputs[:, 4:], halves[:, -1])
    torch.testing.assert_close(torch.cat((halves, rest), 1), run(decay, inputs, initial))


@pytest.mark.parametrize("backend", BACKENDS)
def test_strided_and_broadcast_inputs(backend):
    decay, inputs, _ = (t.detach() for t in case((4, 6, 8), on=device(backend)))
    strided = inputs.transpose(0, 2).contiguous().transpose(0, 2)
    assert not strided.is_contiguous()
    torch.testing.assert_close(linear_recurrence(decay, strided, backend=backend), reference(decay, inputs))
    shared = decay[:, :, :1].requires_grad_()
    states = linear_recurrence(shared, inputs, backend=backend)
    torch.testing.assert_close(states, reference(shared.expand_as(inputs), inputs))
    (gradient,) = torch.autograd.grad(states.sum(), shared)
    (expected,) = torch.autograd.grad(reference(shared.expand_as(inputs), inputs).sum(), shared)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_and_half(backend):
    empty = torch.zeros(2, 0, 3, device=device(backend))
    assert linear_recurrence(empty, empty, backend=backend).shape == (2, 0, 3)
    decay, inputs, _ = (t.detach().bfloat16() for t in case(on=device(backend)))
    states = linear_recurrence(decay, inputs, backend=backend)
    assert states.dtype == torch.float32
    torch.testing.assert_close(states, reference(decay.float(), inputs.float()))


def test_threads_agree():
    if scan_cpu.kernel() is None:
        pytest.skip("no C++ compiler")
    decay, inputs, initial = case((1, 9, 700))
    one = linear_recurrence(decay, inputs, initial, backend="cpp")
    alone = torch.autograd.grad(one.square().sum(), (decay, inputs, initial))
    torch.set_num_threads(2)
    try:
        two = linear_recurrence(decay, inputs, initial, backend="cpp")
        both = torch.autograd.grad(two.square().sum(), (decay, inputs, initial))
    finally:
        torch.set_num_threads(1)
    assert torch.equal(one, two)
    assert all(torch.equal(a, b) for a, b in zip(alone, both, strict=True))


def test_compiled_without_graph_break():
    decay, inputs, initial = case(dtype=torch.float32)
    function = lambda *a: linear_recurrence(*a).tanh()
    torch._dynamo.reset()
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    got, expected = compiled(decay, inputs, initial), function(decay, inputs, initial)
    torch.testing.assert_close(got, expected)
    for a, b in zip(
        torch.autograd.grad(got.sum(), (decay, inputs, initial)),
        torch.autograd.grad(expected.sum(), (decay, inputs, initial)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_operator_is_well_formed():
    from disobey.models.recurrent.linear_rnn import _compiled

    decay, inputs, initial = case((2, 4, 3))
    for given in (initial, None):
        torch.library.opcheck(_compiled, (decay, inputs, given, False, "loop"))


def test_errors_say_what_was_got():
    with refuses("scan-shape", "(3,)"):
        linear_recurrence(torch.ones(3), torch.ones(3))
    with refuses("scan-initial", "(1, 3)", "(3,)"):
        linear_recurrence(torch.ones(1, 2, 3), torch.ones(1, 2, 3), torch.ones(3))
    with refuses("unknown-backend", "cuda"):
        linear_recurrence(torch.ones(1, 2, 3), torch.ones(1, 2, 3), backend="cuda")  # pyright: ignore
    with refuses("scan-dtype", "int64"):
        linear_recurrence(torch.ones(1, 2, 3, dtype=torch.int64), torch.ones(1, 2, 3, dtype=torch.int64))


def in_fresh_process(code, **environment):
    """Output of a Python program; the environment is ours with these changes."""
    run = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(run, capture_output=True, text=True, env=os.environ | environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


PROGRAM = """
import torch
from disobey.models.recurrent.linear_rnn import linear_recurrence, scan_backend
x = torch.ones(1, 3, 2)
print(scan_backend(x), linear_recurrence(x / 2, x)[0, :, 0].tolist())
"""


def test_falls_back_silently_without_a_compiler(tmp_path):
    expected = "loop [1.0, 1.5, 1.75]"
    folder = str(tmp_path / "kernels")
    assert in_fresh_process(PROGRAM, PATH="", CXX="", DISOBEY_KERNELS=folder) == expected
    assert in_fresh_process(PROGRAM, DISOBEY_KERNELS="off") == expected


def test_falls_back_when_the_compiler_fails(tmp_path):
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    environment = {"CXX": str(broken), "DISOBEY_KERNELS": str(tmp_path / "kernels"), "TMPDIR": str(tmp_path)}
    assert in_fresh_process(PROGRAM, **environment) == "loop [1.0, 1.5, 1.75]"


def test_two_processes_may_build_at_once(tmp_path):
    if scan_cpu.kernel() is None:
        pytest.skip("no C++ compiler")
    program = [sys.executable, "-c", PROGRAM]
    environment = os.environ | {"DISOBEY_KERNELS": str(tmp_path / "kernels")}
    running = [subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=120)[0].strip() for process in running] == ["cpp [1.0, 1.5, 1.75]"] * 2
    left = list((tmp_path / "kernels").iterdir())
    assert [path.suffix for path in left] == [".so"]


TRITON = """
import torch
from disobey.models.recurrent import scan_triton as triton
from disobey.models.recurrent.linear_rnn import _loop_backward, _loop_forward
triton.NARROW, triton.WIDE, triton.CHUNKED_TILES = (2, 4, 1), (4, 2, 1), {long}
torch.manual_seed(0)
for steps in (1, 2, 7, 11):
    a, x, h0 = torch.rand(2, steps, {width}) * 2 - 1, torch.randn(2, steps, {width}), torch.randn(2, {width})
    for reverse in (False, True):
        for initial in (None, h0):
            states = triton.forward(a, x, initial, reverse)
            torch.testing.assert_close(states, _loop_forward(a, x, initial, reverse))
            given = 2 if initial is None else 3  # no gradient of an initial state that was not there
            gradients = triton.backward(a, states, initial, x.flip(0), reverse)[:given]
            wanted = _loop_backward(a, states, initial, x.flip(0), reverse)[:given]
            torch.testing.assert_close(gradients, wanted)
print("agree", triton._chunks(11, 2, 4, a.device)[0])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("long", "width", "chunks"), [(100, 6, 1), (1, 6, 3), (100, 17, 1)])
def test_triton_kernels_in_the_interpreter(long, width, chunks):
    """The kernels' arithmetic and masks, on CPU; says nothing about a GPU's speed or code generation."""
    pytest.importorskip("triton", minversion="3.9", reason="older interpreters fail with current NumPy")
    assert in_fresh_process(TRITON.format(long=long, width=width), TRITON_INTERPRET="1") == f"agree {chunks}"


def test_backend_names():
    assert scan_backend(torch.zeros(1)) in BACKENDS
    assert scan_backend(torch.zeros(1, device="meta")) == "loop"
