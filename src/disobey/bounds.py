"""How much of a file is read, and of which files: budgets that every reader keeps, whatever a file claims.

A few kilobytes can unfold to terabytes (a packed archive of zeros, a run-length column, a nest of brackets), and a
name can lead to a pipe that never answers. Readers ask here before they hold what they read in memory.
"""

from __future__ import annotations

import lzma
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from disobey.errors import Refusal, refusal
from disobey.footer import largest_column

BUDGET = 4 << 30  # bytes, decoded, of one file's content: data sets and predictions are held in memory
TEXT_FILE = 1 << 30  # bytes on disk of a file of text
LINE = 64 << 20  # characters of one line
OBJECT = 64  # bytes that a small Python object takes, with the place that refers to it


def regular(path: Path) -> Path:
    """The path itself. Raises `Refusal` where it is a folder, a pipe, a socket or a device, or a link to one."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise refusal("not-a-file", "a regular file", "a folder, a pipe or a device", "another path", where=path)
    return path


def read_bounded(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes; a pipe or a device is refused, not waited for.

    Raises `OSError` where nothing can be opened.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise refusal("not-a-file", "a regular file", "a folder, a pipe or a device", "another path", where=path)
        if status.st_size > limit:
            raise refusal("file-too-large", f"at most {limit:,} bytes", f"{status.st_size:,}", where=path)
        with open(handle, "rb", closefd=False) as file:
            return file.read(status.st_size)  # not the limit: room for what is asked is taken at once
    finally:
        os.close(handle)


def text_file(path: Path, limit: int = TEXT_FILE) -> Path:
    """The path of a regular file of text that is small enough to be read. Raises `Refusal`."""
    size = os.stat(regular(path)).st_size
    if size > limit:
        attempt = "npz or parquet, which take less room"
        raise refusal(
            "file-too-large", f"at most {limit >> 20:,} MiB of text", f"{size >> 20:,} MiB", attempt, where=path
        )
    return path


class Tally:
    """Counts what a reader holds in memory. Raises `Refusal` beyond the budget."""

    def __init__(self, where: object, budget: int | None = None):
        self.where, self.budget = where, BUDGET if budget is None else budget
        self.left = self.budget

    def add(self, size: int) -> None:
        """``size`` more bytes, decoded."""
        self.left -= size
        if self.left < 0:
            raise too_large(self.where, self.budget - self.left, self.budget)


def too_large(where: object, size: int, budget: int = BUDGET) -> Refusal:
    """The refusal of what would take more memory than a reader may."""
    return refusal(
        "over-budget",
        f"at most {budget / 2**30:g} GiB once it is decoded",
        f"{size / 2**30:.1f} GiB or more",
        "fewer rows, or smaller types",
        where=where,
    )


def bounded_table(path: Path, opened: Any, names: Sequence[str], where: object, rows: int | None = None) -> Any:
    """Columns of an open parquet file as a table, a few rows at a time, within the budget.

    Run lengths and dictionaries let a small file stand for any amount of data: rows are counted as the Python objects
    that they will be, and no more are decoded at once than a quarter of the budget could hold if each were as large
    as all that is stored. rows: the first ones only.
    """
    import pyarrow as pa

    about = opened.metadata
    tally = Tally(where)
    wanted = about.num_rows if rows is None else min(rows, about.num_rows)
    tally.add(OBJECT * wanted * len(names))
    largest = max((about.row_group(i).total_byte_size for i in range(about.num_row_groups)), default=1)
    values = largest_column(path)
    tally.add(OBJECT * max(values - about.num_rows, 0))  # lists: as many numbers in one row as the group has
    at_once = max(1, min(65_536, (BUDGET // 4) // max(largest, 1)))
    batches, have = [], 0
    for batch in opened.iter_batches(at_once, columns=list(names)):
        tally.add(batch.nbytes)
        batches.append(batch)
        have += batch.num_rows
        if have >= wanted:
            break
    return pa.Table.from_batches(batches, opened.schema_arrow.empty_table().select(list(names)).schema).slice(0, wanted)


@contextmanager
def mendable(where: object) -> Iterator[None]:
    """What a damaged or hostile file can do to its reader besides the errors that readers expect, as one message."""
    try:
        yield
    except (MemoryError, RecursionError, OverflowError, lzma.LZMAError) as error:
        said = f"one that cannot be ({type(error).__name__}: {error})"
        raise refusal(
            "unreadable-file", "a sound file that fits in memory", said, "writing it again", where=where
        ) from error
