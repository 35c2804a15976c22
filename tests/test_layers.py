"""The import rule of the design, enforced on the syntax trees."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "disobey"
EVERYTHING = {
    "data", "models", "targets", "records", "training", "measures",
    "theory", "figures", "studies", "diagnosis", "reports", "integrations", "cli",
}  # fmt: skip
ALLOWED = {
    "data": set(),
    "models": set(),
    "targets": set(),
    "records": set(),
    "theory": set(),
    "training": {"data", "models", "targets", "records"},
    "measures": {"records"},
    "figures": {"records", "measures"},
    "studies": {"data", "models", "targets", "records", "training", "measures", "theory", "figures"},
    "diagnosis": {"records", "measures", "figures"},
    "reports": {"records"},
    "integrations": {"targets", "records", "measures", "diagnosis"},
    "cli": EVERYTHING,
}
# What a bare GPU image has; everything else stays in the cli, reports and training/execution/workers.py.
BARE = {"numpy", "scipy", "torch", "safetensors", "sklearn", "filelock"}
OPTIONAL = {  # imported inside functions only, where the user asked for them
    "data": {"datasets", "PIL", "pyarrow"},
    "models": {"transformers", "triton"},
    "training": {"loky", "ray"},
    "diagnosis": {"pyarrow", "transformers", "datasets", "PIL"},
    "records": {"pyarrow"},
}


LAZY = {"models/recurrent/scan_triton.py"}  # imported inside functions only, so what they need may stand at their top


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
