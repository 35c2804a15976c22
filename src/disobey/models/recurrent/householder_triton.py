# pyright: reportPossiblyUnboundVariable=false
"""The exact walk for R Householder factors and its adjoint on CUDA devices, written in Triton.

The mathematics and the arrays are those of `householder_walk.cpp`; both are called by `householder_kernel`. One program
walks one batch row through time, with its state and the R factors of a token in registers. The R x R system of a token
is solved by Gauss-Jordan elimination with the largest pivot, every row at once.

Shapes: R ranks, padded to a power of two; D inner width, too.
"""

# Triton is bound wherever AVAILABLE is true.

from torch import Tensor

from disobey.models.recurrent.householder_walk import EPS_KEY

try:
    import triton  # pyright: ignore[reportMissingImports]
    import triton.language as tl  # pyright: ignore[reportMissingImports]

    AVAILABLE = True
except ImportError:  # CPU builds of torch come without it
    AVAILABLE = False

if AVAILABLE:
    SHORTEST = tl.constexpr(EPS_KEY)

    @triton.jit
    def _row(tile, ranks, i):
        """One row of a tile: (R, D) to (D,)."""
        return tl.sum(tl.where((ranks == i)[:, None], tile, 0.0), 0)

    @triton.jit
    def _entry(vector, ranks, i):
        """One number of a vector (R,)."""
        return tl.sum(tl.where(ranks == i, vector, 0.0), 0)

    @triton.jit
    def _factors(features, put, gain, ranks, dims, width, RANK: tl.constexpr, SCALE: tl.constexpr):
        """A token's k_i, g l_i (both (R, D)), s_i and the norms of its keys (both (R,)): Q = I - Σ l_i k_iᵀ."""
        inside = (ranks < RANK)[:, None] & (dims < width)[None, :]
        keys = tl.load(features + put + ranks[:, None] * width + dims[None, :], mask=inside, other=0.0)
        norms = tl.sqrt(tl.sum(keys * keys, 1))
        norms = tl.where(norms > SHORTEST, norms, SHORTEST)
        units = keys / norms[:, None]
        logits = tl.load(features + put + RANK * width + ranks, mask=ranks < RANK, other=0.0)
        strengths = SCALE / (1.0 + tl.exp(-logits))
        lefts = tl.zeros_like(units)
        for i in tl.static_range(RANK):
            unit = _row(units, ranks, i)
            along = tl.sum(units * unit[None, :], 1)  # the rows of lefts from i on are still 0
            left = _entry(strengths, ranks, i) * (unit - tl.sum(lefts * along[:, None], 0))
            lefts = tl.where((ranks == i)[:, None], left[None, :], lefts)
        return units, lefts * gain[None, :], strengths, norms

    @triton.jit
    def _solve(first, second, right, ranks, RANK: tl.constexpr):
        """The x with x_i - Σ_j (first_i · second_j) x_j = right_i: (R, D), (R, D), (R,) to (R,)."""
        system = tl.where(ranks[:, None] == ranks[None, :], 1.0, 0.0).to(right.dtype)
        for j in tl.static_range(RANK):
            column = tl.sum(first * _row(second, ranks, j)[None, :], 1)
            system -= tl.where((ranks == j)[None, :], column[:, None], 0.0)
        for k in tl.static_range(RANK):
            column = tl.sum(tl.where((ranks == k)[None, :], system, 0.0), 1)
            best = tl.argmax(tl.where(ranks < k, -1.0, tl.abs(column)), 0)
            pivot = _entry(column, ranks, best)
            row, value = _row(system, ranks, best) / pivot, _entry(right, ranks, best) / pivot
            # row k moves to where the pivot was, and every other row loses its part of the pivot's
            column = tl.where(ranks == best, _entry(column, ranks, k), column)
            system = tl.where((ranks == best)[:, None], _row(system, ranks, k)[None, :], system)
            right = tl.where(ranks == best, _entry(right, ranks, k), right)
            here = ranks == k
            system = tl.where(here[:, None], row[None, :], system - column[:, None] * row[None, :])
            right = tl.where(here, value, right - column * value)
        return right

    @triton.jit
    def _before(states, first, row, t, steps, width, dims):
        """The state before time t, (D,)."""
        inside = dims < width
        start = tl.load(first + row * width + dims, mask=inside, other=0.0)
        earlier = tl.load(states + (row * steps + t - 1) * width + dims, mask=inside & (t > 0), other=0.0)
        return tl.where(t > 0, earlier, start)

    @triton.jit(do_not_specialize=["begin", "end"])
    def _forward(
        decay,
        drive,
        features,
        first,
        states,
        begin,
        end,
        steps,
        width,
        RANK: tl.constexpr,
        SCALE: tl.constexpr,
        RANKS: tl.constexpr,
        BLOCK: tl.constexpr,
    ):
        row, ranks, dims = tl.program_id(0).to(tl.int64), tl.arange(0, RANKS), tl.arange(0, BLOCK)
        inside = dims < width
        state = _before(states, first, row, begin, steps, width, dims)
        for t in range(begin, end):
            token = row * steps + t
            at = token * width + dims
            a, u = tl.load(decay + at, mask=inside, other=0.0), tl.load(drive + at, mask=inside, other=0.0)
            put = token * RANK * (width + 1)
            units, scaled, _, _ = _factors(features, put, 1.0 - a, ranks, dims, width, RANK, SCALE)
            known = a * (state - u)
            right = _solve(units, scaled, tl.sum(units * known[None, :], 1), ranks, RANK)
            state = u + known + tl.sum(scaled * right[:, None], 0)
            tl.store(states + at, state, mask=inside)

    @triton.jit
    def _back_through(
        d_features,
        put,
        units,
        strengths,
        norms,
        alongs,
        met,
        inner,
        ranks,
        dims,
        width,
        RANK: tl.constexpr,
        SCALE: tl.constexpr,
    ):
        """Writes the gradients of keys and strengths from the adjoint ``inner`` of Q w; ``met``: Q w, (D,)."""
        inside = dims < width
        for i in tl.static_range(RANK):
            unit, norm = _row(units, ranks, i), _entry(norms, ranks, i)
            s, p, q = _entry(strengths, ranks, i), _entry(alongs, ranks, i), tl.sum(unit * inner, 0)
            met += s * p * unit  # what factor i met
            tl.store(d_features + put + RANK * width + i, -p * q * s * (1.0 - s / SCALE))
            # k . dk = -2 s p q; a key shorter than the shortest is divided by a constant, which has no such part
            parallel = tl.where(norm > SHORTEST, -2.0 * s * p * q, 0.0)
            d_key = (-s * (p * inner + q * met) - parallel * unit) / norm
            tl.store(d_features + put + i * width + dims, d_key, mask=inside)
            inner -= s * q * unit

    @triton.jit(do_not_specialize=["begin", "end"])
    def _backward(
        decay,
        drive,
        features,
        first,
        states,
        grad,
        d_decay,
        d_drive,
        d_features,
        carried,
        begin,
        end,
        steps,
        width,
        RANK: tl.constexpr,
        SCALE: tl.constexpr,
        RANKS: tl.constexpr,
        BLOCK: tl.constexpr,
    ):
        row, ranks, dims = tl.program_id(0).to(tl.int64), tl.arange(0, RANKS), tl.arange(0, BLOCK)
        inside = dims < width
        carry = tl.load(carried + row * width + dims, mask=inside, other=0.0)
        for back in range(begin, end):
            t = begin + end - 1 - back
            token = row * steps + t
            at, put = token * width + dims, token * RANK * (width + 1)
            a, u = tl.load(decay + at, mask=inside, other=0.0), tl.load(drive + at, mask=inside, other=0.0)
            units, scaled, strengths, norms = _factors(features, put, 1.0 - a, ranks, dims, width, RANK, SCALE)
            adjoint = carry + tl.load(grad + at, mask=inside, other=0.0)
            right = _solve(scaled, units, tl.sum(scaled * adjoint[None, :], 1), ranks, RANK)  # the transpose
            through = adjoint + tl.sum(units * right[:, None], 0)
            w = tl.load(states + at, mask=inside, other=0.0) - u
            x, alongs = w, tl.zeros_like(norms)
            for i in tl.static_range(RANK - 1, -1, -1):  # w through the factors, the last one first
                unit = _row(units, ranks, i)
                along = tl.sum(unit * x, 0)
                alongs = tl.where(ranks == i, along, alongs)
                x -= _entry(strengths, ranks, i) * along * unit
            before = _before(states, first, row, t, steps, width, dims)
            tl.store(d_decay + at, through * (before - u - (w - x)), mask=inside)
            tl.store(d_drive + at, adjoint - a * through, mask=inside)
            carry = a * through
            inner = (a - 1.0) * through
            _back_through(d_features, put, units, strengths, norms, alongs, x, inner, ranks, dims, width, RANK, SCALE)
        tl.store(carried + row * width + dims, carry, mask=inside)


def call(way: str, arrays: tuple[Tensor, ...], begin: int, end: int, rank: int, scale: float) -> None:
    """One way, ``forward`` or ``backward``, over the times from ``begin`` to ``end``, as `householder_kernel` asks."""
    _launch(_forward if way == "forward" else _backward, arrays, begin, end, rank, scale)


def _launch(kernel, arrays: tuple[Tensor, ...], begin: int, end: int, rank: int, scale: float) -> None:
    """Runs a kernel on every row."""
    batch, steps, width = arrays[1].shape
    ranks, block = triton.next_power_of_2(rank), triton.next_power_of_2(width)
    kernel[(batch,)](
        *arrays,
        begin,
        end,
        steps,
        width,
        RANK=rank,
        SCALE=float(scale),
        RANKS=ranks,
        BLOCK=block,
        num_warps=warps(ranks * block),
    )


def warps(numbers: int) -> int:
    """Warps for a tile of so many numbers: 16 of them a lane, at most 8 warps.

    >>> warps(64), warps(2048), warps(8192)
    (1, 4, 8)
    """
    return min(8, max(1, numbers // 512))
