# pyright: reportPossiblyUnboundVariable=false
"""The scan and its gradient on CUDA devices, written in Triton.

Why it is built like this: a scan is limited by memory, not by arithmetic. One program handles one batch row and one
block of features and walks through its part of time in tiles. It reads a tile as a whole, so that many bytes are in
flight at once, scans it by a tree, and continues from the state before it. The gradient is the same walk in the other
direction, with the decay of the next step, and multiplies by the states on the way. The forward pass moves three arrays
and the backward pass five, which is the minimum.

If rows and features are too few to fill the device and time is long, time is cut into chunks. A first pass reduces
every chunk to one step (product of decays, last state from zero), a short scan over chunks gives each chunk its initial
state, and the walk follows. Two arrays are then read twice.
"""

# Triton is bound wherever AVAILABLE is true.

from functools import cache

import torch
from torch import Tensor

try:
    import triton  # pyright: ignore[reportMissingImports]
    import triton.language as tl  # pyright: ignore[reportMissingImports]

    AVAILABLE = True
except ImportError:  # CPU builds of torch come without it
    AVAILABLE = False

# (steps per tile, features per program, warps), measured on an H100. Wide programs read memory at a higher rate, narrow
# ones are more numerous: NARROW is used if there would be fewer than PER_PROCESSOR programs per processor.
NARROW, WIDE, PER_PROCESSOR = (64, 16, 4), (32, 32, 4), 4
CHUNKED_TILES = 64  # from this number of tiles on time is cut into chunks; below, the launches cost more than they save

if AVAILABLE:

    @triton.jit
    def _after(decay, state, later_decay, later):
        """Two stretches of time as one: (product of decays, last state from zero)."""
        return decay * later_decay, later_decay * state + later

    @triton.jit
    def _walk(
        decay,
        inputs,
        initial,
        out,
        states,
        edge,
        gradient,
        steps,
        width,
        span,
        chunks,
        TILE: tl.constexpr,
        BLOCK: tl.constexpr,
        REVERSE: tl.constexpr,
        INITIAL: tl.constexpr,
        REDUCE: tl.constexpr,
        ADJOINT: tl.constexpr,
        EDGE: tl.constexpr,
    ):
        """One chunk of one row: writes every state to ``out``.

        With REDUCE it writes only the product of decays to ``gradient`` and the last state to ``out``. ``initial`` (B,
        chunks, D) is the state before each chunk. With ADJOINT the decays are those of the position visited before, and
        the gradient of the decay is written: the adjoint times the forward pass's previous state (``edge`` before the
        first).
        """
        row, chunk = tl.program_id(0).to(tl.int64), tl.program_id(2)
        feature = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)[None, :]
        inside = feature < width
        ahead: tl.constexpr = -1 if REVERSE else 1
        rank = tl.arange(0, TILE)[:, None]
        chunk_at = (row * chunks + chunk) * width + feature
        state = tl.zeros((1, BLOCK), dtype=inputs.dtype.element_ty)
        product = state + 1.0
        if INITIAL:
            state = tl.load(initial + chunk_at, mask=inside, other=0.0)
        end = tl.minimum((chunk + 1) * span, steps)
        for start in range(chunk * span, end, TILE):
            step = start + rank
            alive = (step < end) & inside
            place = step
            if REVERSE:
                place = steps - 1 - step
            at = (row * steps + place) * width + feature
            x = tl.load(inputs + at, mask=alive, other=0.0)
            if ADJOINT:
                a = tl.load(decay + at - ahead * width, mask=alive & (step > 0), other=1.0)
            else:
                a = tl.load(decay + at, mask=alive, other=1.0)
            total, reached = tl.associative_scan((a, x), 0, _after)
            reached += total * state
            state = tl.sum(tl.where(rank == TILE - 1, reached, 0.0), 0)[None, :]
            if REDUCE:
                product *= tl.sum(tl.where(rank == TILE - 1, total, 0.0), 0)[None, :]
            else:
                tl.store(out + at, reached, mask=alive)
            if ADJOINT and not REDUCE:
                before = tl.load(states + at + ahead * width, mask=alive & (step < steps - 1), other=0.0)
                if EDGE:
                    first = tl.load(edge + row * width + feature, mask=inside, other=0.0)
                    before = tl.where(step == steps - 1, first, before)
                tl.store(gradient + at, reached * before, mask=alive)
        if REDUCE:
            tl.store(gradient + chunk_at, product, mask=inside)
            tl.store(out + chunk_at, state, mask=inside)


