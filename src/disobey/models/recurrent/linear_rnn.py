"""The linear recurrence h_t = a_t h_{t-1} + x_t over a whole sequence (a scan), with its gradient.

Shapes: B batch, T time, D features; decay, inputs and states are ``(B, T, D)``. It is one operator with three backends
that agree to rounding: ``"cpp"`` (a kernel that is compiled on first use, for CPUs), ``"triton"`` (CUDA) and ``"loop"``
(any device).

Why the gradient is written by hand: autograd would record T operations and keep T graphs' worth of memory. The adjoint
of a scan is a scan in the opposite direction, ``dx_t = g_t + a_{t+1} dx_{t+1}``, so the backward pass needs only the
states that the forward pass returned anyway, and its cost is linear in T in every backend.
"""

from typing import Literal

import torch
from torch import Tensor

from disobey.errors import refusal
from disobey.models.recurrent import scan_cpu

Backend = Literal["auto", "cpp", "triton", "loop"]
_HALF = (torch.float16, torch.bfloat16)


def scan_backend(tensor: Tensor) -> str:
    """The backend that ``backend="auto"`` uses for tensors like this one: ``cpp``, ``triton`` or ``loop``.

    >>> scan_backend(torch.zeros(1, 1, 1)) in ("cpp", "loop")
    True
    """
    if tensor.device.type == "cpu":
        return "cpp" if scan_cpu.kernel() is not None else "loop"
    if tensor.device.type == "cuda":
        from disobey.models.recurrent import scan_triton

        return "triton" if scan_triton.AVAILABLE else "loop"
    return "loop"


def linear_recurrence(
    decay: Tensor,
    inputs: Tensor,
    initial: Tensor | None = None,
    *,
    reverse: bool = False,
    backend: Backend = "auto",
) -> Tensor:
    """All states ``h_t = decay_t h_{t-1} + inputs_t`` of a linear recurrence.

    Half-precision tensors are computed and returned in float32, because rounding errors would accumulate over the
    sequence. Only first derivatives exist: the backward pass is not differentiable itself.

    Args:
        decay: broadcasts against ``inputs``.
        inputs: ``(B, T, D)``.
        initial: h before the first step, ``(B, D)``; zeros by default.
        reverse: whether time runs from the last position to the first.
        backend: ``auto``, ``cpp``, ``triton`` or ``loop``.

    Returns:
        States ``(B, T, D)``.

    Raises:
        Refusal: ``scan-dtype``, ``scan-shape``, ``scan-initial``, ``no-scan-kernel`` or ``unknown-backend``.

    Example:
        >>> decay, inputs = torch.full((1, 3, 1), 0.5), torch.ones(1, 3, 1)
        >>> linear_recurrence(decay, inputs).flatten().tolist()
        [1.0, 1.5, 1.75]
    """
    dtype = torch.promote_types(decay.dtype, inputs.dtype)
    dtype = torch.float32 if dtype in _HALF else dtype
    if dtype not in (torch.float32, torch.float64):
        raise refusal("scan-dtype", "floating-point decay and inputs", f"{decay.dtype} and {inputs.dtype}")
    if inputs.ndim != 3:
        raise refusal("scan-shape", "inputs (B, T, D)", tuple(inputs.shape), "flattening the other axes")
    decay = decay.to(dtype).expand_as(inputs).contiguous()
    inputs = inputs.to(dtype).contiguous()
    if initial is not None:
        if initial.shape != inputs[:, 0].shape:
            raise refusal("scan-initial", f"initial {tuple(inputs[:, 0].shape)}", tuple(initial.shape))
        initial = initial.to(dtype).contiguous()
    if torch.compiler.is_compiling():  # the operator chooses its backend when it runs
        return _compiled(decay, inputs, initial, reverse, backend)
    name = _chosen(backend, inputs)
    return _Scan.apply(decay, inputs, initial, reverse, name)  # faster than the dispatch of a custom operator


def _chosen(backend: str, inputs: Tensor) -> str:
    """The backend to run, after a check that it exists here."""
    name = scan_backend(inputs) if backend == "auto" else backend
    if name == "cpp" and (inputs.device.type != "cpu" or scan_cpu.kernel() is None):
        expected = "CPU tensors and a C++ compiler for the backend 'cpp'"
        raise refusal("no-scan-kernel", expected, f"tensors on {inputs.device}", "'auto'")
    if name not in ("cpp", "triton", "loop"):
        raise refusal("unknown-backend", "the backend auto, cpp, triton or loop", repr(name))
    return name


