"""The shape of the source tree in numbers: rooms, arrows between files, circles, lengths, documented functions.

python benchmarks/house.py [SRC]          # SRC: a source tree, src/disobey by default; of any commit

Counted on the syntax trees, nothing is imported. Arrows are imports between files of one folder (packages included,
`TYPE_CHECKING` included). A function is long above 60 lines of code without its docstring, a module above 400 lines.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path

ROOMS = ("studies", "training", "diagnosis", "measures", "models", "data")
LONG_FUNCTION, LONG_MODULE, LONG_LINE = 60, 400, 120
Function = ast.FunctionDef | ast.AsyncFunctionDef


def module_name(path: Path, root: Path) -> str:
    """Dotted name below the package, a package's ``__init__`` under the package's own name."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Everything outside of functions: what runs, or is for the type checker, when a module is imported."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, Function):
            yield from at_import(child)


def rooms_of(name: str, room: str) -> str:
    """A file at the top of a folder, or the sub-folder that holds the module: what a reader meets as one thing."""
    return ".".join(name.removeprefix(f"{room}.").split(".")[:1])


def arrows(root: Path) -> dict[str, set[str]]:
    """Which modules of the package each of its modules imports."""
    names = {module_name(p, root): p for p in root.rglob("*.py")}
    found: dict[str, set[str]] = {}
    for name, path in names.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        wanted: set[str] = set()
        for node in at_import(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                wanted |= {alias.name.removeprefix(f"{root.name}.") for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    up = package.split(".")[: len(package.split(".")) - node.level + 1]
                    base = ".".join([*up, *([base] if base else [])])
                base = base.removeprefix(root.name).removeprefix(".")
                wanted |= {base, *(f"{base}.{alias.name}".strip(".") for alias in node.names)}
        found[name] = {w for w in wanted if w in names and w != name}
    return found


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules that import each other in a circle (strongly connected, more than one)."""
    reach: dict[str, set[str]] = {}

    def reachable(start: str) -> set[str]:
        if start not in reach:
            seen, todo = set(), [start]
            while todo:
                for nxt in graph[todo.pop()] - seen:
                    seen.add(nxt)
                    todo.append(nxt)
            reach[start] = seen
        return reach[start]

    found: list[set[str]] = []
    for name in graph:
        circle = {other for other in reachable(name) if name in reachable(other)}
        if len(circle) > 1 and circle not in found:
            found.append(circle)
    return found


def code_lines(node: Function) -> int:
    """Lines of a function without its docstring."""
    whole = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return whole - ((first.end_lineno or first.lineno) - first.lineno + 1) * doc


def functions(tree: ast.Module) -> Iterator[tuple[Function, bool]]:
    """(function, public?) of a module: top-level functions and methods; public where no name starts with _."""
    for node in tree.body:
        if isinstance(node, Function):
            yield node, not node.name.startswith("_")
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, Function):
                    yield inner, not (node.name.startswith("_") or inner.name.startswith("_"))


def report(root: Path) -> None:
    """Prints the tables."""
    graph = arrows(root)
    files = sorted(root.rglob("*.py"))
    print("| folder | rooms | arrows between rooms | files | lines | arrows between files | circles | files in them |")
    print("|---|---|---|---|---|---|---|---|")
    for room in ROOMS:
        inside = {n: {t for t in targets if t.startswith(room)} for n, targets in graph.items() if n.startswith(room)}
        found = circles(inside)
        paths = [p for p in files if p.relative_to(root).parts[0] == room and p.name != "__init__.py"]
        lines = sum(len(p.read_text(encoding="utf-8").splitlines()) for p in paths)
        count = sum(len(targets) for targets in inside.values())
        rooms = {rooms_of(name, room) for name in inside if name != room}
        between = {
            (rooms_of(n, room), rooms_of(t, room)) for n, targets in inside.items() for t in targets if n != room
        }
        between = {(a, b) for a, b in between if a != b and b != room}
        print(f"| {room} | {len(rooms)} | {len(between)} | {len(paths)} | {lines:,} | {count} | {len(found)} ", end="")
        print(f"| {sum(map(len, found))} |")
    trees = {p: ast.parse(p.read_text(encoding="utf-8")) for p in files}
    every = [(p, f, public) for p, tree in trees.items() for f, public in functions(tree)]
    public = [f for _, f, is_public in every if is_public]
    documented = [f for f in public if ast.get_docstring(f)]
    sections = [
        f for f in documented if any(s in (ast.get_docstring(f) or "") for s in ("Args:", "Returns:", "Raises:"))
    ]
    texts = {p: p.read_text(encoding="utf-8").splitlines() for p in files}
    long_lines = sum(len(line) > LONG_LINE for lines in texts.values() for line in lines)
    skips = sum("# fmt: skip" in line for lines in texts.values() for line in lines)
    print(f"\ncircles in the whole package: {len(circles(graph))}")
    print(f"modules over {LONG_MODULE} lines: {sum(len(lines) > LONG_MODULE for lines in texts.values())}")
    longest = sorted(((code_lines(f), f"{p.relative_to(root)}:{f.name}") for p, f, _ in every), reverse=True)
    over = sum(n > LONG_FUNCTION for n, _ in longest)
    print(f"functions over {LONG_FUNCTION} lines of code: {over}; longest {longest[0]}")
    print(f"lines over {LONG_LINE} characters: {long_lines}; formatter switched off: {skips}")
    print(f"public functions and methods: {len(public)}; documented {len(documented) / len(public):.1%}", end="; ")
    print(f"with a section on arguments, returns or errors {len(sections) / len(public):.1%}")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, default=Path(__file__).parents[1] / "src" / "disobey")
    report(parser.parse_args().source)


if __name__ == "__main__":
    main()
