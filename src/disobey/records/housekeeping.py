"""What a store holds and for whom: sizes by study, runs that no report names, damaged records; what could go."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from disobey.bounds import read_bounded
from disobey.errors import Refusal
from disobey.records import manifest
from disobey.records.decoding import parse_json
from disobey.records.locks import Busy
from disobey.records.manifest import Damaged
from disobey.records.runs import RunRecord
from disobey.records.store import Store
from disobey.records.tables import note_of, read_note, read_table


@dataclass(frozen=True)
class Item:
    """One thing in a store. ``why``: what is wrong with it, or why it may go."""

    path: Path
    bytes: int
    why: str = ""


@dataclass(frozen=True)
class Survey:
    """What is in a store. ``reports``: run ids by the report that names them, None where it names none (an old one)."""

    reports: dict[str, frozenset[str] | None]
    runs: dict[str, Item]
    tables: tuple[Item, ...]
    aside: tuple[Item, ...]  # damaged records that were moved away
    leftovers: tuple[Item, ...]  # of killed commands
    damaged: dict[str, str]  # run id: why; by size and seal, or by content where hashes were checked
    unverified: frozenset[str]  # written before there were manifests

    @property
    def named(self) -> frozenset[str]:
        """The runs that some report refers to."""
        return frozenset().union(*(runs or () for runs in self.reports.values()))

    @property
    def orphans(self) -> tuple[str, ...]:
        """The runs that no report refers to."""
        return tuple(sorted(self.runs.keys() - self.named))


def survey(store: Store, *, hashes: bool = False) -> Survey:
    """Looks at everything; ``hashes`` reads and verifies every file, which takes about a second a gigabyte."""
    runs = {path.name: Item(path, _size(path)) for path in _children(store.root / "runs")}
    damaged, unverified = {}, set()
    for name in runs:
        try:
            old = check(store, name, hashes=hashes)
        except (Damaged, Refusal) as error:
            damaged[name] = error.why if isinstance(error, Damaged) else str(error)
        else:
            if old:
                unverified.add(name)
    tables = [path for path in _children(store.root / "cache") if path.suffix == ".npy"]
    return Survey(
        reports=reports(store),
        runs=runs,
        tables=tuple(
            Item(path, _size(path) + _size(note_of(path)), _table_damage(path) if hashes else "") for path in tables
        ),
        aside=tuple(Item(path, _size(path)) for path in _children(store.root / "damaged")),
        leftovers=tuple(Item(path, _size(path)) for name in ("tmp", "resume") for path in _children(store.root / name)),
        damaged=damaged,
        unverified=frozenset(unverified),
    )


def check(store: Store, run_id: str, *, hashes: bool = True) -> bool:
    """Raises `Damaged` where a record is not as it was written. Whether that cannot be told, for want of a manifest."""
    record = store.found(run_id)
    if record is None:
        raise Damaged(str(store.folder(run_id)), "nothing")
    if hashes:
        for name in record.info.get("files", ()):
            if manifest.digest(record.path / name) != record.info["files"][name]["sha256"]:
                raise Damaged(str(record.path), f"{name} with other content than was written")
        if record.unverified:
            _readable(record)
    return record.unverified


def _readable(record: RunRecord) -> None:
    """Whether the files of a record without a manifest can be read at all: the most that can be checked."""
    for path in sorted(record.path.glob("predictions/*.npy")):
        split, _, step = path.stem.partition("@")
        record.log_probs(split, int(step) if step.isdigit() else None)
    _ = record.history
    record.weights()


def _table_damage(path: Path) -> str:
    if read_note(path) is None:
        return "no note of its content: made anew when it is needed"
    return "" if read_table(path) is not None else "other content than its note says: made anew when it is needed"


def reports(store: Store) -> dict[str, frozenset[str] | None]:
    """Which runs each report of the store was made from, as its provenance.json says."""
    found: dict[str, frozenset[str] | None] = {}
    for folder in _children(store.root / "reports"):
        if not folder.is_dir():
            continue
        try:
            about = parse_json(read_bounded(folder / "provenance.json", 1 << 26), "JSON")
            names = about["runs"] if isinstance(about, dict) else None
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                names = None
            found[folder.name] = None if names is None else frozenset(names)
        except (OSError, Refusal, KeyError):
            found[folder.name] = None
    return found


def removable(seen: Survey) -> list[Item]:
    """What no report refers to: orphaned runs, tables of their answers, damaged records, leftovers of killed commands.

    Nothing of the runs where a report does not name its runs (an older version's): they may be its own.
    """
    gone: list[Item] = [Item(item.path, item.bytes, "damaged, moved aside") for item in seen.aside]
    gone += [Item(item.path, item.bytes, "left by a killed command") for item in seen.leftovers]
    if any(runs is None for runs in seen.reports.values()):
        return gone
    gone += [Item(seen.runs[name].path, seen.runs[name].bytes, "no report refers to it") for name in seen.orphans]
    for table in seen.tables:
        note = read_note(table.path)
        if note is None or not set(note["of"]) <= seen.named:
            gone.append(Item(table.path, table.bytes, "a table for runs that no report refers to"))
    return gone


def remove(store: Store, items: Iterable[Item]) -> int:
    """Removes them, apart from what another process is at work on; the bytes that this freed."""
    freed = 0
    for item in items:
        name = item.path.name.split(".")[0]
        lock = f"cache-{name}" if item.path.parent.name == "cache" else name
        try:
            with store.lock(lock, wait=False):
                if item.path.is_dir() and not item.path.is_symlink():
                    shutil.rmtree(item.path)
                else:
                    item.path.unlink(missing_ok=True)
                    if item.path.parent.name == "cache":
                        note_of(item.path).unlink(missing_ok=True)
                freed += item.bytes
        except Busy:
            continue
    return freed


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _size(path: Path) -> int:
    """Bytes of a file or of all files in a folder; links are not followed."""
    try:
        if path.is_dir() and not path.is_symlink():
            return sum(_sizes(path))
        return path.lstat().st_size
    except OSError:
        return 0


def _sizes(folder: Path) -> Iterator[int]:
    for place, _, files in os.walk(folder):
        for name in files:
            yield os.lstat(os.path.join(place, name)).st_size
