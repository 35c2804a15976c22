"""The scripts that a report carries, packed once for each version of the packer and kept.

Packing takes longer than a small diagnosis. What is kept begins with its own hash: a file that is cut short or edited
is packed anew, and where nothing can be kept every process packs for itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from functools import cache
from importlib.metadata import version
from pathlib import Path

import vl_convert

from disobey.records.files import write_text
from disobey.reports.svg import VEGA_LITE

HEAD = "// sha256 "


@cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, with the interpreter that needs no ``eval``.

    Takes a second where it is not kept yet, in which other threads run: who has something else to do asks for it there,
    once, ahead of time.
    """
    place = kept_at()
    found = kept(place)
    if found is None:
        found = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE)
        with contextlib.suppress(OSError):
            write_text(place, f"{HEAD}{_digest(found)}\n{found}")
    for ending in ("</script", "<!--"):
        assert ending not in found.lower(), f"{ending} in the bundle would end its own script element"
    return found


def kept_at() -> Path:
    """The file in the user's folder for what can be made again."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "disobey" / f"vega-{VEGA_LITE}-{version('vl-convert-python')}.js"


def kept(place: Path) -> str | None:
    """The script that was kept there; None where there is none, or another one than was written."""
    try:
        head, _, script = place.read_bytes().decode("utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return script if head == HEAD + _digest(script) else None


def _digest(script: str) -> str:
    return hashlib.sha256(script.encode("utf-8")).hexdigest()
