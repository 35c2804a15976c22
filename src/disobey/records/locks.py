"""Locks between processes that leave no file behind. The operating system lets go of one when its holder dies."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

MISSING = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL})


class Busy(Exception):
    """Another process is at work on the same run."""


@contextmanager
def held(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds the lock at ``path``, whose file is removed afterwards. Raises `Busy` where it is taken and not waited for.

    On a file system without locks nothing is held: `locks_work` tells, and `Store.prepare` says so.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        with _portable(path, wait):
            yield
        return
    handle = _acquired(path, wait)
    try:
        yield
    finally:
        # removed while it is held: whoever waited for this file finds that the path is another's, and begins again
        try:
            if _still(handle, path):
                path.unlink(missing_ok=True)
        finally:
            os.close(handle)


def _acquired(path: Path, wait: bool) -> int:
    """An open file at ``path`` that this process has locked; open files, not names, carry locks."""
    assert fcntl is not None
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            os.close(handle)
            raise Busy(path.stem) from error
        except OSError as error:
            if error.errno in MISSING:
                return handle
            os.close(handle)
            raise
        except BaseException:
            os.close(handle)
            raise
        if _still(handle, path):
            return handle
        os.close(handle)  # its holder removed it while this process waited


def _still(handle: int, path: Path) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    own = os.fstat(handle)
    return (own.st_ino, own.st_dev) == (there.st_ino, there.st_dev)


@contextmanager
def _portable(path: Path, wait: bool) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        with FileLock(path, timeout=-1 if wait else 0):
            yield
    except Timeout as error:
        raise Busy(path.stem) from error


def locks_work(folder: Path) -> bool:
    """Whether the file system at ``folder`` has locks (some network file systems have none). Raises `OSError`."""
    if fcntl is None:
        return True
    path = folder / f".probe-{os.getpid()}.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in MISSING:
            return False
        raise
    finally:
        os.close(handle)
        path.unlink(missing_ok=True)
    return True
