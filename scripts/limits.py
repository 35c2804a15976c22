"""Limits that no linter knows, and what is still hidden from the linter. `benchmarks/house.py` has the sizes.

    python scripts/limits.py check    exit status 1 where a limit is broken (part of `make lint`)
    python scripts/limits.py left     what the rooms that are not clean yet still hide, room by room (`make left`)

The limits: files of at most 400 lines, functions of at most 60 code lines, no comment that switches the formatter
off. Rooms that are not clean yet are listed in pyproject.toml, under [tool.disobey.house].
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("src", "tests", "benchmarks", "examples", "docs", "scripts")
MAX_FILE, MAX_FUNCTION = 400, 60
SKIP = re.compile(r"(?<![\"'])#\s*fmt:\s*(skip|off)")


def sources(root: Path, *folders: str) -> list[Path]:
    """Python files below the folders of a checkout."""
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py") if "_build" not in path.parts)


def room(path: Path, root: Path) -> str:
    """The room of a file: a folder of the package or of the tests, or a top-level folder."""
    parts = path.relative_to(root).parts
    depth = {"src": 3, "tests": 2}.get(parts[0], 1)
    return "/".join(parts[:depth])


def long_functions(path: Path) -> Iterator[tuple[int, str, int]]:
    """(line, name, code lines) of every function beyond the limit."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (n := code_lines(node, lines)) > MAX_FUNCTION:
            yield node.lineno, node.name, n


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """Lines of a function without its docstring, blank lines and whole-line comments."""
    doc = node.body[0] if ast.get_docstring(node) is not None else None
    skipped = range(doc.lineno, (doc.end_lineno or doc.lineno) + 1) if doc else range(0)
    wanted = (lines[n - 1].strip() for n in range(node.lineno, (node.end_lineno or 0) + 1) if n not in skipped)
    return sum(1 for line in wanted if line and not line.startswith("#"))


def broken(root: Path) -> dict[str, list[str]]:
    """Every break of a limit, by room."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sources(root, *FOLDERS):
        where = path.relative_to(root)
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > MAX_FILE:
            found[room(path, root)].append(f"{where}: {len(lines)} lines, at most {MAX_FILE}")
        for n, line in enumerate(lines, start=1):
            if SKIP.search(line):
                found[room(path, root)].append(f"{where}:{n}: the formatter is switched off")
        for line, name, n in long_functions(path):
            found[room(path, root)].append(f"{where}:{line}: {name} has {n} code lines, at most {MAX_FUNCTION}")
    return dict(found)


def not_yet(root: Path) -> list[str]:
    """The rooms and files that pyproject.toml excuses for now."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return settings.get("tool", {}).get("disobey", {}).get("house", {}).get("not-yet", [])


def check() -> int:
    """Prints every break outside the excused rooms; gives the exit status."""
    excused = tuple(not_yet(ROOT))
    lines = [line for found in broken(ROOT).values() for line in found if not line.startswith(excused)]
    print("\n".join(lines) or "house rules: kept")
    return int(bool(lines))


def left() -> int:
    """Prints what is hidden from ruff, from `check` and from pyright's strict mode, room by room."""
    command = [sys.executable, "-m", "ruff", "check", "--output-format", "json", "--exit-zero", *FOLDERS]
    always = {"tests/**": ["D", "ARG"]}
    ignores = json.dumps(always).replace(": [", " = [")  # the same list as a TOML table
    told = subprocess.run(
        [*command, "--config", f"lint.per-file-ignores = {ignores}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    rules: dict[str, Counter[str]] = defaultdict(Counter)
    for finding in json.loads(told.stdout):
        rules[room(Path(finding["filename"]), ROOT)][finding["code"]] += 1
    limits = broken(ROOT)
    for name in sorted({*rules, *limits}):
        counted = ", ".join(f"{code} {n}" for code, n in rules[name].most_common())
        print(f"{name}: {sum(rules[name].values())} of ruff ({counted or 'none'})")
        for line in limits.get(name, []):
            print(f"    {line}")
    print("pyright in strict mode is asked room by room: .venv/bin/pyright after adding the room to `strict`")
    return 0


def main(arguments: list[str]) -> int:
    """Runs one verb; gives the exit status."""
    match arguments:
        case ["check"]:
            return check()
        case ["left"]:
            return left()
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
