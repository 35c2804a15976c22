"""Writing so that a reader sees a whole file or none: beside the place, then renamed."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, renamed to ``path`` when the block ends well, else removed.

    Raises `OSError` where the folder cannot be written (full, read-only): the old file stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Makes a rename in this folder last through a power cut; where folders cannot be opened (Windows), nothing."""
    try:
        handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # file systems without
            raise
    finally:
        os.close(handle)


NO_SPACE = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT})


def no_space(error: BaseException | None) -> bool:
    """Whether a write failed because the disk is full, read-only or over quota: no later write will do better.

    Libraries that write by themselves (safetensors) tell the number in their message; numpy only how much was written.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            return True
        said = str(error)
        if any(f"(os error {number})" in said for number in NO_SPACE) or _SHORT_WRITE.search(said):
            return True
        error = error.__cause__ or error.__context__
    return False


_SHORT_WRITE = re.compile(r"^\d+ requested and \d+ written$")


def write_text(path: Path, text: str) -> None:
    """Writes a whole text file, or leaves the old one."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