def forward(decay: Tensor, inputs: Tensor, initial: Tensor | None, reverse: bool) -> Tensor:
    """States ``h_t = a_t h_{t-1} + x_t`` of contiguous ``(B, T, D)`` tensors, float32 or float64, on a CUDA device."""
    states = torch.empty_like(inputs)
    _scan(decay, inputs, initial, states, reverse)
    return states


def backward(
    decay: Tensor, states: Tensor, initial: Tensor | None, grad: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of decay, inputs and initial (meaningless without one) from the gradient ``(B, T, D)`` of states."""
    d_decay, d_inputs = torch.empty_like(grad), torch.empty_like(grad)
    _scan(decay, grad, None, d_inputs, not reverse, adjoint=(states, initial, d_decay))
    if initial is None:  # saves a kernel launch
        return d_decay, d_inputs, grad.new_empty(len(grad), grad.shape[2])
    first = -1 if reverse else 0
    return d_decay, d_inputs, decay[:, first] * d_inputs[:, first]


def _scan(
    decay: Tensor,
    inputs: Tensor,
    initial: Tensor | None,
    out: Tensor,
    reverse: bool,
    adjoint: tuple[Tensor, Tensor | None, Tensor] | None = None,
) -> None:
    """Writes the states to ``out``.

    adjoint: for a backward pass, the forward pass's states, its initial state, and where to write the gradient of the
    decay.
    """
    rows, steps, width = inputs.shape
    many = rows * triton.cdiv(width, WIDE[1]) >= PER_PROCESSOR * _processors(inputs.device)
    tile, block, warps = WIDE if many else NARROW
    blocks = triton.cdiv(width, block)
    chunks, span = _chunks(steps, tile, rows * blocks, inputs.device)
    states, edge, gradient = adjoint or (out, None, out)
    how = {"TILE": tile, "BLOCK": block, "REVERSE": reverse, "num_warps": warps}
    grid, sizes = (rows, blocks, chunks), (steps, width, span, chunks)
    walk = _walk[grid]  # pyright: ignore[reportIndexIssue]
    if chunks > 1:
        products = inputs.new_empty(rows, chunks, width)
        lasts, ends = torch.empty_like(products), torch.empty_like(products)
        walk(
            decay,
            inputs,
            inputs,
            lasts,
            states,
            inputs,
            products,
            *sizes,
            INITIAL=False,
            REDUCE=True,
            ADJOINT=adjoint is not None,
            EDGE=False,
            **how,
        )
        _scan(products, lasts, initial, ends, False)  # chunks are already in the order of the walk
        first = torch.zeros_like(ends[:, :1]) if initial is None else initial[:, None]
        initial = torch.cat((first, ends[:, :-1]), dim=1)
    walk(
        decay,
        inputs,
        inputs if initial is None else initial,
        out,
        states,
        inputs if edge is None else edge,
        gradient,
        *sizes,
        INITIAL=initial is not None,
        REDUCE=False,
        ADJOINT=adjoint is not None,
        EDGE=edge is not None,
        **how,
    )


def _chunks(steps: int, tile: int, programs: int, device: torch.device) -> tuple[int, int]:
    """(number, steps in each) of the chunks into which time is cut: not more than fill the device."""
    tiles = triton.cdiv(steps, tile)
    wanted = min(PER_PROCESSOR * _processors(device) // programs, tiles // 2)
    if tiles < CHUNKED_TILES or wanted < 2:
        return 1, steps
    span = triton.cdiv(tiles, wanted) * tile
    return triton.cdiv(steps, span), span


@cache
def _processors(device: torch.device) -> int:
    if device.type != "cuda":
        return 4  # Triton's interpreter
    return torch.cuda.get_device_properties(device).multi_processor_count
