"""The walk h_t = g_t A_t h_{t-1} + b_t, where A_t is a product of R reflections I - s u uᵀ in each of H heads.

One operator, three backends that agree to rounding: ``"cpp"`` (compiled on first use, CPU), ``"triton"`` (CUDA) and
``"loop"`` (any device). All normalize the keys themselves and write the gradient out. None keeps anything between
forward and backward but the states, since what stands between the factors of one token is cheap to compute again from
the state before.

Shapes: B batch, T time, H heads of n dimensions, R factors a token. The heads stand innermost, ``(..., n, H)``: every
arithmetic operation then runs over contiguous heads, whatever n and R are.
"""

import os
from typing import Literal

import torch
from torch import Tensor

from disobey.errors import refusal
from disobey.models.recurrent import scan_cpu

Backend = Literal["auto", "cpp", "triton", "loop"]
SOURCE = scan_cpu.SOURCE.with_name("reflection_walk.cpp")
EPS = 1e-6  # the shortest key that is normalized, as in `torch.nn.functional.normalize`
LARGEST, WORK = 4096, 16384  # what the compiled walk holds in cache: n H, and (R + 1) n H


def reflection_walk(
    keys: Tensor,
    first: Tensor,
    drive: Tensor | None = None,
    gates: Tensor | None = None,
    strengths: Tensor | None = None,
    *,
    backend: Backend = "auto",
) -> Tensor:
    """All states of the walk.

    Args:
        keys: ``(B, T, R, n, H)``; each is divided by its norm. The first factor is applied first.
        first: ``(B, n, H)``, the state before the first token.
        drive: ``(B, T, n, H)``, added after the factors; nothing where None.
        gates: ``(B, T, H)``, one number a head that multiplies what the factors give; 1 where None.
        strengths: ``(B, T, R, H)``, s of ``I - s u uᵀ``: 2 (None) is a reflection, 1 a projection, 0 nothing.
        backend: ``auto`` takes the compiled walk, or Triton's, where it can.

    Returns:
        States ``(B, T, n, H)`` in float32 or float64; half precision is computed in float32, since a walk adds up its
        rounding errors. First derivatives only.

    Raises:
        Refusal: `walk-shapes`, or `walk-backend` where ``cpp`` or ``triton`` was asked for and cannot be had.

    >>> keys = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2, 1)
    >>> reflection_walk(keys, torch.tensor([3.0, 4.0]).view(1, 2, 1)).flatten().tolist()
    [-3.0, 4.0]
    """
    _check(keys, first, drive, gates, strengths)
    dtype = torch.promote_types(keys.dtype, first.dtype)
    dtype = dtype if dtype in (torch.float32, torch.float64) else torch.float32
    tensors = [None if v is None else v.to(dtype).contiguous() for v in (keys, first, drive, gates, strengths)]
    return _Walk.apply(*tensors, _chosen(backend, keys))


def _chosen(backend: str, keys: Tensor) -> str:
    """The backend to run, checked."""
    able = [name for name in ("cpp", "triton") if _can(name, keys, asked=backend == name)]
    if backend in ("cpp", "triton") and backend not in able:
        needs = "CPU tensors of moderate size and a C++ compiler" if backend == "cpp" else "a CUDA device and Triton"
        raise refusal("walk-backend", needs, str(keys.device), "'auto'")
    if backend not in ("auto", "cpp", "triton", "loop"):
        raise refusal("walk-backend", "backend auto, cpp, triton or loop", repr(backend))
    return backend if backend != "auto" else [*able, "loop"][0]


def _can(name: str, keys: Tensor, *, asked: bool) -> bool:
    """Whether a backend can run here; Triton on a CPU (its interpreter) only where it is asked for."""
    if name == "cpp":
        return keys.device.type == "cpu" and _fits(keys) and scan_cpu.kernel(SOURCE) is not None
    if keys.device.type != "cuda" and not (asked and os.environ.get("TRITON_INTERPRET") == "1"):
        return False
    from disobey.models.recurrent import walk_triton

    return walk_triton.AVAILABLE


def _fits(keys: Tensor) -> bool:
    _, _, factors, n, heads = keys.shape
    return n * heads <= LARGEST and (factors + 1) * n * heads <= WORK


def _check(keys: Tensor, first: Tensor, drive: Tensor | None, gates: Tensor | None, strengths: Tensor | None) -> None:
    if keys.ndim != 5 or not keys.is_floating_point():
        raise refusal("walk-shapes", "floating-point keys (B, T, R, n, H)", f"{keys.dtype} {tuple(keys.shape)}")
    batch, time, factors, n, heads = keys.shape
    wanted = {
        "first": (first, (batch, n, heads)),
        "drive": (drive, (batch, time, n, heads)),
        "gates": (gates, (batch, time, heads)),
        "strengths": (strengths, (batch, time, factors, heads)),
    }
    for name, (value, shape) in wanted.items():
        if value is not None and tuple(value.shape) != shape:
            raise refusal("walk-shapes", f"{name} of shape {shape}", str(tuple(value.shape)))


