# pyright: reportPossiblyUnboundVariable=false
"""The walk through products of reflections and its adjoint on CUDA devices, written in Triton.

One program walks one batch row and one block of heads through time; their states stay in registers. Time cannot be cut
into chunks as in a scan: the product of a chunk is a dense matrix, n times the state. The adjoint keeps nothing but the
states after every token; what stood between the R factors of a token is computed again from the state before it, once
for each factor (R is small, and the keys are in the cache by then).
"""

# Triton is bound wherever AVAILABLE is true.

import torch
from torch import Tensor

try:
    import triton  # pyright: ignore[reportMissingImports]
    import triton.language as tl  # pyright: ignore[reportMissingImports]

    AVAILABLE = True
except ImportError:  # CPU builds of torch come without it
    AVAILABLE = False

BLOCK = 8  # heads a program: a warp's lanes are shared by heads and their few dimensions

if AVAILABLE:

    @triton.jit
    def _unit(keys, at, inside, eps):
        """A key divided by its norm, and the norm, not below eps: (n, heads), (1, heads)."""
        key = tl.load(keys + at, mask=inside, other=0.0)
        norm = tl.maximum(tl.sqrt(tl.sum(key * key, 0)), eps)[None, :]
        return key / norm, norm

    @triton.jit
    def _through(
        keys,
        strengths,
        state,
        token,
        at,
        head,
        there,
        inside,
        heads,
        size,
        eps,
        FIRST: tl.constexpr,
        FACTORS: tl.constexpr,
        STRENGTHS: tl.constexpr,
    ):
        """The state after the first FIRST of a token's factors."""
        for r in tl.static_range(FIRST):
            unit, _ = _unit(keys, (token * FACTORS + r) * size + at, inside, eps)
            along = tl.sum(unit * state, 0)[None, :] * 2.0
            if STRENGTHS:
                along *= 0.5 * tl.load(strengths + (token * FACTORS + r) * heads + head, mask=there, other=0.0)
            state -= unit * along
        return state

    @triton.jit
    def _forward(
        keys,
        first,
        drive,
        gates,
        strengths,
        states,
        steps,
        n,
        heads,
        eps,
        FACTORS: tl.constexpr,
        ROWS: tl.constexpr,
        BLOCK: tl.constexpr,
        DRIVE: tl.constexpr,
        GATES: tl.constexpr,
        STRENGTHS: tl.constexpr,
    ):
        row = tl.program_id(0).to(tl.int64)
        head = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)[None, :]
        dimension = tl.arange(0, ROWS)[:, None]
        there = head < heads
        inside, size = there & (dimension < n), n * heads
        at = dimension * heads + head
        state = tl.load(first + row * size + at, mask=inside, other=0.0)
        for t in range(steps):
            token = row * steps + t
            state = _through(
                keys, strengths, state, token, at, head, there, inside, heads, size, eps, FACTORS, FACTORS, STRENGTHS
            )
            if GATES:
                state *= tl.load(gates + token * heads + head, mask=there, other=0.0)
            if DRIVE:
                state += tl.load(drive + token * size + at, mask=inside, other=0.0)
            tl.store(states + token * size + at, state, mask=inside)

    @triton.jit
    def _backward(
        keys,
        first,
        gates,
        strengths,
        states,
        grad,
        d_keys,
        d_first,
        d_drive,
        d_gates,
        d_strengths,
        steps,
        n,
        heads,
        eps,
        FACTORS: tl.constexpr,
        ROWS: tl.constexpr,
        BLOCK: tl.constexpr,
        DRIVE: tl.constexpr,
        GATES: tl.constexpr,
        STRENGTHS: tl.constexpr,
    ):
        row = tl.program_id(0).to(tl.int64)
        head = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)[None, :]
        dimension = tl.arange(0, ROWS)[:, None]
        there = head < heads
        inside, size = there & (dimension < n), n * heads
        at = dimension * heads + head
        start = tl.load(first + row * size + at, mask=inside, other=0.0)
        carry = tl.zeros_like(start)
        for back in range(steps):
            t = steps - 1 - back
            token = row * steps + t
            earlier = tl.load(states + (token - 1) * size + at, mask=inside & (t > 0), other=0.0)
            before = tl.where(t > 0, earlier, start)
            carry += tl.load(grad + token * size + at, mask=inside, other=0.0)
            if DRIVE:
                tl.store(d_drive + token * size + at, carry, mask=inside)
            if GATES:
                product = _through(
                    keys,
                    strengths,
                    before,
                    token,
                    at,
                    head,
                    there,
                    inside,
                    heads,
                    size,
                    eps,
                    FACTORS,
                    FACTORS,
                    STRENGTHS,
                )
                tl.store(d_gates + token * heads + head, tl.sum(carry * product, 0)[None, :], mask=there)
                carry *= tl.load(gates + token * heads + head, mask=there, other=0.0)
            for left in tl.static_range(FACTORS):
                place = token * FACTORS + FACTORS - 1 - left
                met = _through(
                    keys,
                    strengths,
                    before,
                    token,
                    at,
                    head,
                    there,
                    inside,
                    heads,
                    size,
                    eps,
                    FACTORS - 1 - left,
                    FACTORS,
                    STRENGTHS,
                )
                unit, norm = _unit(keys, place * size + at, inside, eps)
                along, dot = tl.sum(unit * carry, 0)[None, :], tl.sum(unit * met, 0)[None, :]
                strength = tl.zeros_like(along) + 2.0
                if STRENGTHS:
                    strength = tl.load(strengths + place * heads + head, mask=there, other=0.0)
                    tl.store(d_strengths + place * heads + head, -dot * along, mask=there)
                d_unit = -strength * (dot * carry + along * met)
                inner = tl.where(norm > eps, tl.sum(unit * d_unit, 0)[None, :], 0.0)
                tl.store(d_keys + place * size + at, (d_unit - inner * unit) / norm, mask=inside)
                carry -= unit * (strength * along)
        tl.store(d_first + row * size + at, carry, mask=inside)


