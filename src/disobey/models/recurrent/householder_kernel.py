"""The exact walk for R Householder factors, compiled, with its gradient written out.

The generic walk records about thirty operations a step and factor for autograd, and its backward pass runs twice as
many. Here a step is one call for all rows, of C++ on CPUs (`householder_walk.cpp`) and of Triton on CUDA devices
(`householder_triton`); where the mixer reads the state, the matrix product before it is torch's. Between the passes
only states and features are kept.

Shapes: B batch, T time, D inner width, R factors.
"""

import ctypes
from typing import Literal

import torch
from torch import Tensor

from disobey.models.recurrent import scan_cpu
from disobey.models.recurrent.householder_walk import inverse_rms

Backend = Literal["cpp", "triton"]
SOURCE = scan_cpu.SOURCE.with_name("householder_walk.cpp")
FACTORS, WORK = 16, 8192  # what a kernel holds in cache, or in registers: R, and R D


def runs_here(decay: Tensor, rank: int) -> bool:
    """Whether a kernel takes such a walk: moderate sizes, float32 or float64, and a compiler or Triton."""
    small = rank <= FACTORS and rank * decay.shape[-1] <= WORK
    return small and decay.dtype in (torch.float32, torch.float64) and _backend(decay) is not None


def _backend(like: Tensor) -> Backend | None:
    if like.device.type == "cuda":
        from disobey.models.recurrent import householder_triton

        return "triton" if householder_triton.AVAILABLE else None
    return "cpp" if like.device.type == "cpu" and scan_cpu.kernel(SOURCE) is not None else None


def compiled_walk(
    decay: Tensor,
    drive: Tensor,
    features: Tensor,
    first: Tensor,
    weight: Tensor | None,
    *,
    rank: int,
    scale: float,
    normalize: bool,
    backend: Backend | None = None,
) -> Tensor:
    """States ``(B, T, D)`` of the exact walk; first derivatives only. Ask `runs_here` first.

    Args:
        decay: ``(B, T, D)``.
        drive: ``(B, T, D)``.
        features: of the input, ``(B, T, R D + R)``: keys, then strengths.
        first: initial state ``(B, D)``.
        weight: ``(R D + R, D)``, maps the previous state to features; None if the mixer does not read it.
        rank: R.
        scale: of the mixer.
        normalize: whether the mixer reads the state divided by its root mean square.
        backend: the device's where None; ``triton`` on CPU tensors needs Triton's interpreter.
    """
    call = _call_triton if (backend or _backend(decay)) == "triton" else _call_cpp
    return _Walk.apply(decay, drive, features, first, weight, rank, scale, normalize, call)


class _Walk(torch.autograd.Function):
    @staticmethod
    def forward(ctx, decay, drive, features, first, weight, rank, scale, normalize, call):
        decay, drive, features, first = (v.contiguous() for v in (decay, drive, features, first))
        states, steps = torch.empty_like(drive), drive.shape[1]
        arrays = (decay, drive, features, first, states)
        if weight is None:
            call("forward", arrays, 0, steps, rank, scale)
        else:
            features, state = features.clone(), first
            arrays, transposed = (decay, drive, features, first, states), weight.t()
            for t in range(steps):
                features[:, t].addmm_(state * inverse_rms(state) if normalize else state, transposed)
                call("forward", arrays, t, t + 1, rank, scale)
                state = states[:, t]
        ctx.save_for_backward(decay, drive, features, first, weight, states)
        ctx.how = rank, scale, normalize, call
        return states

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        decay, drive, features, first, weight, states = ctx.saved_tensors
        rank, scale, normalize, call = ctx.how
        steps = drive.shape[1]
        d_decay, d_drive, d_features = (torch.empty_like(v) for v in (decay, drive, features))
        carry = torch.zeros_like(first)
        made = (d_decay, d_drive, d_features, carry)
        arrays = (decay, drive, features, first, states, grad.contiguous(), *made)
        if weight is None:
            call("backward", arrays, 0, steps, rank, scale)
            return d_decay, d_drive, d_features, carry, None, None, None, None, None
        before = torch.cat((first[:, None], states[:, :-1]), dim=1)
        shrink = inverse_rms(before) if normalize else torch.ones_like(before[..., :1])
        read = before * shrink
        for t in reversed(range(steps)):
            call("backward", arrays, t, t + 1, rank, scale)
            d_read = d_features[:, t] @ weight
            if normalize:
                now = read[:, t]
                along = (now * d_read).sum(-1, keepdim=True) / now.shape[-1]
                d_read = torch.addcmul(d_read, along, now, value=-1) * shrink[:, t]
            carry += d_read
        d_weight = d_features.flatten(0, 1).t() @ read.flatten(0, 1)
        return d_decay, d_drive, d_features, carry, d_weight, None, None, None, None


def _call_cpp(way: str, arrays: tuple[Tensor, ...], start: int, end: int, rank: int, scale: float) -> None:
    """The C++ kernel on the times from ``start`` to ``end``; all arrays are contiguous."""
    library = scan_cpu.kernel(SOURCE)
    assert library is not None
    drive = arrays[1]
    kind = "float" if drive.dtype == torch.float32 else "double"
    sizes = (start, end, *drive.shape, rank)
    getattr(library, f"{way}_{kind}")(
        *map(scan_cpu.address, arrays),
        *map(ctypes.c_longlong, sizes),
        ctypes.c_double(scale),
        ctypes.c_longlong(torch.get_num_threads()),
    )


def _call_triton(way: str, arrays: tuple[Tensor, ...], start: int, end: int, rank: int, scale: float) -> None:
    """The same by Triton's kernel."""
    from disobey.models.recurrent import householder_triton

    householder_triton.call(way, arrays, start, end, rank, scale)