class _Walk(torch.autograd.Function):
    @staticmethod
    def forward(ctx, keys, first, drive, gates, strengths, backend):
        run = {"cpp": _forward_cpp, "triton": _forward_triton, "loop": _forward_loop}[backend]
        states = run(keys, first, drive, gates, strengths)
        ctx.save_for_backward(keys, first, gates, strengths, states)
        ctx.backend, ctx.driven = backend, drive is not None
        return states

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        run = {"cpp": _backward_cpp, "triton": _backward_triton, "loop": _backward_loop}[ctx.backend]
        keys, first, gates, strengths, states = ctx.saved_tensors
        return (*run(keys, first, gates, strengths, states, grad.contiguous(), ctx.driven), None)


def _forward_cpp(keys, first, drive, gates, strengths):
    states = keys.new_empty(keys.shape[0], keys.shape[1], *keys.shape[3:])
    library = scan_cpu.kernel(SOURCE)
    assert library is not None
    call = library.forward_float if keys.dtype == torch.float32 else library.forward_double
    call(*map(scan_cpu.address, (keys, strengths, gates, drive, first, states)), *scan_cpu.sizes(keys))
    return states


def _backward_cpp(keys, first, gates, strengths, states, grad, driven):
    made = [torch.empty_like(keys), None if strengths is None else torch.empty_like(strengths)]
    made += [None if gates is None else torch.empty_like(gates), torch.empty_like(grad) if driven else None]
    d_keys, d_strengths, d_gates, d_drive = made
    d_first = torch.empty_like(first)
    library = scan_cpu.kernel(SOURCE)
    assert library is not None
    call = library.backward_float if keys.dtype == torch.float32 else library.backward_double
    arrays = (keys, strengths, gates, first, states, grad, d_keys, d_strengths, d_gates, d_drive, d_first)
    call(*map(scan_cpu.address, arrays), *scan_cpu.sizes(keys))
    return d_keys, d_first, d_drive, d_gates, d_strengths


def _forward_triton(keys, first, drive, gates, strengths):
    from disobey.models.recurrent import walk_triton

    return walk_triton.forward(keys, first, drive, gates, strengths)


def _backward_triton(keys, first, gates, strengths, states, grad, driven):
    from disobey.models.recurrent import walk_triton

    return walk_triton.backward(keys, first, gates, strengths, states, grad, driven)


def _units(keys):
    """Unit keys and the norms that divided them (not below `EPS`)."""
    norms = torch.linalg.vector_norm(keys, dim=-2, keepdim=True).clamp_min(EPS)
    return keys / norms, norms


def apply_factors(keys: Tensor, strengths: Tensor | None, states: Tensor) -> Tensor:
    """The R factors of a token applied to one state, differentiably: keys (..., R, n, H), states (..., n, H)."""
    units, _ = _units(keys)
    for r in range(keys.shape[-3]):
        u = units[..., r, :, :]
        s = 2.0 if strengths is None else strengths[..., r, None, :]
        states = torch.addcmul(states, u, s * (u * states).sum(-2, keepdim=True), value=-1)
    return states


def _forward_loop(keys, first, drive, gates, strengths):
    units, _ = _units(keys)
    state, states = first, []
    for t in range(keys.shape[1]):
        for r in range(keys.shape[2]):
            u = units[:, t, r]
            s = 2.0 if strengths is None else strengths[:, t, r, None]
            state = torch.addcmul(state, u, s * (u * state).sum(-2, keepdim=True), value=-1)
        state = state if gates is None else state * gates[:, t, None]
        state = state if drive is None else state + drive[:, t]
        states.append(state)
    return torch.stack(states, dim=1)


def _between(units, strengths, before):
    """The states that each factor met, ``(B, T, R, n, H)``, and what they gave: for all tokens at once."""
    met, state = [], before
    for r in range(units.shape[2]):
        met.append(state)
        u = units[:, :, r]
        s = 2.0 if strengths is None else strengths[:, :, r, None]
        state = torch.addcmul(state, u, s * (u * state).sum(-2, keepdim=True), value=-1)
    return torch.stack(met, dim=2), state


def _backward_loop(keys, first, gates, strengths, states, grad, driven):
    units, norms = _units(keys)
    before = torch.cat((first[:, None], states[:, :-1]), dim=1)
    met, product = _between(units, strengths, before)
    adjoints, d_after = torch.empty_like(keys), torch.empty_like(grad)
    carry = torch.zeros_like(first)
    for t in reversed(range(keys.shape[1])):
        carry = carry + grad[:, t]
        d_after[:, t] = carry
        carry = carry if gates is None else carry * gates[:, t, None]
        for r in reversed(range(keys.shape[2])):
            adjoints[:, t, r] = carry
            u = units[:, t, r]
            s = 2.0 if strengths is None else strengths[:, t, r, None]
            carry = torch.addcmul(carry, u, s * (u * carry).sum(-2, keepdim=True), value=-1)
    # what the chain does not need, for the whole sequence at once
    along, dot = (units * adjoints).sum(-2, keepdim=True), (units * met).sum(-2, keepdim=True)
    s = 2.0 if strengths is None else strengths.unsqueeze(-2)
    d_units = -s * (dot * adjoints + along * met)
    inner = torch.where(norms > EPS, (units * d_units).sum(-2, keepdim=True), 0.0)
    d_keys = (d_units - inner * units) / norms
    d_gates = None if gates is None else (d_after * product).sum(-2)
    d_strengths = None if strengths is None else -(dot * along).squeeze(-2)
    return d_keys, carry, d_after if driven else None, d_gates, d_strengths
