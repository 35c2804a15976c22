"""`Store`: a folder per run. It appears only once it is complete, and is checked when it is found.

Several processes may share a store. A lock per run keeps two of them from doing the same work; the operating system
lets go of it when its holder dies. A kill at any moment leaves at most a folder under ``tmp``, which `sweep` removes.
A record that is not what was written counts as not finished; `set_aside` moves it to ``damaged``, nothing deletes it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disobey.errors import Refusal, refusal
from disobey.records import manifest
from disobey.records.files import sync_folder, write_text
from disobey.records.locks import Busy, held, locks_work
from disobey.records.manifest import Damaged, checked_id
from disobey.records.runs import RunRecord

__all__ = ["Busy", "Damaged", "Store"]


@dataclass(frozen=True)
class Store:
    """A folder of runs that several processes may share."""

    root: Path

    def __post_init__(self):
        object.__setattr__(self, "root", Path(self.root).absolute())

    def prepare(self) -> str:
        """Makes the folders; a warning in words where processes cannot keep out of each other's way, else "".

        Raises `Refusal` where they cannot be written.
        """
        try:
            for name in ("runs", "tmp", "locks", "failures", "cache"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            handle, probe = tempfile.mkstemp(dir=self.root / "tmp", prefix=".probe-")
            try:
                os.write(handle, b"probe")
            finally:
                os.close(handle)
                os.unlink(probe)
            if locks_work(self.root / "locks"):
                return ""
        except OSError as error:
            raise self.unwritable(error) from error
        return (
            f"the file system at {self.root} has no locks: let no other command work on this folder at the same time, "
            "and leftovers of killed ones stay in tmp"
        )

    def unwritable(self, error: object) -> Refusal:
        """The one message where the store cannot be written: a full disk, a read-only one, a quota, missing rights."""
        said = getattr(error, "strerror", None) or error
        return refusal(
            "store-not-writable",
            f"a folder that can be written at {self.root}",
            said,
            "--out with another folder, or free some space; finished runs are kept",
        )

    def folder(self, run_id: str) -> Path:
        """Where a finished run lies. Raises `Refusal` for an id that could be another path."""
        return self.root / "runs" / checked_id(run_id)

    def resume_file(self, run_id: str) -> Path:
        """Where a long run leaves what it needs to go on after it was killed."""
        return self.root / "resume" / f"{checked_id(run_id)}.pt"

    def resume_folder(self, run_id: str) -> Path:
        """Where a run that consists of several trainings leaves those that are finished, until it is."""
        return self.root / "resume" / checked_id(run_id)

    def find(self, run_id: str, recipe: Mapping[str, Any] | None = None) -> RunRecord | None:
        """The finished run, or None where there is none or it is damaged, incomplete or another run's.

        ``recipe`` (as encoded) must equal the stored one: keys are only hashes. Sizes are checked here, contents when
        they are first read.
        """
        try:
            return self.found(run_id, recipe)
        except Damaged:
            return None

    def found(self, run_id: str, recipe: Mapping[str, Any] | None = None) -> RunRecord | None:
        """As `find`, but raises `Damaged` with the reason where a record is there that cannot be used."""
        record = RunRecord(self.folder(run_id))
        if not os.path.lexists(record.path):
            return None
        if recipe is not None and record.recipe != recipe:
            raise Damaged(str(record.path), "a recipe that is not the one with this key: edited, or another run's")
        if f"s{record.seed}" != run_id.rpartition("-")[2]:
            raise Damaged(str(record.path), f"the record of seed {record.seed}")
        manifest.check_sizes(record.path, record.info)
        return record

    def set_aside(self, run_id: str, why: str) -> Path:
        """Moves what lies in a run's place to ``damaged`` and notes why; where it is now. Hold the run's lock."""
        place = self.folder(run_id)
        stem = f"{run_id}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        shelf = self.root / "damaged"
        shelf.mkdir(parents=True, exist_ok=True)
        aside, n = shelf / stem, 1
        while os.path.lexists(aside):
            n += 1
            aside = shelf / f"{stem}.{n}"
        os.rename(place, aside)
        write_text(shelf / f"{aside.name}.json", json.dumps({"run": run_id, "why": why}, indent=1))
        sync_folder(place.parent)
        return aside

    @contextmanager
    def lock(self, name: str, *, wait: bool = True) -> Iterator[None]:
        """Holds the lock of a run (or of a cache entry). Raises `Busy` where it is taken and ``wait`` is false."""
        with held(self.root / "locks" / f"{name}.lock", wait=wait):
            yield

    @contextmanager
    def writing(self, run_id: str) -> Iterator[Path]:
        """A folder to fill, which becomes the run's when the block ends well, under its manifest. Hold the run's lock.

        What already lies in the run's place is moved aside, unless another process has finished the run meanwhile
        (on a file system without locks): then that one stays.
        """
        checked_id(run_id)
        (self.root / "tmp").mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f"{run_id}.", dir=self.root / "tmp"))
        try:
            yield temporary
            if (temporary / manifest.INFO).is_file():
                manifest.seal(temporary)
            _sync(temporary)
            final = self.folder(run_id)
            final.parent.mkdir(parents=True, exist_ok=True)
            try:
                other = self.found(run_id, RunRecord(temporary).recipe)
            except Damaged as damaged:
                self.set_aside(run_id, damaged.why)
                other = None
            if other is None:
                os.replace(temporary, final)
                sync_folder(final.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def sweep(self) -> int:
        """Removes what killed processes left under ``tmp`` and gives its number; without locks it removes nothing."""
        removed = 0
        if not locks_work(self.root / "locks"):
            return removed  # nothing tells the dead from the living
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
        for leftover in (self.root / "locks").glob("*.lock"):
            with contextlib.suppress(Busy), held(leftover, wait=False):
                pass  # whoever lets go of a lock removes its file
        return removed

    def note_failure(self, run_id: str, failure: Mapping[str, Any]) -> None:
        """Keeps why a run failed, for whoever looks."""
        write_text(self.root / "failures" / f"{checked_id(run_id)}.json", json.dumps(failure, indent=1))

    def clear_failure(self, run_id: str) -> None:
        """Forgets a failure: the run is tried again."""
        (self.root / "failures" / f"{checked_id(run_id)}.json").unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Everything in the folder onto the disk: files first, then the folders that name them."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_file():
            with open(path, "rb+") as handle:
                os.fsync(handle.fileno())
        else:
            sync_folder(path)
