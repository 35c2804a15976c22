"""A registration: what a study says beforehand about its claims, as JSON under a hash of its own.

The hash covers everything in the file, the date too, so that nothing can be changed afterwards without another hash. It
does not prove when the file was written: only a hash that was made public then (in a commit, an e-mail, a forum) does.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from disobey.bounds import read_bounded
from disobey.errors import Refusal, refusal
from disobey.records.decoding import Rules, decode, parse_json
from disobey.records.files import write_text

LARGEST = 1 << 24  # bytes of a registration
DATE = "%Y-%m-%dT%H:%M:%SZ"
_RULES = Rules(id="not-a-registration", open_floats=True)


@dataclass(frozen=True)
class Registration:
    """What was said before.

    Attributes:
        study: its name.
        question: what it asks.
        claims: for each id its text, its source and its rule (words and values).
        settings: every option of the study but its seeds.
        seeds: those that the study begins with.
        stopping: when no more seeds are added, where it is not a fixed number of them.
        date: when it was written, in UTC.
    """

    study: str
    question: str
    claims: Mapping[str, Any]
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    stopping: Mapping[str, Any]
    date: str

    @property
    def sha256(self) -> str:
        """Of the canonical JSON of everything else."""
        text = json.dumps(plain(asdict(self)), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def words(self) -> str:
        """What a claim says of it: ``registered 2026-11-28T20:00:00Z, sha256 0123456789ab``."""
        return f"registered {self.date}, sha256 {self.sha256[:12]}"

    def write(self, path: Path) -> None:
        """Writes it with its hash. Raises `Refusal` where a file is there: what was said is not said anew."""
        if path.exists():
            expected = "a place without a file: what was said before is not overwritten"
            raise refusal("registered-already", expected, "a file", "--file with another name", where=path)
        text = json.dumps(plain(asdict(self)) | {"sha256": self.sha256}, indent=1, sort_keys=True, ensure_ascii=False)
        write_text(path, text + "\n")

    @classmethod
    def read(cls, path: Path) -> Registration:
        """Reads a file. Raises `Refusal` where it is none or does not fit its hash (``tampered-registration``)."""
        what = "a registration that `disobey register` wrote"
        try:
            value = parse_json(read_bounded(path, LARGEST), what, id=_RULES.id, where=path)
        except OSError as error:
            raise refusal(_RULES.id, what, error.strerror or error, where=path) from None
        if not isinstance(value, dict) or not isinstance(value.get("sha256"), str):
            raise refusal(_RULES.id, what, "something else", "disobey register", where=path)
        said = value.pop("sha256")
        try:
            found = decode(value, cls, "registration", _RULES)
            assert isinstance(found, cls)
            time.strptime(found.date, DATE)
        except Refusal:
            raise
        except ValueError as error:
            raise refusal(_RULES.id, f"a date like {now()}", error, where=path) from None
        if found.sha256 != said:
            expected = f"content with the hash that it names, {said[:12]}…"
            attempt = "the file as it was written"
            raise refusal("tampered-registration", expected, f"{found.sha256[:12]}…: changed", attempt, where=path)
        return found

    def differences(self, run: Registration) -> tuple[str, ...]:
        """What differs in what is run now, one sentence each; the dates may."""
        found = [] if self.study == run.study else [f"study: {self.study} registered, {run.study} now"]
        for kind, one in (("claims", "claim "), ("settings", "setting "), ("stopping", "stopping ")):
            said, current = plain(getattr(self, kind)), plain(getattr(run, kind))
            names = [name for name in sorted(said.keys() | current.keys()) if said.get(name) != current.get(name)]
            found += [f"{one}{name}: {_difference(said, current, name)}" for name in names]
        if self.seeds != run.seeds:
            found.append(f"seeds: {_seeds(self.seeds)} registered, {_seeds(run.seeds)} now")
        return tuple(found)


def now() -> str:
    """The time, in UTC."""
    return time.strftime(DATE, time.gmtime())


def plain(value: Any) -> Any:
    """A value as JSON holds it: lists for tuples, objects for dataclasses, null for a number that is none."""
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        return {"type": type(value).__name__} | {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return getattr(value, "__qualname__", str(value))


def _difference(said: Mapping[str, Any], current: Mapping[str, Any], name: str) -> str:
    if name not in said:
        return "not registered"
    if name not in current:
        return "registered, and not there now"
    a, b = said[name], current[name]
    if isinstance(a, dict) and isinstance(b, dict):
        parts = [key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]
        return "; ".join(f"{key} {a.get(key)!r} registered, {b.get(key)!r} now" for key in parts)
    return f"{a!r} registered, {b!r} now"


def _seeds(seeds: tuple[int, ...]) -> str:
    return " ".join(map(str, seeds))
