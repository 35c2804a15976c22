"""`TeacherCache`: a frozen teacher's answers on disk, computed once, for any training loop.

A student that meets the same inputs again and again needs no teacher in memory. The answers lie in a folder named by a
hash of what decides them: the teacher's weights, buffers and printed structure, every input, the views and the format.
Another teacher or other data therefore never meet an old answer. Files carry their own hashes, are written under
another name and renamed, and are memory-mapped, so that processes share one copy.

Shapes: N examples, C classes, V views, B batch, k listed classes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from disobey.errors import refusal
from disobey.records.files import sync_folder
from disobey.records.locks import held
from disobey.training.cached_rows import drawn, from_draws, from_lists, packed

View = Callable[[Tensor], Tensor]
Kind = Literal["float32", "float16"]

_INFO = "cache.json"
_TWICE = 16  # examples that are read twice, to see whether they come the same again
_HASHED = 256  # examples hashed at once: never the batch size, which decides no answer
_CHECKED = 4  # examples whose answers are computed again when an old cache is opened
_SAME = 0.8  # share of their draws that must be the same


@dataclass(frozen=True)
class _Format:
    """What decides the bytes of a cache beside teacher and data."""

    kind: Kind
    top_k: int
    views: int
    draws: int = 0
    seed: int = 0

    @property
    def named(self) -> dict[str, Any]:
        """What the hash covers: caches without draws keep the names that they had before there were any."""
        return {name: value for name, value in asdict(self).items() if self.draws or name not in ("draws", "seed")}

    def pack(self, logits: Tensor, view: int, start: int) -> dict[str, NDArray]:
        """Answers (B, C) on consecutive rows as the arrays that are stored."""
        if self.draws:
            return {"draws": drawn(logits, self.draws, self.seed, view, start)}
        return packed(logits, self.top_k, self.kind)


class TeacherCache:
    """The teacher's logits by row: ``cache[rows]`` is (B, C), as exact as ``kind`` says.

    The data must give the same input for a row each time. Data with random augmentation are refused; give the
    augmentation as ``views`` instead, a list of functions that draw nothing, and ask for ``cache.at(rows, view)``.

    Args:
        model: the teacher; asked in ``eval`` mode, without gradients, and left in the mode it was in.
        dataset: anything with a length and ``dataset[i]``, an input or a tuple whose first entry is the input; or one
            tensor of inputs (N, ...).
        folder: where caches are kept; one folder may hold many.
        kind: ``float32`` returns what the teacher said, bit for bit; ``float16`` halves the size and rounds.
        top_k: if not 0, only the k most likely classes of each row, with the mass of all others as one number (a tail).
            Rows then come back as log-probabilities, the tail spread evenly: right in sum at temperature 1, and with no
            difference between the classes of the tail.
        draws: if not 0, only so many classes of each row, drawn once from the teacher's probabilities (with
            replacement; two bytes each). Rows then come back as the logs of frequencies: at temperature 1 the gradient
            of a cross-entropy to them is right in expectation, that of ``top_k`` is not (see the study ``top-k``).
        seed: of the draws.
        views: fixed transformations of a batch of inputs, (B, ...) to (B, ...).
        batch_size: examples the teacher sees at once.
        device: where the teacher is asked; where its weights are by default.

    Raises:
        Refusal: ``unstable-data`` where an example read twice differs, ``half-range`` for logits beyond half precision,
            ``teacher-answer`` for an answer that is not (B, C), ``cache-hash`` or ``stale-cache`` for files that are
            not what they were, ``cache-format`` for other options.

    Example:
        >>> import tempfile
        >>> teacher, inputs = nn.Linear(3, 2), torch.randn(5, 3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = TeacherCache(teacher, inputs, folder)
        ...     torch.equal(cache[torch.tensor([3, 0])], teacher(inputs).detach()[[3, 0]]), cache.shape
        (True, (5, 2))
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Any,
        folder: str | Path = "teacher-cache",
        *,
        kind: Kind = "float32",
        top_k: int = 0,
        draws: int = 0,
        seed: int = 0,
        views: Sequence[View] = (),
        batch_size: int = 256,
        device: torch.device | str | None = None,
    ):
        wrong = min(top_k, draws, seed) < 0 or (top_k and draws) or batch_size < 1 or len(dataset) < 1
        if kind not in ("float32", "float16") or wrong:
            got = f"kind={kind!r}, top_k={top_k}, draws={draws}, batch_size={batch_size}, {len(dataset)} examples"
            expected = "kind float32 or float16, top_k or draws of 0 or more, and a batch and data of at least 1"
            raise refusal("cache-format", expected, got)
        self.format = _Format(kind, top_k, len(views), draws, seed)
        self._batch = batch_size
        self._ask = _Asked(model, dataset, tuple(views), device)
        self.key = self._ask.key(self.format)
        self.path = Path(folder) / self.key
        with held(Path(folder) / f".{self.key}.lock"):
            fresh = not self.path.is_dir()
            if fresh:
                self._build()
        self._info = _info(self.path)
        self._arrays = {name: _mapped(self.path, name, digest) for name, digest in self._info["files"].items()}
        if not fresh:
            self._recheck()

    @property
    def shape(self) -> tuple[int, int]:
        """(N, C)."""
        return self._info["examples"], self._info["classes"]

    @property
    def nbytes(self) -> int:
        """Bytes of all answers on disk."""
        return sum(array.nbytes for array in self._arrays.values())

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Tensor:
        if self.format.views > 1:
            got = f"rows alone of {self.format.views} views"
            raise refusal("view-missing", "rows and a view", got, "cache.at(rows, view)")
        return self.at(rows)

    def at(self, rows: Any, view: Any = 0) -> Tensor:
        """Answers of these rows in a view.

        Args:
            rows: (B,) row numbers, or one.
            view: one number for all, or (B,) of them.

        Returns:
            Logits (B, C) float32 (log-probabilities where ``top_k`` is set), on the CPU.
        """
        numbers = np.atleast_1d(np.asarray(rows, dtype=np.int64))
        places = np.broadcast_to(np.asarray(view, dtype=np.int64), numbers.shape)
        n, views = len(self), max(1, self.format.views)
        if numbers.size and not (
            numbers.min() >= 0 and numbers.max() < n and places.min() >= 0 and places.max() < views
        ):
            got = f"rows {numbers.min()} to {numbers.max()}, views {places.min()} to {places.max()}"
            raise refusal("cache-row", f"rows from 0 to {n - 1} and views from 0 to {views - 1}", got)
        found = {name: array[places, numbers] for name, array in self._arrays.items()}
        if self.format.draws:
            return from_draws(found["draws"], self.shape[1])
        if self.format.top_k:
            return from_lists(found["ids"], found["listed"], found["tail"], self.shape[1])
        return torch.from_numpy(found["logits"].astype(np.float32))

    def all(self, view: int = 0) -> Tensor:
        """Answers of all rows in a view, (N, C): what `disobey.controlled` takes."""
        return self.at(np.arange(len(self)), view)

    def lists(self, rows: Any, view: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Of a top-k cache: classes (B, k), their log-probabilities (B, k), and the tail's log-probability (B,)."""
        if not self.format.top_k:
            raise refusal("cache-format", "a cache with top_k", "one with all logits", "cache[rows]")
        numbers = np.atleast_1d(np.asarray(rows, dtype=np.int64))
        ids, listed, tail = (self._arrays[name][view, numbers] for name in ("ids", "listed", "tail"))
        return (
            torch.from_numpy(ids.astype(np.int64)),
            torch.from_numpy(listed.astype(np.float32)),
            torch.from_numpy(tail.astype(np.float32)),
        )

    def __repr__(self) -> str:
        n, classes = self.shape
        what = f"top {self.format.top_k} and tail" if self.format.top_k else "all logits"
        what = f"{self.format.draws} draws" if self.format.draws else what
        return f"TeacherCache({n:,} x {classes:,}, {what}, {self.format.kind}, {max(1, self.format.views)} view(s))"

    def _build(self) -> None:
        """Asks the teacher for everything, into a folder beside the place, then renames it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{self.key}.", dir=self.path.parent))
        try:
            arrays: dict[str, NDArray] = {}
            n, views, classes = self._ask.n, max(1, self.format.views), 0
            for view, start, logits in self._ask.answers(self._batch):
                classes = logits.shape[1]
                for name, part in self.format.pack(logits, view, start).items():
                    if name not in arrays:
                        shape = (views, n, *part.shape[1:])
                        arrays[name] = np.lib.format.open_memmap(work / f"{name}.npy", "w+", part.dtype, shape)
                    arrays[name][view, start : start + len(part)] = part
            for array in arrays.values():
                array.flush()  # type: ignore[attr-defined]
            files = {name: _digest(work / f"{name}.npy") for name in arrays}
            del arrays
            told = {"examples": n, "classes": classes, "format": self.format.named, "files": files}
            (work / _INFO).write_text(json.dumps(told, indent=1), encoding="utf-8")
            for file in work.iterdir():
                with open(file, "rb+") as handle:
                    os.fsync(handle.fileno())
            try:
                os.rename(work, self.path)
            except OSError:
                if not self.path.is_dir():  # else another process was first, on a file system without locks
                    raise
            sync_folder(self.path.parent)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _recheck(self) -> None:
        """Asks again for a few examples: the hash knows weights and data, not the code of ``forward``."""
        rows = np.unique(np.linspace(0, len(self) - 1, _CHECKED).astype(np.int64))
        now = self._ask.once(rows)
        if self.format.draws:
            self._recheck_draws(now)
            return
        again = {name: part[None] for name, part in packed(now, self.format.top_k, self.format.kind).items()}
        for name in again.keys() - {"ids"}:
            kept, new = self._arrays[name][0, rows].astype(np.float64), again[name][0].astype(np.float64)
            if kept.shape != new.shape or not np.allclose(kept, new, rtol=1e-2, atol=1e-2 * (1 + np.abs(kept).max())):
                expected = "a teacher that answers as it did when the cache was made"
                raise refusal("stale-cache", expected, "other answers", "remove this folder", where=self.path)

    def _recheck_draws(self, now: Tensor) -> None:
        """Of those examples: rounding may move one draw across a border, another teacher moves most."""
        rows = np.unique(np.linspace(0, len(self) - 1, _CHECKED).astype(np.int64))
        new = [self.format.pack(now[i : i + 1], 0, int(row))["draws"][0] for i, row in enumerate(rows)]
        if float((np.stack(new) == self._arrays["draws"][0, rows]).mean()) < _SAME:
            expected = "a teacher that answers as it did when the cache was made"
            raise refusal("stale-cache", expected, "other draws", "remove this folder", where=self.path)


class _Asked:
    """A teacher, its data and their views: what they are (a hash), and what it answers."""

    def __init__(self, model: nn.Module, dataset: Any, views: tuple[View, ...], device: torch.device | str | None):
        self.model, self.dataset, self.views = model, dataset, views
        self.n = len(dataset)
        first = next((tensor.device for tensor in model.state_dict().values()), torch.device("cpu"))
        self.device = torch.device(first if device is None else device)

    def key(self, format: _Format) -> str:
        """Hash of the teacher, of all inputs in all views, and of the format. One pass over the data."""
        digest = hashlib.sha256(json.dumps(format.named, sort_keys=True).encode())
        digest.update(repr(self.model).encode())
        for name, tensor in self.model.state_dict().items():
            _feed(digest, name, tensor)
        again = list(range(min(_TWICE, self.n)))
        if not torch.equal(self._inputs(again), self._inputs(again)):
            expected = "data that give the same input for a row each time"
            hint = "data without random augmentation, and the augmentation as views=[...] that draw nothing"
            raise refusal("unstable-data", expected, "two readings of the first rows that differ", hint)
        for view, start, inputs in self._batches(_HASHED):
            if start == 0 and not torch.equal(inputs, self._viewed(view, self._inputs(range(len(inputs))))):
                got = f"two answers of view {view} that differ"
                raise refusal("unstable-data", "views that draw nothing", got, "a function of the input alone")
            _feed(digest, f"{view}/{start}", inputs)
        return digest.hexdigest()[:32]

    @torch.no_grad()
    def answers(self, size: int) -> Iterator[tuple[int, int, Tensor]]:
        """(view, first row, logits) of all batches, with the teacher in ``eval`` mode meanwhile."""
        training = self.model.training
        self.model.eval()
        try:
            for view, start, inputs in self._batches(size):
                yield view, start, self._logits(inputs)
        finally:
            self.model.train(training)

    @torch.no_grad()
    def once(self, rows: NDArray) -> Tensor:
        """Logits of a few rows in the first view."""
        training = self.model.training
        self.model.eval()
        try:
            return self._logits(self._viewed(0, self._inputs(rows.tolist())))
        finally:
            self.model.train(training)

    def _logits(self, inputs: Tensor) -> Tensor:
        out = self.model(inputs.to(self.device))
        logits = getattr(out, "logits", out)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(inputs):
            got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
            raise refusal("teacher-answer", f"logits of shape ({len(inputs)}, C) from the teacher", got)
        return logits.detach().float().cpu()

    def _batches(self, size: int) -> Iterator[tuple[int, int, Tensor]]:
        for start in range(0, self.n, size):
            inputs = self._inputs(range(start, min(start + size, self.n)))
            for view in range(max(1, len(self.views))):
                yield view, start, self._viewed(view, inputs)

    def _viewed(self, view: int, inputs: Tensor) -> Tensor:
        return self.views[view](inputs) if self.views else inputs

    def _inputs(self, rows: Sequence[int]) -> Tensor:
        if isinstance(self.dataset, Tensor):
            return self.dataset[list(rows)]
        items = [self.dataset[row] for row in rows]
        return torch.stack([torch.as_tensor(item[0] if isinstance(item, (tuple, list)) else item) for item in items])


def _feed(digest: Any, name: str, tensor: Tensor) -> None:
    """A named tensor into a hash: name, type, shape, bytes."""
    values = tensor.detach().cpu().contiguous()
    digest.update(f"{name}:{values.dtype}:{tuple(values.shape)};".encode())
    digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes() if values.numel() else b"")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _info(path: Path) -> dict[str, Any]:
    try:
        return json.loads((path / _INFO).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise refusal("cache-hash", "a whole cache", error, "remove this folder", where=path) from error


def _mapped(path: Path, name: str, digest: str) -> NDArray:
    """A file of the cache, after its hash was compared."""
    file = path / f"{name}.npy"
    if not file.is_file() or _digest(file) != digest:
        expected = "the bytes that were written"
        raise refusal("cache-hash", expected, "others, or none", f"remove {path}", where=file)
    return np.load(file, mmap_mode="r", allow_pickle=False)
