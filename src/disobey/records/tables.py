"""Large arrays that are kept because computing them again takes longer: beside each a note with its size and hash.

An array without a note, with another content than its note says, or made from other files than asked for counts as
not there: it is made anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import read_bounded
from disobey.errors import Refusal
from disobey.records.decoding import parse_json
from disobey.records.files import atomic, write_text
from disobey.records.manifest import digest


def note_of(path: Path) -> Path:
    """Where the note of an array lies."""
    return path.with_suffix(".json")


def write_table(path: Path, array: NDArray, of: Mapping[str, str]) -> None:
    """The array and its note. of: what it was made from, by name (a teacher's id and the hash of its weights)."""
    note_of(path).unlink(missing_ok=True)  # a kill between the two leaves an array without a note, never a wrong one
    with atomic(path) as temporary:
        with open(temporary, "wb") as file:
            np.save(file, array)
        about = {"bytes": temporary.stat().st_size, "sha256": digest(temporary), "of": dict(of)}
    write_text(note_of(path), json.dumps(about, indent=1))


def read_table(path: Path, of: Mapping[str, str] | None = None) -> NDArray | None:
    """The array as it was written, or None where there is none, or none that can be believed."""
    about = read_note(path)
    try:
        sound = about is not None and path.stat().st_size == about["bytes"] and digest(path) == about["sha256"]
        if not sound or (of is not None and about is not None and about["of"] != dict(of)):
            return None
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None


def read_note(path: Path) -> dict[str, Any] | None:
    """An array's note, or None where there is none that can be read."""
    try:
        about = parse_json(read_bounded(note_of(path), 1 << 20), "JSON")
    except (OSError, Refusal):
        return None
    whole = isinstance(about, dict) and {"bytes", "sha256", "of"} <= about.keys() and isinstance(about["of"], dict)
    return about if whole else None
