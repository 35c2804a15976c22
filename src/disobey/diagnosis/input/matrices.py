"""Arrays that need not fit in memory: read once, from the first row to the last, a block at a time.

Rows of (N, ...) come as blocks, so memory is that of a few blocks, not of the file, and the operating system's page
cache is not counted against the process as it would be with a memory map.
"""

from __future__ import annotations

import lzma
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import BUDGET
from disobey.errors import Refusal, refusal

Opener = Callable[[], BinaryIO]
READ_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    zlib.error,
    lzma.LZMAError,
    MemoryError,
    OverflowError,
)
WHOLE_LIMIT = 2**31  # bytes that a column (labels, ids, names) may take
THREADS = min(2, os.cpu_count() or 1)  # that compute while the next blocks are read


class Matrix(Protocol):
    """An array that is read forward. ``where`` names it in messages."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, ...)."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Of the blocks."""
        ...

    @property
    def where(self) -> str:
        """File and array, for messages."""
        ...

    def blocks(self, rows: int) -> Iterator[NDArray]:
        """Consecutive blocks of at most ``rows`` rows."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayMatrix:
    """An array in memory (or mapped by its owner)."""

    array: NDArray
    where: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, ...)."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        """Of the blocks."""
        return self.array.dtype

    def blocks(self, rows: int) -> Iterator[NDArray]:
        """Consecutive blocks of at most ``rows`` rows."""
        for start in range(0, len(self.array), rows):
            yield self.array[start : start + rows]


@dataclass(frozen=True)
class StreamMatrix:
    """Rows one after another in a byte stream: .npy, an entry of .npz (compressed or not), .safetensors."""

    open: Opener  # at the first byte of the first row
    shape: tuple[int, ...]
    stored: np.dtype
    where: str
    bfloat16: bool = False  # stored as unsigned 16-bit integers: numpy has no such type

    @property
    def dtype(self) -> np.dtype:
        """Of the blocks, which are decoded and of native byte order."""
        return np.dtype(np.float32) if self.bfloat16 else self.stored.newbyteorder("=")

    @property
    def row_bytes(self) -> int:
        """Bytes of a row as stored."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.stored.itemsize

    def blocks(self, rows: int) -> Iterator[NDArray]:
        """Blocks of at most ``rows`` rows."""
        rows = max(1, min(rows, self.shape[0]))
        try:
            if self.row_bytes > BUDGET:
                got = f"{self.row_bytes / 2**30:.1f} GiB each"
                raise refusal("too-large", "rows that fit in memory", got, where=self.where)
            with self.open() as file:
                for start in range(0, self.shape[0], rows):
                    buffer = np.empty(min(rows, self.shape[0] - start) * self.row_bytes, np.uint8)
                    self._fill(file, buffer.data, start)
                    yield self._decoded(buffer.view(self.stored))
        except READ_ERRORS as error:
            if isinstance(error, Refusal):
                raise
            raise refusal(
                "damaged-file", "a readable file", f"damage ({error})", "write the file again", where=self.where
            ) from error

    def _fill(self, file: BinaryIO, view: memoryview, start: int) -> None:
        done = 0
        while done < len(view):
            got = file.readinto(view[done:])  # type: ignore[attr-defined]
            if not got:
                row = start + done // max(1, self.row_bytes)
                raise refusal(
                    "cut-short",
                    f"{self.shape[0]:,} rows",
                    f"a file that ends in row {row:,}",
                    "copy or write it again",
                    where=self.where,
                )
            done += got

    def _decoded(self, flat: NDArray) -> NDArray:
        if self.bfloat16:
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        elif not self.stored.isnative:
            flat = flat.astype(self.dtype)
        return flat.reshape(-1, *self.shape[1:])


@dataclass(frozen=True)
class BatchMatrix:
    """Rows from something that hands out batches of its own size (a parquet file)."""

    batches: Callable[[int], Iterator[NDArray]]
    shape: tuple[int, ...]
    dtype: np.dtype
    where: str

    def blocks(self, rows: int) -> Iterator[NDArray]:
        """Consecutive blocks of ``rows`` rows, the last one shorter."""
        waiting: list[NDArray] = []
        held = 0
        for batch in self.batches(rows):
            waiting.append(batch)
            held += len(batch)
            while held >= rows:
                joined = np.concatenate(waiting) if len(waiting) > 1 else waiting[0]
                yield joined[:rows]
                waiting, held = [joined[rows:]], held - rows
        if held:
            yield np.concatenate(waiting)


def side_by_side(matrices: Sequence[Matrix], rows: int, work: Callable[[int, tuple[NDArray, ...]], None]) -> int:
    """Calls ``work(first row, a block of each matrix)`` for all blocks, on `THREADS` threads; gives the rows read.

    NumPy releases the interpreter's lock while it computes, so threads help. Blocks do not depend on the number of
    threads, so neither does any number, as long as a call writes only what belongs to its rows.
    """
    # glibc hands freed blocks back to the system, to be faulted in again page by page, until it saw a large one freed.
    np.empty(2**25 - 2**16, np.uint8)
    start, waiting = 0, deque[Future]()
    with ThreadPoolExecutor(THREADS) as pool:
        for blocks in zip(*(matrix.blocks(rows) for matrix in matrices), strict=True):
            if len(waiting) == 2 * THREADS:  # read ahead, but not far
                waiting.popleft().result()
            waiting.append(pool.submit(work, start, blocks))
            start += len(blocks[0])
        for last in waiting:
            last.result()
    return start


def whole(matrix: Matrix) -> NDArray:
    """All of it in memory: for labels, ids and names. Raises `Refusal` where it is too large for that."""
    size = int(np.prod(matrix.shape, dtype=np.float64)) * matrix.dtype.itemsize
    if size > WHOLE_LIMIT:
        raise refusal(
            "too-large", "a column of at most 2 GiB", f"{size / 2**30:.1f} GiB", "store it as int32", where=matrix.where
        )
    if isinstance(matrix, ArrayMatrix):
        return matrix.array
    if isinstance(matrix, StreamMatrix) and not matrix.shape:
        return whole(replace(matrix, shape=(1,))).reshape(())
    if matrix.shape[0] == 0:
        return np.empty(matrix.shape, matrix.dtype)
    return np.concatenate(list(matrix.blocks(2**16)))


def head(matrix: Matrix, rows: int) -> NDArray:
    """The first rows."""
    if matrix.shape[0] == 0:
        return np.empty(matrix.shape, matrix.dtype)
    blocks = matrix.blocks(rows)
    try:
        return next(blocks)[:rows]
    finally:
        close = getattr(blocks, "close", None)
        if close:
            close()
