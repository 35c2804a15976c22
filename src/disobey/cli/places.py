"""Whether files can be written to a place, found out before anything is computed and without writing anything."""

from __future__ import annotations

import os
from pathlib import Path

from disobey.errors import refusal


def obstacle(folder: Path) -> tuple[str, Path] | None:
    """What keeps a folder, new or existing, from being written to: a refusal's id, and the path that is in the way."""
    there = next(p for p in (folder, *folder.absolute().parents) if os.path.lexists(p))
    if not there.is_dir():
        return "not-a-folder", there
    return None if os.access(there, os.W_OK | os.X_OK) else ("read-only", there)


def refuse_unwritable(folder: Path, option: str) -> None:
    """Raises `Refusal` where a folder cannot be written to."""
    match obstacle(folder):
        case ("not-a-folder", there):
            raise refusal(
                "not-a-folder", "a folder, new or existing", f"the file {there}", "another place", where=option
            )
        case ("read-only", there):
            got = f"{there}, which is read-only"
            raise refusal("read-only", "a folder that you may write to", got, f"{option} ELSEWHERE", where=option)
