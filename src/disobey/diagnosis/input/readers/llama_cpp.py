"""llama.cpp's file of saved logits: what ``llama-perplexity --kl-divergence-base FILE`` (``--save-all-logits``) writes.

Little-endian: the eight bytes ``_logits_``; context length, vocabulary size and number of chunks (32 bits each); the
tokens of all chunks (32 bits each); then of every chunk the log-probabilities at the places from half of the context
on, but the last. A place is two 32-bit floats, step and lowest value, and one 16-bit number a token, padded to an even
number of them: log p = step · number + lowest. Values more than 16 nats below the best are raised to that. Two models'
files on the same text are a pair; each chunk is a cluster.

Reference:
    tools/perplexity/perplexity.cpp of ggml-org/llama.cpp, ``log_softmax`` and ``perplexity``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import BUDGET
from disobey.diagnosis.input.matrices import ArrayMatrix, BatchMatrix, Matrix
from disobey.errors import refusal
from disobey.measures.inference.clusters import FEWEST

MAGIC = b"_logits_"
HEADER = len(MAGIC) + 3 * 4
LARGEST = 2**24  # tokens of a vocabulary, and of a context
AGAIN = "run llama-perplexity --kl-divergence-base again"


@dataclass(frozen=True)
class Layout:
    """What the header says.

    Attributes:
        context: tokens of a chunk.
        vocabulary: V.
        chunks: how many.
    """

    context: int
    vocabulary: int
    chunks: int

    @property
    def first(self) -> int:
        """The first place of a chunk whose prediction is saved."""
        return self.context // 2

    @property
    def places(self) -> int:
        """Predictions of a chunk."""
        return self.context - 1 - self.first

    @property
    def rows(self) -> int:
        """Predictions of all chunks."""
        return self.places * self.chunks

    @property
    def width(self) -> int:
        """16-bit numbers of a prediction."""
        return 2 * ((self.vocabulary + 1) // 2) + 4

    @property
    def start(self) -> int:
        """First byte of the predictions."""
        return HEADER + 4 * self.context * self.chunks


def is_saved_logits(path: Path) -> bool:
    """Whether a file begins as these do."""
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_llama_cpp(path: Path) -> Mapping[str, Matrix]:
    """The arrays ``logits`` (N, V), ``labels`` (N,), the tokens that came, and ``cluster`` (N,), their chunks.

    Raises `Refusal` for a header that says what cannot be, and for files that end early (an interrupted run).
    """
    layout = _layout(path)
    with open(path, "rb") as file:
        file.seek(HEADER)
        tokens = np.frombuffer(file.read(4 * layout.context * layout.chunks), "<i4")
    labels = tokens.reshape(layout.chunks, layout.context)[:, layout.first + 1 :].astype(np.int64).ravel()
    logits = BatchMatrix(
        partial(_blocks, path, layout), (layout.rows, layout.vocabulary), np.dtype(np.float32), f"{path}[logits]"
    )
    found: dict[str, Matrix] = {"logits": logits, "labels": ArrayMatrix(labels, f"{path}[tokens]")}
    if layout.chunks >= FEWEST:
        found["cluster"] = ArrayMatrix(np.repeat(np.arange(layout.chunks), layout.places), f"{path}[chunks]")
    return found


def _layout(path: Path) -> Layout:
    with open(path, "rb") as file:
        context, vocabulary, chunks = (int(n) for n in np.frombuffer(file.read(HEADER)[len(MAGIC) :].ljust(12), "<i4"))
    size = path.stat().st_size
    if not (3 <= context <= LARGEST and 2 <= vocabulary <= LARGEST and chunks >= 1) or size < HEADER:
        got = f"a context of {context:,}, {vocabulary:,} tokens and {chunks:,} chunks"
        raise refusal("not-llama-cpp", "logits saved by llama-perplexity", got, AGAIN, where=path)
    layout = Layout(context, vocabulary, chunks)
    wanted = layout.start + 2 * layout.rows * layout.width
    if size != wanted:
        got = f"{size:,}" + (": the run was interrupted, or the file is cut short" if size < wanted else "")
        raise refusal("cut-short", f"{wanted:,} bytes for {chunks:,} chunks", got, AGAIN, where=path)
    if 8 * layout.rows > BUDGET or 8 * layout.width > BUDGET:
        raise refusal(
            "too-large", "columns that fit in memory", f"{layout.rows:,} tokens", "fewer --chunks", where=path
        )
    return layout


def _blocks(path: Path, layout: Layout, rows: int) -> Iterator[NDArray]:
    rows = max(1, min(rows, 2**24 // layout.width))
    with open(path, "rb") as file:
        file.seek(layout.start)
        for start in range(0, layout.rows, rows):
            count = min(rows, layout.rows - start)
            data = file.read(2 * count * layout.width)
            if len(data) < 2 * count * layout.width:
                raise refusal("cut-short", f"{layout.rows:,} predictions", f"an end at {start:,}", AGAIN, where=path)
            yield _decoded(np.frombuffer(data, "<u2").reshape(count, layout.width), layout, start, path)


def _decoded(block: NDArray, layout: Layout, start: int, path: Path) -> NDArray:
    """Log-probabilities (rows, V), normalized: raising the lowest ones added to the sum of probabilities."""
    step, lowest = np.ascontiguousarray(block[:, :4]).view("<f4").T.astype(np.float32)
    bad = ~(np.isfinite(step) & np.isfinite(lowest) & (step >= 0) & (step <= 1) & (np.abs(lowest) < 1e4))
    if bad.any():
        row = start + int(bad.argmax())
        raise refusal("damaged-file", "finite steps and lowest values", f"others in row {row:,}", AGAIN, where=path)
    out = block[:, 4 : 4 + layout.vocabulary].astype(np.float32)
    out *= step[:, None]
    out -= out.max(axis=1, keepdims=True)
    out -= np.log(np.exp(out).sum(axis=1, dtype=np.float64)).astype(np.float32)[:, None]
    return out
