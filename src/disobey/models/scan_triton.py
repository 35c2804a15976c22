"""The scan on CUDA devices, written in Triton. Run in Triton's interpreter here, never on a GPU yet.

One program handles one batch row and one block of features and walks through its part of time with
the state in registers, accumulating in float32 (float64 for float64). From `CHUNKED` steps on, time is cut
into chunks so that long sequences with few rows still fill the device: a first pass reduces every
chunk to (product of decays, last state from zero), a short scan over chunks gives each its initial
state, and a second pass writes the states. Inputs are read twice, states written once.
"""

import torch
from torch import Tensor

try:
    import triton  # pyright: ignore[reportMissingImports]
    import triton.language as tl  # pyright: ignore[reportMissingImports]

    AVAILABLE = True
except ImportError:  # CPU builds of torch come without it
    AVAILABLE = False

CHUNKED = 512  # steps from which time is cut into chunks
CHUNK = 128  # steps in a chunk
BLOCK = 64  # features in a program

if AVAILABLE:

    @triton.jit
    def _states(
        decay, inputs, initial, states, steps, width, chunks,
        CHUNK: tl.constexpr, BLOCK: tl.constexpr, REVERSE: tl.constexpr, INITIAL: tl.constexpr,
    ):  # fmt: skip
        """States of one chunk of one row: `initial` is (B, chunks, D), the state before each chunk."""
        row, block, chunk = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
        column = block * BLOCK + tl.arange(0, BLOCK)
        inside = column < width
        state = tl.zeros((BLOCK,), dtype=states.dtype.element_ty)
        if INITIAL:
            state = tl.load(initial + (row * chunks + chunk) * width + column, mask=inside, other=0.0)
        for i in range(CHUNK):
            t = chunk * CHUNK + i
            alive = inside & (t + tl.zeros_like(column) < steps)
            place = t
            if REVERSE:
                place = steps - 1 - t
            at = (row * steps + place) * width + column
            a = tl.load(decay + at, mask=alive, other=0.0)
            x = tl.load(inputs + at, mask=alive, other=0.0)
            state = a * state + x
            tl.store(states + at, state, mask=alive)

    @triton.jit
    def _reduce(
        decay, inputs, products, lasts, steps, width, chunks,
        CHUNK: tl.constexpr, BLOCK: tl.constexpr, REVERSE: tl.constexpr,
    ):  # fmt: skip
        """Each chunk as one step of a shorter recurrence: its total decay and its last state from zero."""
        row, block, chunk = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
        column = block * BLOCK + tl.arange(0, BLOCK)
        inside = column < width
        state = tl.zeros((BLOCK,), dtype=lasts.dtype.element_ty)
        product = tl.full((BLOCK,), 1.0, dtype=lasts.dtype.element_ty)
        for i in range(CHUNK):
            t = chunk * CHUNK + i
            alive = inside & (t + tl.zeros_like(column) < steps)
            place = t
            if REVERSE:
                place = steps - 1 - t
            at = (row * steps + place) * width + column
            a = tl.load(decay + at, mask=alive, other=1.0)
            x = tl.load(inputs + at, mask=alive, other=0.0)
            state = a * state + x
            product = a * product
        at = (row * chunks + chunk) * width + column
        tl.store(products + at, product, mask=inside)
        tl.store(lasts + at, state, mask=inside)


def forward(decay: Tensor, inputs: Tensor, initial: Tensor | None, reverse: bool) -> Tensor:
    """``h_t = a_t h_{t-1} + x_t``: contiguous float32 or float64 ``(B, T, D)`` on a CUDA device."""
    rows, steps, width = inputs.shape
    states = torch.empty_like(inputs)
    chunks = triton.cdiv(steps, CHUNK) if steps >= CHUNKED else 1
    chunk = CHUNK if chunks > 1 else steps
    grid = (rows, triton.cdiv(width, BLOCK), chunks)
    if chunks > 1:
        products = inputs.new_empty(rows, chunks, width)
        lasts = torch.empty_like(products)
        reduce = _reduce[grid]  # pyright: ignore[reportIndexIssue]
        reduce(decay, inputs, products, lasts, steps, width, chunks, chunk, BLOCK, reverse)
        ends = forward(products, lasts, initial, False)  # chunks are already in the order of the scan
        first = torch.zeros_like(ends[:, :1]) if initial is None else initial[:, None]
        initial = torch.cat((first, ends[:, :-1]), dim=1)
    has = initial is not None
    start = initial.contiguous() if initial is not None else states  # never read without one
    write = _states[grid]  # pyright: ignore[reportIndexIssue]
    write(decay, inputs, start, states, steps, width, chunks, chunk, BLOCK, reverse, has)
    return states
