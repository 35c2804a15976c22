"""Writes docs/studies.md from the code: every study with its question, its options and their defaults.

python docs/build.py [--check]   (--check: exit 1 where the page is not what the code says)
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from disobey.studies import STUDIES
from disobey.studies.kit.options import options
from disobey.studies.kit.study import Study

PAGE = Path(__file__).parent / "studies.md"


def section(study: type[Study]) -> str:
    lines = [f"## {study.name}", "", f"*{study.question}*", "", inspect.cleandoc(study.__doc__ or ""), ""]
    if study.presets:
        lines += [f"Presets (`--preset NAME`): {', '.join(f'`{name}`' for name in study.presets)}.", ""]
    lines += ["| option | default | meaning |", "|---|---|---|"]
    lines += [f"| `{option.flag}` | {option.default()} | {option.words} |" for option in options(study())]
    return "\n".join(lines)


def page() -> str:
    head = (
        "# Studies\n\nMade by `make docs` from the code. `disobey run STUDY` runs one; common options: `--out`, "
        "`--workers`, `--device`, `--quiet`, `--dry-run`, `--smoke`, `--json`.\n\n"
    )
    return head + "\n\n".join(section(study) for study in STUDIES.values()) + "\n"


if __name__ == "__main__":
    text = page()
    if "--check" in sys.argv:
        sys.exit(
            0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text else "docs/studies.md is stale: make docs"
        )
    PAGE.write_text(text, encoding="utf-8")
