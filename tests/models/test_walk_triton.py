"""Triton's walk through reflections against the loop, in Triton's interpreter; on a GPU tests/test_gpu.py has it."""

import importlib.util
import os
import subprocess
import sys

import pytest

CODE = """
import itertools, torch
from disobey.models.recurrent.reflection_walk import reflection_walk
torch.manual_seed(0)
worst = 0.0
for n, heads, factors in ((4, 3, 4), (5, 2, 1), (3, 9, 2)):
    for drive, gates, strengths in itertools.product((False, True), repeat=3):
        make = lambda *shape: torch.randn(*shape, dtype=torch.float64)
        given = [make(2, 4, factors, n, heads), make(2, n, heads), make(2, 4, n, heads) if drive else None,
                 torch.rand(2, 4, heads, dtype=torch.float64) if gates else None,
                 2 * torch.rand(2, 4, factors, heads, dtype=torch.float64) if strengths else None]
        given[0][0, 0, 0] = 0.0  # a key without a direction
        found = []
        for backend in ("triton", "loop"):
            own = [None if v is None else v.clone().requires_grad_() for v in given]
            states = reflection_walk(*own, backend=backend)
            (states * torch.linspace(-1, 1, states.numel(), dtype=torch.float64).view_as(states)).sum().backward()
            found.append([states.detach(), *(v.grad for v in own if v is not None)])
        worst = max(worst, *(float((a - b).abs().max()) for a, b in zip(*found)))
print(worst)
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
def test_states_and_gradients_agree_with_the_loop():
    env = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=env, check=False)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout.splitlines()[-1]) < 1e-12


@pytest.mark.parametrize("backend", ["triton", "warp"])
def test_a_backend_that_is_not_there_is_refused(backend, monkeypatch):
    import torch

    from disobey.models.recurrent.reflection_walk import reflection_walk
    from tests.support.refusals import refuses

    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with refuses("walk-backend"):
        reflection_walk(torch.ones(1, 1, 1, 2, 1), torch.ones(1, 2, 1), backend=backend)
