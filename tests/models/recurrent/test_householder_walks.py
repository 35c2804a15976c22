"""Walks with a gradient written out, in torch and compiled, against autograd through the generic walk."""

import pytest
import torch

from disobey.models.recurrent import fixed_point, scan_cpu
from disobey.models.recurrent.householder_kernel import SOURCE, compiled_walk, runs_here
from tests.models.recurrent.test_fixed_point import gradients, inputs, relative, vector_layer

COMPILED = pytest.mark.skipif(scan_cpu.kernel(SOURCE) is None, reason="no compiler")


@pytest.mark.parametrize(
    ("rank", "compiled"), [(1, False), *(pytest.param(r, True, marks=COMPILED) for r in (1, 2, 3, 4))]
)
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("dependent", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1.8])
def test_written_out_walks_equal_autograd(rank, compiled, normalize, dependent, scale, monkeypatch):
    monkeypatch.setattr(fixed_point, "runs_here", lambda *_: compiled)
    layer = vector_layer(rank=rank, dependent=dependent, normalize_state=normalize, scale=scale)
    state = torch.randn(3, 12, dtype=torch.float64)
    states, got = gradients(layer, inputs(), state)
    layer._walk = layer._generic_walk
    expected, wanted = gradients(layer, inputs(), state)
    torch.testing.assert_close(states, expected, rtol=0, atol=1e-12)
    assert relative(got, wanted) < 1e-10


@COMPILED
@pytest.mark.parametrize("dependent", [True, False])
def test_compiled_walk_has_the_gradient_of_its_values(dependent):
    shapes = ((2, 3, 5), (2, 3, 5), (2, 3, 12), (2, 5), *(((12, 5),) if dependent else ()))
    decay, *others = (torch.randn(s, dtype=torch.float64).requires_grad_() for s in shapes)

    def walk(decay, drive, features, first, weight=None):
        return compiled_walk(decay.sigmoid(), drive, features, first, weight, rank=2, scale=1.5, normalize=True)

    assert torch.autograd.gradcheck(walk, (decay, *others))


@COMPILED
def test_compiled_walk_of_a_key_of_zero_and_of_sizes_it_refuses():
    drive = torch.zeros(1, 2, 3, requires_grad=True)
    features = torch.zeros(1, 2, 8, requires_grad=True)
    states = compiled_walk(
        torch.full((1, 2, 3), 0.5), drive, features, torch.ones(1, 3), None, rank=2, scale=1.0, normalize=True
    )
    assert torch.isfinite(torch.stack(torch.autograd.grad(states.sum(), (drive, drive)))).all()
    assert not runs_here(torch.zeros(1, 1, 4096), 4)
    assert not runs_here(torch.zeros(1, 1, 8, dtype=torch.bfloat16), 1)
