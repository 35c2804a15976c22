"""`Store`: a folder per run, written beside and renamed when whole. What is visible is complete.

Several processes may share a store. A lock per run keeps two of them from doing the same work; the operating system
lets go of it when its holder dies. A kill at any moment leaves at most a folder under ``tmp``, which `sweep` removes.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from disobey.records.files import write_text
from disobey.records.runs import RunRecord


class Busy(Exception):
    """Another process is at work on the same run."""


@dataclass(frozen=True)
class Store:
    root: Path

    def __post_init__(self):
        object.__setattr__(self, "root", Path(self.root).absolute())

    def prepare(self) -> None:
        """Makes the folders. Raises `ValueError` in plain words where they cannot be written."""
        try:
            for name in ("runs", "tmp", "locks", "failures", "cache"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            handle, probe = tempfile.mkstemp(dir=self.root / "tmp", prefix=".probe-")
            os.write(handle, b"probe")
            os.close(handle)
            os.unlink(probe)
        except OSError as error:
            raise ValueError(
                f"expected a folder that can be written at {self.root}, came: {error.strerror or error}; "
                "try --out with another folder, or free some space"
            ) from error

    def folder(self, run_id: str) -> Path:
        return self.root / "runs" / run_id

    def find(self, run_id: str, recipe: Mapping[str, Any] | None = None) -> RunRecord | None:
        """The finished run, or None. ``recipe`` (as encoded) must equal the stored one: keys are only hashes."""
        record = RunRecord(self.folder(run_id))
        if not (record.path / "run.json").is_file():
            return None
        if recipe is not None and record.recipe != recipe:
            raise ValueError(
                f"{record.path}: the stored recipe is not the one with this key; the folder was edited or damaged. "
                "Delete it to repeat the run"
            )
        return record

    @contextmanager
    def lock(self, name: str, *, wait: bool = True) -> Iterator[None]:
        """Holds the lock of a run (or of a cache entry). Raises `Busy` where it is taken and ``wait`` is false."""
        path = self.root / "locks" / f"{name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(path, timeout=-1 if wait else 0):
                yield
        except Timeout as error:
            raise Busy(name) from error

    @contextmanager
    def writing(self, run_id: str) -> Iterator[Path]:
        """A folder to fill, which becomes the run's when the block ends well. Hold the run's lock."""
        (self.root / "tmp").mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f"{run_id}.", dir=self.root / "tmp"))
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with open(file, "rb+") as handle:
                        os.fsync(handle.fileno())
            final = self.folder(run_id)
            final.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def sweep(self) -> int:
        """Removes what killed processes left under ``tmp``; how many things."""
        removed = 0
        for leftover in (self.root / "tmp").glob("*"):
            try:
                with self.lock(leftover.name.split(".")[0], wait=False):
                    if leftover.is_dir():
                        shutil.rmtree(leftover, ignore_errors=True)
                    else:
                        leftover.unlink(missing_ok=True)
                    removed += 1
            except Busy:
                continue
        return removed

    def note_failure(self, run_id: str, failure: Mapping[str, Any]) -> None:
        write_text(self.root / "failures" / f"{run_id}.json", json.dumps(failure, indent=1))

    def clear_failure(self, run_id: str) -> None:
        (self.root / "failures" / f"{run_id}.json").unlink(missing_ok=True)
