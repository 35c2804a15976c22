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

from disobey.models.recurrent.reflection_walk import EPS

try:
    import triton  # pyright: ignore[reportMissingImports]
    import triton.language as tl  # pyright: ignore[reportMissingImports]

    AVAILABLE = True
except ImportError:  # CPU builds of torch come without it
    AVAILABLE = False

BLOCK = 8  # heads a program: a warp's lanes are shared by heads and their few dimensions
DRIVE, GATES, STRENGTHS = 1, 2, 4  # bits of HAS: which optional arrays there are

if AVAILABLE:
    SHORTEST = tl.constexpr(EPS)

    @triton.jit
    def _place(n, heads, ROWS: tl.constexpr, BLOCK: tl.constexpr):
        """This program's batch row, its heads (1, heads), which of its (n, heads) there are, and where."""
        head = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)[None, :]
        dimension = tl.arange(0, ROWS)[:, None]
        return tl.program_id(0).to(tl.int64), head, (head < heads) & (dimension < n), dimension * heads + head

    @triton.jit
    def _unit(keys, at, inside):
        """A key divided by its norm, and the norm: (n, heads), (1, heads)."""
        key = tl.load(keys + at, mask=inside, other=0.0)
        norm = tl.maximum(tl.sqrt(tl.sum(key * key, 0)), SHORTEST)[None, :]
        return key / norm, norm

    @triton.jit
    def _strength(strengths, place, head, heads, like, HAS: tl.constexpr):
        """S of one factor: (1, heads)."""
        value = tl.zeros_like(like) + 2.0
        if HAS & 4:
            value = tl.load(strengths + place * heads + head, mask=head < heads, other=0.0)
        return value

    @triton.jit
    def _through(
        keys,
        strengths,
        state,
        token,
        at,
        head,
        inside,
        heads,
        size,
        FIRST: tl.constexpr,
        FACTORS: tl.constexpr,
        HAS: tl.constexpr,
    ):
        """The state after the first FIRST of a token's factors."""
        for r in tl.static_range(FIRST):
            place = token * FACTORS + r
            unit, _ = _unit(keys, place * size + at, inside)
            along = tl.sum(unit * state, 0)[None, :]
            state -= unit * (along * _strength(strengths, place, head, heads, along, HAS))
        return state

    @triton.jit
    def _back_through(
        keys,
        strengths,
        d_keys,
        d_strengths,
        met,
        carry,
        place,
        at,
        head,
        inside,
        heads,
        size,
        HAS: tl.constexpr,
    ):
        """The adjoint before one factor that met a state; writes the gradients of its key and strength."""
        unit, norm = _unit(keys, place * size + at, inside)
        along, dot = tl.sum(unit * carry, 0)[None, :], tl.sum(unit * met, 0)[None, :]
        strength = _strength(strengths, place, head, heads, along, HAS)
        if HAS & 4:
            tl.store(d_strengths + place * heads + head, -dot * along, mask=head < heads)
        d_unit = -strength * (dot * carry + along * met)
        inner = tl.where(norm > SHORTEST, tl.sum(unit * d_unit, 0)[None, :], 0.0)
        tl.store(d_keys + place * size + at, (d_unit - inner * unit) / norm, mask=inside)
        return carry - unit * (strength * along)

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
        FACTORS: tl.constexpr,
        ROWS: tl.constexpr,
        BLOCK: tl.constexpr,
        HAS: tl.constexpr,
    ):
        row, head, inside, at = _place(n, heads, ROWS, BLOCK)
        size = n * heads
        state = tl.load(first + row * size + at, mask=inside, other=0.0)
        for t in range(steps):
            token = row * steps + t
            state = _through(keys, strengths, state, token, at, head, inside, heads, size, FACTORS, FACTORS, HAS)
            if HAS & 2:
                state *= tl.load(gates + token * heads + head, mask=head < heads, other=0.0)
            if HAS & 1:
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
        FACTORS: tl.constexpr,
        ROWS: tl.constexpr,
        BLOCK: tl.constexpr,
        HAS: tl.constexpr,
    ):
        row, head, inside, at = _place(n, heads, ROWS, BLOCK)
        size = n * heads
        start = tl.load(first + row * size + at, mask=inside, other=0.0)
        carry = tl.zeros_like(start)
        for back in range(steps):
            t = steps - 1 - back
            token = row * steps + t
            earlier = tl.load(states + (token - 1) * size + at, mask=inside & (t > 0), other=0.0)
            before = tl.where(t > 0, earlier, start)
            carry += tl.load(grad + token * size + at, mask=inside, other=0.0)
            if HAS & 1:
                tl.store(d_drive + token * size + at, carry, mask=inside)
            if HAS & 2:
                gave = _through(keys, strengths, before, token, at, head, inside, heads, size, FACTORS, FACTORS, HAS)
                tl.store(d_gates + token * heads + head, tl.sum(carry * gave, 0)[None, :], mask=head < heads)
                carry *= tl.load(gates + token * heads + head, mask=head < heads, other=0.0)
            for r in tl.static_range(FACTORS - 1, -1, -1):
                met = _through(keys, strengths, before, token, at, head, inside, heads, size, r, FACTORS, HAS)
                place = token * FACTORS + r
                carry = _back_through(
                    keys, strengths, d_keys, d_strengths, met, carry, place, at, head, inside, heads, size, HAS
                )
        tl.store(d_first + row * size + at, carry, mask=inside)


def forward(
    keys: Tensor, first: Tensor, drive: Tensor | None, gates: Tensor | None, strengths: Tensor | None
) -> Tensor:
    """States (B, T, n, H) of contiguous tensors of one type, float32 or float64, as `reflection_walk` has them."""
    states = keys.new_empty(*keys.shape[:2], *keys.shape[3:])
    optional = [keys if v is None else v for v in (drive, gates, strengths)]
    _launch(_forward, keys, (keys, first, *optional, states), (drive, gates, strengths))
    return states


def backward(
    keys: Tensor,
    first: Tensor,
    gates: Tensor | None,
    strengths: Tensor | None,
    states: Tensor,
    grad: Tensor,
    driven: bool,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of keys, first, drive, gates and strengths (None where there is none) from that of the states."""
    d_keys, d_first = torch.empty_like(keys), torch.empty_like(first)
    d_drive = torch.empty_like(grad) if driven else None
    d_gates, d_strengths = (None if v is None else torch.empty_like(v) for v in (gates, strengths))
    given = [keys if v is None else v for v in (gates, strengths)]
    made = [d_keys if v is None else v for v in (d_drive, d_gates, d_strengths)]
    arrays = (keys, first, *given, states, grad, d_keys, d_first, *made)
    _launch(_backward, keys, arrays, (d_drive, gates, strengths))
    return d_keys, d_first, d_drive, d_gates, d_strengths


def _launch(kernel, keys: Tensor, arrays: tuple[Tensor, ...], optional: tuple) -> None:
    """Runs a kernel on every row and block of heads; ``optional``: drive, gates and strengths, None where absent."""
    batch, steps, factors, n, heads = keys.shape
    block = min(BLOCK, triton.next_power_of_2(heads))
    kernel[batch, triton.cdiv(heads, block)](
        *arrays,
        steps,
        n,
        heads,
        FACTORS=factors,
        ROWS=triton.next_power_of_2(n),
        BLOCK=block,
        HAS=sum(bit for bit, value in zip((DRIVE, GATES, STRENGTHS), optional, strict=True) if value is not None),
        num_warps=1,
    )
