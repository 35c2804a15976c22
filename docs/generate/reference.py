"""The API reference: a page a folder of the package, every module on it, from the docstrings."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "disobey"
ROOMS = {
    "records": "Formats that are written down: predictions, runs, results, the store.",
    "data": "Data sets: the embedded ones, files, the hub; subsets, label noise, augmentation.",
    "models": "Networks by name, and the recurrent layers behind `disobey.nn`.",
    "targets": "Losses, schedules, control targets.",
    "theory": "Closed forms; numpy and scipy only.",
    "training": "Recipes, the training loop, the engine that runs many.",
    "measures": "What is measured, and how intervals are put on it.",
    "figures": "Charts and tables that studies and diagnosis share.",
    "studies": "Studies and the kit they are built from.",
    "diagnosis": "Reading somebody's pair and checking it.",
    "reports": "A result as one HTML file.",
    "integrations": "Callbacks for other training frameworks.",
}
AUTO = """```{{eval-rst}}
.. automodule:: {module}
   :members:
   :member-order: bysource
   :show-inheritance:
```
"""


def pages() -> dict[str, str]:
    """Text of every page by its path below docs/."""
    made = {
        "reference/api/public.md": _public(),
        "reference/api/errors.md": _room_page("errors", ["disobey.errors"], ""),
    }
    for room, line in ROOMS.items():
        folder = PACKAGE / room
        if folder.is_dir():
            made[f"reference/api/{room}.md"] = _room_page(room, _modules(folder), line)
    return made


def _modules(folder: Path) -> list[str]:
    """Dotted names of the modules below a folder that define something."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        defines = (ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
        if path.stem != "__init__" and any(isinstance(n, defines) for n in ast.parse(path.read_text("utf-8")).body):
            found.append(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    return found


def _room_page(room: str, modules: list[str], line: str) -> str:
    parts = [f"# disobey.{room}\n\n{line}\n"]
    parts += [f"## {name.removeprefix('disobey.')}\n\n{AUTO.format(module=name)}" for name in modules]
    return "\n".join(parts)


def _public() -> str:
    import disobey
    import disobey.nn

    names = [name for name in disobey.__all__ if not name.startswith("_")]
    homes = {name: getattr(disobey, name).__module__ for name in names}
    lines = ["# Public names", "", "`import disobey` gives these; each is described where it is defined.", ""]
    lines += ["| name | defined in |", "|---|---|"]
    lines += [f"| {{py:obj}}`disobey.{n} <{home}.{n}>` | `{home}` |" for n, home in homes.items()]
    lines += ["", "`import disobey.nn` gives the recurrent layers:", "", "| name | defined in |", "|---|---|"]
    for name in disobey.nn.__all__:
        home = getattr(getattr(disobey.nn, name), "__module__", "disobey.nn")
        lines.append(f"| {{py:obj}}`{name} <{home}.{name}>` | `{home}` |")
    return "\n".join(lines) + "\n"
