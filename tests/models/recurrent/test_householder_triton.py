"""Triton's kernels of the walks: against the loop in Triton's interpreter, and compiled for GPUs that are not here.

The interpreter checks arithmetic and masks; it accepts programs that Triton's compiler refuses, so that all kernels are
compiled to machine code, too. What they give on a GPU is in tests/test_gpu.py.
"""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", minversion="3.3")

INTERPRETED = """
from functools import partial
import torch
from disobey.models.recurrent import fixed_point
from tests.models.recurrent.test_fixed_point import vector_layer
fixed_point.runs_here = lambda *_: True
fixed_point.compiled_walk = partial(fixed_point.compiled_walk, backend="triton")
for rank, width, steps, dependent, normalize, scale in (
    (1, 5, 3, True, True, 1.0), (1, 8, 2, False, True, 1.8), (2, 7, 3, True, False, 1.0), (3, 12, 2, True, True, 1.8),
    (3, 5, 3, False, True, 1.0), (4, 9, 2, True, True, 1.0), (5, 6, 2, False, True, 1.0),
):
    layer = vector_layer(rank=rank, d_inner=width, dependent=dependent, normalize_state=normalize, scale=scale)
    decay, drive, _, features = layer._project(torch.randn(3, steps, 5, dtype=torch.float64))
    features[0, 0, :width] = 0.0  # a key without a direction
    given = [v.detach() for v in (decay, drive, features, torch.randn(3, width, dtype=torch.float64))]
    weights = [layer.mixer.from_state.weight] if dependent else []
    found = []
    for walk in (layer._walk, layer._generic_walk):
        own = [v.clone().requires_grad_() for v in given]
        states = walk(*own)
        found.append([states, *torch.autograd.grad((states.sin() * 3).sum(), [*own, *weights])])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-11)
print("agree")
"""

COMPILED = """
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from disobey.models.recurrent import householder_triton, walk_triton
def build(kernel, kind, warps, **constants):
    sizes = dict.fromkeys(("begin", "end", "steps", "width", "n", "heads"), "i32")
    types = {name: "constexpr" if name in constants else sizes.get(name, "*" + kind) for name in kernel.arg_names}
    places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    made = triton.compile(ASTSource(kernel, types, places), GPUTarget("cuda", 90, 32), {"num_warps": warps})
    assert made.asm["cubin"]
for way in ("_forward", "_backward"):
    for kind, rank, ranks in (("fp32", 1, 1), ("fp64", 3, 4)):
        kernel = getattr(householder_triton, way)
        build(kernel, kind, 1, RANK=rank, SCALE=1.8, RANKS=ranks, BLOCK=32)
    for has in (0, 7):
        build(getattr(walk_triton, way), "fp32", 1, FACTORS=2, ROWS=4, BLOCK=8, HAS=has)
print("compiled")
"""


def _run(code: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=kept | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_states_and_gradients_agree_with_the_loop():
    assert _run(INTERPRETED, TRITON_INTERPRET="1") == "agree"


def test_the_kernels_compile_for_a_gpu(tmp_path):
    assert _run(COMPILED, TRITON_CACHE_DIR=str(tmp_path)) == "compiled"
