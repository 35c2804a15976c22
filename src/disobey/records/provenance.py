"""How numbers came about: versions, machine, time and cost. Kept beside results, never inside them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import stat
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

PACKAGES = ("disobey", "numpy", "scipy", "torch", "scikit-learn", "altair", "mlxtend", "pyspellchecker")
HASHED = 2**30  # bytes of a file at most that are read once more for its hash


@cache
def environment() -> dict[str, Any]:
    """Versions, operating system, processor and the source's commit, without user or host names."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "packages": versions,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "commit": _commit(),
    }


def stamp() -> dict[str, Any]:
    """The environment with the time (UTC) and the command line."""
    return {
        **environment(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def file_record(path: Path, name: str = "") -> dict[str, Any]:
    """An input file's name, size in bytes and SHA-256, read in chunks; of one larger than 1 GiB the size alone.

    Never raises `OSError`: a file may have gone (or been locked) since it was read, and its record says so.

    >>> file_record(Path("no/such/file"), "pair.npz")
    {'name': 'pair.npz', 'bytes': None, 'sha256': 'gone'}
    """
    size, digest = None, "gone"
    try:
        if stat.S_ISREG(os.stat(path).st_mode):  # what is no file any more is not opened: a pipe would not answer
            with open(path, "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                digest = "not hashed: larger than 1 GiB"
                if size <= HASHED:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        digest = "gone"
    except OSError as error:
        digest = f"not hashed: {error.strerror or error}"
    return {"name": name or str(path), "bytes": size, "sha256": digest}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def _commit() -> str:
    """The commit of a source checkout; empty for an installed package."""
    folder = Path(__file__).resolve().parents[3]
    if not (folder / ".git").exists():
        return ""
    try:
        run = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return run.stdout.strip()
