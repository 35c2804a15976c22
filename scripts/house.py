"""What the house rules ask of the sources, counted from the syntax trees.

    python scripts/house.py check           exit status 1 where a limit is broken (part of `make lint`)
    python scripts/house.py left            what the rooms that are not clean yet still hide, room by room
    python scripts/house.py table [ROOT]    sizes, arrows, circles, documentation; ROOT is another checkout

The limits: files of at most 400 lines, functions of at most 60 code lines, no `# fmt: skip`. Rooms that are not clean
yet are listed in pyproject.toml, under [tool.disobey.house].
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
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("src", "tests", "benchmarks", "examples", "docs", "scripts")
MAX_FILE, MAX_FUNCTION, MAX_LINE = 400, 60, 120
SKIP = re.compile(r"#\s*fmt:\s*(skip|off)")


@dataclass(frozen=True)
class Function:
    """A function or method: its place, its size and what its docstring has."""

    path: Path
    name: str
    line: int
    code_lines: int
    public: bool
    documented: bool
    arguments: bool  # whether it has arguments besides self and cls
    sections: bool  # whether the docstring has an Args section


def sources(root: Path, *folders: str) -> list[Path]:
    """Python files below the folders of a checkout."""
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py") if "_build" not in path.parts)


def room(path: Path, root: Path) -> str:
    """The room of a file: a folder of the package or of the tests, or a top-level folder."""
    parts = path.relative_to(root).parts
    depth = {"src": 3, "tests": 2}.get(parts[0], 1)
    return "/".join(parts[:depth])


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[Function]:
    """Every function and method of a file, nested ones too."""
    lines = path.read_text(encoding="utf-8").splitlines()
    yield from _functions(tree(path), path, lines, public=True)


def _functions(node: ast.AST, path: Path, lines: list[str], *, public: bool) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            seen = public and not child.name.startswith("_")
            doc = ast.get_docstring(child) or ""
            named = [a.arg for a in (*child.args.posonlyargs, *child.args.args, *child.args.kwonlyargs)]
            size = _code_lines(child, lines)
            has_arguments = bool(set(named) - {"self", "cls"})
            sections = "Args:" in doc
            yield Function(path, child.name, child.lineno, size, seen, bool(doc), has_arguments, sections)
            yield from _functions(child, path, lines, public=False)
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, path, lines, public=public and not child.name.startswith("_"))
        else:
            yield from _functions(child, path, lines, public=public)


def _code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """Lines of a function without its docstring, blank lines and whole-line comments."""
    body = node.body
    skipped: set[int] = set()
    if ast.get_docstring(node) is not None:
        skipped = set(range(body[0].lineno, (body[0].end_lineno or body[0].lineno) + 1))
    wanted = (n for n in range(node.lineno, (node.end_lineno or node.lineno) + 1) if n not in skipped)
    return sum(1 for n in wanted if lines[n - 1].strip() and not lines[n - 1].strip().startswith("#"))


def broken(root: Path) -> dict[str, list[str]]:
    """Every break of a limit, by room."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sources(root, *FOLDERS):
        where = path.relative_to(root)
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > MAX_FILE:
            found[room(path, root)].append(f"{where}: {len(lines)} lines, at most {MAX_FILE}")
        for n, line in enumerate(lines, start=1):
            if SKIP.search(line) and path != Path(__file__).resolve():
                found[room(path, root)].append(f"{where}:{n}: the formatter is switched off")
        for function in functions(path):
            if function.code_lines > MAX_FUNCTION:
                text = f"{where}:{function.line}: {function.name} has {function.code_lines} code lines"
                found[room(path, root)].append(f"{text}, at most {MAX_FUNCTION}")
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


def imports(root: Path) -> dict[str, set[str]]:
    """Which module of the package imports which: dotted names, ``TYPE_CHECKING`` included."""
    package = root / "src"
    modules = {".".join(p.relative_to(package).with_suffix("").parts): p for p in sources(root, "src")}
    known = {name.removesuffix(".__init__"): name for name in modules}
    arrows: dict[str, set[str]] = {name: set() for name in modules}
    for name, path in modules.items():
        for node in ast.walk(tree(path)):
            targets: list[str] = []
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                targets = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            arrows[name] |= {known[target] for target in targets if target in known} - {name}
    return arrows


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules that reach each other."""
    reach: dict[str, set[str]] = {}
    for start in arrows:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for target in arrows[waiting.pop()] - seen:
                seen.add(target)
                waiting.append(target)
        reach[start] = seen
    found: list[set[str]] = []
    for start in arrows:
        group = {other for other in reach[start] if start in reach[other]}
        if group and group not in found:
            found.append(group)
    return found


def table(root: Path) -> int:
    """Prints the sizes of a checkout: one line a number."""
    arrows = imports(root)
    every = [function for path in sources(root, "src") for function in functions(path)]
    public = [function for function in every if function.public]
    documented = [function for function in public if function.documented]
    with_arguments = [function for function in documented if function.arguments]
    lines = {path: path.read_text(encoding="utf-8").splitlines() for path in sources(root, *FOLDERS)}
    print(f"files in src: {len(sources(root, 'src'))}, lines {sum(len(lines[p]) for p in sources(root, 'src')):,}")
    for folder in ("studies", "training", "diagnosis"):
        inside = {name for name in arrows if name.startswith(f"disobey.{folder}.")}
        between = sum(len(arrows[name] & inside) for name in inside)
        loops = [group for group in circles(arrows) if group & inside]
        rooms = {name.split(".")[2] for name in inside}
        size = sum(len(lines[path]) for path in sources(root, f"src/disobey/{folder}"))
        print(
            f"{folder}: {len(inside)} files in {len(rooms)} rooms, {size:,} lines, {between} arrows, {len(loops)} circles"
        )
    for kind in ("claims", "tables", "charts"):
        size = sum(len(lines[p]) for p in sources(root, "src/disobey/studies") if p.stem.startswith(kind))
        print(f"studies' {kind}*.py: {size:,} lines")
    print(f"circles in the package: {len(circles(arrows))}")
    print(f"modules over {MAX_FILE} lines: {sum(len(text) > MAX_FILE for text in lines.values())}")
    over = sum(f.code_lines > MAX_FUNCTION for path in lines for f in functions(path))
    print(f"functions over {MAX_FUNCTION} code lines: {over}")
    print(f"lines over {MAX_LINE} characters: {sum(len(line) > MAX_LINE for text in lines.values() for line in text)}")
    print(f"formatter switched off: {sum(bool(SKIP.search(line)) for text in lines.values() for line in text)}")
    print(f"public functions documented: {len(documented)} of {len(public)} ({len(documented) / len(public):.0%})")
    sections = sum(function.sections for function in with_arguments)
    print(f"documented ones that take arguments and have an Args section: {sections} of {len(with_arguments)}")
    return 0


def main(arguments: list[str]) -> int:
    """Runs one verb; gives the exit status."""
    match arguments:
        case ["check"]:
            return check()
        case ["left"]:
            return left()
        case ["table", *root]:
            return table(Path(root[0]).resolve() if root else ROOT)
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