def forward(
    keys: Tensor, first: Tensor, drive: Tensor | None, gates: Tensor | None, strengths: Tensor | None, eps: float
) -> Tensor:
    """States (B, T, n, H) of contiguous tensors of one type, float32 or float64, as `reflection_walk` has them."""
    states = keys.new_empty(*keys.shape[:2], *keys.shape[3:])
    optional = [keys if v is None else v for v in (drive, gates, strengths)]
    _launch(_forward, keys, (keys, first, *optional, states), (drive, gates, strengths), eps)
    return states


def backward(
    keys: Tensor,
    first: Tensor,
    gates: Tensor | None,
    strengths: Tensor | None,
    states: Tensor,
    grad: Tensor,
    driven: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of keys, first, drive, gates and strengths (None where there is none) from that of the states."""
    d_keys, d_first = torch.empty_like(keys), torch.empty_like(first)
    d_drive = torch.empty_like(grad) if driven else None
    d_gates, d_strengths = (None if v is None else torch.empty_like(v) for v in (gates, strengths))
    given = [keys if v is None else v for v in (gates, strengths)]
    made = [d_keys if v is None else v for v in (d_drive, d_gates, d_strengths)]
    arrays = (keys, first, *given, states, grad, d_keys, d_first, *made)
    _launch(_backward, keys, arrays, (d_drive, gates, strengths), eps)
    return d_keys, d_first, d_drive, d_gates, d_strengths


def _launch(kernel, keys: Tensor, arrays: tuple[Tensor, ...], optional: tuple, eps: float) -> None:
    """Runs a kernel on every row and block of heads; ``optional``: drive, gates and strengths, None where absent."""
    batch, steps, factors, n, heads = keys.shape
    block = min(BLOCK, triton.next_power_of_2(heads))
    kernel[batch, triton.cdiv(heads, block)](
        *arrays,
        steps,
        n,
        heads,
        eps,
        FACTORS=factors,
        ROWS=triton.next_power_of_2(n),
        BLOCK=block,
        **dict(zip(("DRIVE", "GATES", "STRENGTHS"), (v is not None for v in optional), strict=True)),
        num_warps=1,
    )
