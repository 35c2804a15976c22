"""Writes the pages that are made from the code, and the site.

python docs/build.py             writes the generated pages that are kept (studies, experiments, gallery)
python docs/build.py --check     exit status 1 where one of them is not what the code says
python docs/build.py --site OUT  builds the site into OUT; warnings are errors, no network is needed
python docs/build.py --gallery OUT [NAME ...]  repeats the runs of the gallery in OUT and keeps results and pictures
"""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "src")]

from generate import exhibits, experiments, gallery, studies  # noqa: E402


def pages() -> dict[str, str]:
    """Text of every generated page that is kept in the repository, by its path below docs/."""
    entries = experiments.entries(DOCS / "experiments")
    made = {"experiments/index.md": experiments.index(entries), "gallery/index.md": gallery.index(DOCS / "gallery")}
    return made | studies.pages(entries, set(gallery.names(DOCS / "gallery")))


def stale() -> list[str]:
    """Generated pages that differ from what the code says, and kept ones that it no longer makes."""
    made = pages()
    kept = {str(path.relative_to(DOCS)) for path in (DOCS / "studies").glob("*.md")}
    differ = [n for n, text in made.items() if not (DOCS / n).is_file() or (DOCS / n).read_text("utf-8") != text]
    return sorted({*differ, *(kept - made.keys())})


def write() -> None:
    """Writes the generated pages and removes those that are no longer made."""
    made = pages()
    for path in (DOCS / "studies").glob("*.md"):
        if str(path.relative_to(DOCS)) not in made:
            path.unlink()
    for name, text in made.items():
        (DOCS / name).parent.mkdir(parents=True, exist_ok=True)
        (DOCS / name).write_text(text, encoding="utf-8")


def site(out: Path) -> int:
    """Builds the site; gives the exit status."""
    from sphinx.cmd.build import build_main

    return build_main(["-b", "html", "-W", "--keep-going", "-q", "-j", "auto", str(DOCS), str(out)])


def main(arguments: list[str]) -> int:
    """Runs one of these; gives the exit status."""
    match arguments:
        case []:
            write()
        case ["--check"]:
            if found := stale():
                print(f"stale: {', '.join(found)}; try make docs", file=sys.stderr)
                return 1
        case ["--site", out]:
            return site(Path(out))
        case ["--gallery", out, *names]:
            for exhibit in exhibits.EXHIBITS:
                if not names or exhibit.name in names:
                    exhibits.make(exhibit, DOCS / "gallery", Path(out).resolve())
            write()
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
