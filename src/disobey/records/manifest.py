"""What a finished record consists of: every file's size and SHA-256, kept in its run.json under a seal of its own.

Nothing that was written down is believed unchecked: sizes are compared when a record is found, the hash when a file is
first read in a process. SHA-256 comes with Python and takes 0.2 ms for a record of 0.4 MB (benchmarks/store.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from disobey.bounds import read_bounded
from disobey.errors import Refusal, refusal
from disobey.records.decoding import Rules, decode, parse_json

INFO = "run.json"
LARGEST_INFO = 1 << 26  # bytes of a run.json
FILES = re.compile(
    r"(examples|history)\.safetensors|(predictions|weights|[a-z]{1,20})/[A-Za-z0-9_@.-]{1,80}|[a-z_]{1,40}\.[a-z]{1,12}"
)
RUN_ID = re.compile(r"[0-9a-z]{1,40}-s(0|[1-9][0-9]{0,18})")
_RULES = Rules(id="damaged-record", open_floats=True)
_FIELDS: Mapping[str, Any] = {
    "recipe": Mapping[str, Any],
    "name": str,
    "seed": int,
    "data": Mapping[str, str],
    "summary": Mapping[str, float],
    "cost": Mapping[str, Any],
    "environment": Mapping[str, Any],
    "files": Mapping[str, Mapping[str, Any]],
    "seal": str,
}
_ABOUT = {"bytes": int, "sha256": str}  # of every file
_verified: dict[str, tuple[int, int, int]] = {}  # what this process has hashed, as it was then


class Damaged(Refusal):
    """A record (or a table) that is not what was written: it counts as not finished.

    Attributes:
        path: the record's folder.
        why: what was found in it.
    """

    def __init__(self, path: str, why: str):
        attempt = "the same command again, which moves it aside and trains that run anew"
        self.sentence = str(refusal("", "a record as it was written", why, attempt, where=path))
        super().__init__("damaged-record", self.sentence)
        self.args = (path, why)  # so that it survives a trip between processes
        self.path, self.why = Path(path), why

    def __str__(self) -> str:
        return self.sentence


def checked_id(run_id: str) -> str:
    """The id itself. Raises `Refusal` where it could be a path."""
    if not RUN_ID.fullmatch(run_id):
        raise refusal("bad-run-id", "a run's id, KEY-sSEED with a seed from 0", repr(run_id)[:80])
    return run_id


def digest(path: Path) -> str:
    """SHA-256 of a regular file."""
    with open(path, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("not a regular file")
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and hash of every file of a record but its run.json, by the path within it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / INFO)
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": digest(path)} for path in files
    }


def seal(folder: Path) -> None:
    """Adds the manifest and its seal to the folder's run.json: the last thing before it becomes a record."""
    path = folder / INFO
    info = json.loads(path.read_text(encoding="utf-8"))
    info = {name: value for name, value in info.items() if name != "seal"} | {"files": describe(folder)}
    path.write_text(json.dumps(info | {"seal": seal_of(info)}, indent=1, allow_nan=False), encoding="utf-8")


def seal_of(info: Mapping[str, Any]) -> str:
    """SHA-256 of everything in a run.json but the seal."""
    rest = {name: value for name, value in info.items() if name != "seal"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read_info(folder: Path) -> dict[str, Any]:
    """A record's run.json, decoded and held against its seal. Raises `Damaged`.

    Records of versions before 0.2 have no manifest: they are read, and `unverified` says so.
    """
    path = folder / INFO
    try:
        info = parse_json(read_bounded(path, LARGEST_INFO), "JSON")
        if not isinstance(info, dict):
            raise refusal("", "an object", type(info).__name__)
        for name in ("recipe", "seed"):
            if name not in info:
                raise refusal("", f"a field {name!r}", "none")
        for name, hint in _FIELDS.items():
            if name in info:
                decode(info[name], hint, name, _RULES)
        if ("seal" in info) != ("files" in info) or ("seal" in info and info["seal"] != seal_of(info)):
            raise refusal("", "a run.json that fits its seal", "other bytes")
        for name, about in info.get("files", {}).items():
            if not FILES.fullmatch(name) or ".." in name or {k: type(v) for k, v in about.items()} != _ABOUT:
                raise refusal("", "a manifest of the record's own files", repr(name)[:80])
    except FileNotFoundError:
        raise Damaged(str(folder), "a folder without run.json") from None
    except OSError as error:
        raise Damaged(str(folder), f"a run.json that cannot be read ({error.strerror or error})") from None
    except (Refusal, RecursionError) as error:
        raise Damaged(str(folder), f"a damaged run.json ({error})") from None
    if info["seed"] < 0:
        raise Damaged(str(folder), f"the seed {info['seed']}")
    return info


def unverified(info: Mapping[str, Any]) -> bool:
    """Whether a record was written before there were manifests, so that nothing can tell whether it is as it was."""
    return "files" not in info


def check_sizes(folder: Path, info: Mapping[str, Any]) -> None:
    """Raises `Damaged` where a file is missing or has another size than the manifest says."""
    if unverified(info):
        return
    for name, about in info["files"].items():
        try:
            status = os.stat(folder / name)
        except OSError:
            raise Damaged(str(folder), f"no file {name}") from None
        if not stat.S_ISREG(status.st_mode) or status.st_size != about["bytes"]:
            raise Damaged(str(folder), f"{name} with {status.st_size:,} bytes instead of {about['bytes']:,}")


def verified(folder: Path, info: Mapping[str, Any], name: str) -> Path:
    """The file's path, once its content is what the manifest says. Hashed on the first read in a process.

    Raises `Damaged`.
    """
    path = folder / name
    try:
        status = os.stat(path)
        state = (status.st_ino, status.st_size, status.st_mtime_ns)
        if not stat.S_ISREG(status.st_mode):
            raise Damaged(str(folder), f"{name} is no regular file")
        if unverified(info) or _verified.get(str(path)) == state:
            return path
        if name not in info["files"]:
            raise Damaged(str(folder), f"{name}, which is not in its manifest")
        if digest(path) != info["files"][name]["sha256"]:
            raise Damaged(str(folder), f"{name} with other content than was written")
    except OSError as error:
        raise Damaged(str(folder), f"no {name} that can be read ({error.strerror or error})") from None
    _verified[str(path)] = state
    return path