def _forward(decay: Tensor, inputs: Tensor, initial: Tensor | None, reverse: bool, backend: str) -> Tensor:
    if inputs.numel() == 0:
        return torch.empty_like(inputs)
    if backend == "cpp":
        return scan_cpu.forward(decay, inputs, initial, reverse)
    if backend == "triton":
        from disobey.models.recurrent import scan_triton

        return scan_triton.forward(decay, inputs, initial, reverse)
    return _loop_forward(decay, inputs, initial, reverse)


def _backward(
    decay: Tensor, states: Tensor, initial: Tensor | None, grad: Tensor, reverse: bool, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of decay, inputs and initial; the last one is meaningless if there was no initial state."""
    grad = grad.contiguous()
    if states.numel() == 0:
        return torch.empty_like(states), torch.empty_like(states), states.new_zeros(states[:, 0:1].sum(1).shape)
    if backend == "cpp":
        return scan_cpu.backward(decay, states, initial, grad, reverse)
    if backend == "loop":
        return _loop_backward(decay, states, initial, grad, reverse)
    from disobey.models.recurrent import scan_triton

    return scan_triton.backward(decay, states, initial, grad, reverse)


def _in_time(reverse: bool, *tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """The tensors' time slices, in the order in which the recurrence visits them."""
    rows = list(zip(*(tensor.unbind(1) for tensor in tensors), strict=True))
    return rows[::-1] if reverse else rows


def _loop_forward(decay: Tensor, inputs: Tensor, initial: Tensor | None, reverse: bool) -> Tensor:
    states = torch.empty_like(inputs)
    last = torch.zeros_like(inputs[:, 0]) if initial is None else initial
    for a, x, h in _in_time(reverse, decay, inputs, states):
        last = torch.addcmul(x, a, last, out=h)  # one operation per step, and no graph
    return states


def _loop_backward(
    decay: Tensor, states: Tensor, initial: Tensor | None, grad: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    d_inputs = torch.empty_like(grad)
    carry = torch.zeros_like(grad[:, 0])
    for a, g, d in _in_time(not reverse, decay, grad, d_inputs):
        torch.add(g, carry, out=d)
        torch.mul(a, d, out=carry)
    d_decay = torch.empty_like(grad)
    first = torch.zeros_like(carry) if initial is None else initial
    now, before = (slice(0, -1), slice(1, None)) if reverse else (slice(1, None), slice(0, -1))
    torch.mul(d_inputs[:, now], states[:, before], out=d_decay[:, now])
    edge = -1 if reverse else 0
    torch.mul(d_inputs[:, edge], first, out=d_decay[:, edge])
    return d_decay, d_inputs, carry


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, decay, inputs, initial, reverse, backend):
        states = _forward(decay, inputs, initial, reverse, backend)
        ctx.save_for_backward(decay, states, initial)
        ctx.how = reverse, backend
        return states

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        decay, states, initial = ctx.saved_tensors
        d_decay, d_inputs, d_initial = _backward(decay, states, initial, grad, *ctx.how)
        return d_decay, d_inputs, None if initial is None else d_initial, None, None


@torch.library.custom_op("disobey::linear_recurrence", mutates_args=())
def _compiled(decay: Tensor, inputs: Tensor, initial: Tensor | None, reverse: bool, backend: str) -> Tensor:
    """What torch.compile sees: one opaque operator instead of an unrolled loop."""
    return _forward(decay.contiguous(), inputs.contiguous(), initial, reverse, _chosen(backend, inputs))


@torch.library.custom_op("disobey::linear_recurrence_backward", mutates_args=())
def _compiled_backward(
    decay: Tensor, states: Tensor, initial: Tensor | None, grad: Tensor, reverse: bool, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    name = _chosen(backend, states)
    return _backward(decay.contiguous(), states.contiguous(), initial, grad, reverse, name)


@_compiled.register_fake
def _(decay, inputs, *rest):
    del decay, rest
    return torch.empty_like(inputs, memory_format=torch.contiguous_format)


@_compiled_backward.register_fake
def _(decay, states, *rest):
    del decay, rest
    like = torch.empty_like(states, memory_format=torch.contiguous_format)
    return like, torch.empty_like(like), states.new_empty(states.shape[0], states.shape[2])


def _save(ctx, inputs, output):
    decay, _, initial, *how = inputs
    ctx.save_for_backward(decay, output, initial)
    ctx.how = how


def _gradient(ctx, grad):
    decay, states, initial = ctx.saved_tensors
    d_decay, d_inputs, d_initial = _compiled_backward(decay, states, initial, grad, *ctx.how)
    return d_decay, d_inputs, None if initial is None else d_initial, None, None


_compiled.register_autograd(_gradient, setup_context=_save)
