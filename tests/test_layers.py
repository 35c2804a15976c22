"""The import rule of the design, enforced on the syntax trees."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "disobey"
EVERYTHING = {
    "data",
    "models",
    "targets",
    "records",
    "training",
    "measures",
    "theory",
    "figures",
    "studies",
    "diagnosis",
    "reports",
    "integrations",
    "cli",
}
ALLOWED = {
    "data": set(),
    "models": set(),
    "targets": set(),
    "records": set(),
    "theory": set(),
    "training": {"data", "models", "targets", "records", "measures"},
    "measures": {"records"},
    "figures": {"records", "measures"},
    "studies": {"data", "models", "targets", "records", "training", "measures", "theory", "figures"},
    "diagnosis": {"records", "measures", "figures"},
    "reports": {"records"},
    "integrations": {"targets", "records", "measures", "diagnosis"},
    "cli": EVERYTHING,
}
PARTS = {"diagnosis": "disobey.data.formats."}  # the bounded readers, which know no data set
# What a bare GPU image has; everything else stays in the cli, reports and training/execution/workers.py.
BARE = {"numpy", "scipy", "torch", "safetensors", "sklearn", "filelock"}
OPTIONAL = {  # imported inside functions only, where the user asked for them
    "data": {"datasets", "PIL", "pyarrow"},
    "models": {"timm", "transformers", "triton"},
    "training": {"loky", "ray", "submitit"},
    "diagnosis": {"pyarrow", "transformers", "datasets", "PIL"},
    "records": {"pyarrow"},
}


LAZY = {
    "models/recurrent/scan_triton.py",
    "models/recurrent/walk_triton.py",
}  # imported inside functions only, so what they need may stand at their top


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, at top level?) of every import, relative ones made absolute."""
    tree = ast.parse(path.read_text())
    top = {id(node) for node in tree.body}
    package = ["disobey", *path.relative_to(PACKAGE).parent.parts]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(package[: len(package) - node.level + 1] + ([base] if base else []))
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "disobey" else [base]
            found += [(name, id(node) in top) for name in names]
    return found


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_import_rule(path: Path):
    import sys

    folder = path.relative_to(PACKAGE).parts[0]
    for module, top in imports(path):
        parts = module.split(".")
        if parts[0] == "disobey":
            target = parts[1] if len(parts) > 1 else ""
            if folder in PARTS and module.startswith(PARTS[folder]):
                continue
            assert target in ALLOWED[folder] | {folder} or target not in EVERYTHING, (
                f"{path.name} imports {module}: {folder} may import {sorted(ALLOWED[folder])}"
            )
        elif folder not in ("cli", "reports", "integrations") and parts[0] not in sys.stdlib_module_names:
            if folder == "theory":
                assert parts[0] in {"numpy", "scipy"}, f"theory imports {module}"
            elif parts[0] not in BARE:
                assert parts[0] in OPTIONAL.get(folder, set()), f"{path.name} imports {module}"
                assert not top or str(path.relative_to(PACKAGE)) in LAZY, (
                    f"{path.name} imports {module} at its top: import it where it is used"
                )


def test_every_file_is_in_a_known_folder():
    folders = {p.relative_to(PACKAGE).parts[0] for p in FILES}
    assert folders <= EVERYTHING


# --- no circles between files ---------------------------------------------------------------------------------------


def module_of(path: Path, root: Path) -> str:
    """Dotted name of a file; a package is called by its folder."""
    parts = ["disobey", *path.relative_to(root).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs, or is typed, when the file is imported: all but the bodies of functions."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from outside_functions(child)


def arrows(root: Path) -> dict[str, set[str]]:
    """Module -> modules of the package that it imports outside functions, under TYPE_CHECKING too.

    ``from package import name`` leads to the submodule of that name where there is one, else to the package's own file.
    """
    files = {module_of(path, root): path for path in root.rglob("*.py")}
    graph: dict[str, set[str]] = {module: set() for module in files}
    for module, path in files.items():
        package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
        for node in outside_functions(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                graph[module] |= {alias.name for alias in node.names} & set(files)
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                origin = ".".join([*base, *([node.module] if node.module else [])])
                names = [f"{origin}.{alias.name}" for alias in node.names]
                graph[module] |= {name if name in files else origin for name in names} & set(files)
    return graph


def circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of imports, first and last the same; empty where there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_no_files_import_each_other_in_a_circle():
    found = circle(arrows(PACKAGE))
    assert not found, "a circle of imports: " + " <- ".join(found)


@pytest.mark.parametrize(
    ("second", "closed"),
    [
        ("from disobey.first import a", True),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from disobey.first import a", True),
        ("class Box:\n    from . import first", True),
        ("def f():\n    from disobey.first import a", False),
        ("import disobey.third", False),
    ],
)
def test_a_planted_circle_is_found(tmp_path, second, closed):
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "first.py").write_text("from disobey import second\na = 1\n")
    (tmp_path / "second.py").write_text(second + "\n")
    (tmp_path / "third.py").write_text("")
    assert sorted(set(circle(arrows(tmp_path)))) == (["disobey.first", "disobey.second"] if closed else [])
