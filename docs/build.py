"""Writes docs/studies.md from the code: every study with its question, its options and their defaults.

python docs/build.py [--check]   (--check: exit 1 where the page is not what the code says)
"""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

from disobey.studies import STUDIES
from disobey.studies.kit.study import Study

PAGE = Path(__file__).parent / "studies.md"


def options(kind: type, default: object = None) -> list[tuple[str, str, str]]:
    """(option, default, what it means) of every field; nested settings are flat, as on the command line."""
    words = dict(re.findall(r'^    (\w+): [^\n]*\n    """(.+?)"""', inspect.getsource(kind), re.M | re.S))
    rows = []
    instance = kind() if default is None else default
    for field in fields(kind):  # type: ignore[arg-type]
        if not field.metadata.get("option", True):
            continue
        value = getattr(instance, field.name)
        if is_dataclass(value):
            rows += options(type(value), value)
            continue
        text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        meaning = " ".join(words.get(field.name, "").split())
        rows.append((f"--{field.name.replace('_', '-')}", text or "by the kind of data", meaning))
    return rows


def section(study: type[Study]) -> str:
    lines = [f"## {study.name}", "", f"*{study.question}*", "", inspect.cleandoc(study.__doc__ or ""), ""]
    if study.presets:
        lines += [f"Presets (`--preset NAME`): {', '.join(f'`{name}`' for name in study.presets)}.", ""]
    lines += ["| option | default | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {default} | {meaning} |" for name, default, meaning in options(study)]
    return "\n".join(lines)


def page() -> str:
    head = (
        "# Studies\n\nMade by `make docs` from the code. `disobey run STUDY` runs one; common options: `--out`, `--workers`, "
        "`--device`, `--quiet`, `--dry-run`, `--smoke`, `--json`.\n\n"
    )
    return head + "\n\n".join(section(study) for study in STUDIES.values()) + "\n"


if __name__ == "__main__":
    text = page()
    if "--check" in sys.argv:
        sys.exit(
            0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text else "docs/studies.md is stale: make docs"
        )
    PAGE.write_text(text, encoding="utf-8")
