"""Makes the gallery's reports: runs a command, keeps its result and a picture of its first page."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SIZE = (1280, 1150)  # of the picture, in pixels


@dataclass(frozen=True)
class Exhibit:
    """A report of the gallery: its folder's name, the command behind it, what has to run before."""

    name: str
    command: str
    before: str = ""


EXHIBITS = (
    Exhibit("digits-pair", "disobey diagnose digits-pair.npz", "examples/digits_pair.py"),
    Exhibit("deviation", "disobey run deviation"),
    Exhibit("loss-switching", "disobey run loss-switching"),
    Exhibit("data-size", "disobey run data-size"),
)


def make(exhibit: Exhibit, folder: Path, out: Path) -> None:
    """Runs an exhibit's command with its runs in ``out``, and fills its folder below ``folder``."""
    out.mkdir(parents=True, exist_ok=True)
    if exhibit.before:
        subprocess.run([sys.executable, str(ROOT / exhibit.before)], cwd=out, check=True)
    words = exhibit.command.split()[1:]
    code = "import sys; from disobey.cli.main import entry; sys.argv[0] = 'disobey'; entry()"
    place = out / exhibit.name if words[0] == "diagnose" else out
    told = subprocess.run(
        [sys.executable, "-c", code, *words, "--out", str(place)],
        cwd=out,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    report = Path(told.stdout.rsplit("report: ", 1)[1].split("\n", 1)[0].strip())
    keep(exhibit, report if report.is_absolute() else out / report, folder / exhibit.name)


def keep(exhibit: Exhibit, report: Path, folder: Path) -> None:
    """Copies a finished report's result and provenance, and takes its picture."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(json.loads((report.parent / "result.json").read_text("utf-8")), ensure_ascii=False)
    (folder / "result.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    about = json.loads((report.parent / "provenance.json").read_text("utf-8")) | {"command": exhibit.command}
    about.pop("runs", None)  # names of runs in a store that nobody else has
    (folder / "provenance.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    picture(report, folder / "report.png")
    if exhibit == EXHIBITS[0]:  # the picture of the index and of the README: its first screen
        picture(report, folder.parents[1] / "images" / "report.png", (1280, 1130))


def picture(report: Path, path: Path, size: tuple[int, int] = SIZE) -> None:
    """A picture of a page's top, in few colours. Raises `FileNotFoundError` where there is no Chromium."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise FileNotFoundError("expected Chromium for the picture; got none; try installing it")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=4000"]
    window = f"--window-size={size[0]},{size[1]}"
    page = report.resolve().as_uri()
    subprocess.run([browser, *flags, window, f"--screenshot={path}", page], check=True, capture_output=True)
    from PIL import Image

    with Image.open(path) as taken:
        few = taken.convert("RGB").quantize(96, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
