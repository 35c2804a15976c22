"""A page a study: its question, its options with resolved defaults, its claims with their rules."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from disobey.studies import STUDIES
from disobey.studies.kit.options import options
from generate.experiments import Experiment

HEAD = """# Studies

A study asks one question: it plans runs, trains what is missing, and judges published claims by rules that were written
before the runs. `disobey run STUDY` runs one, `disobey run STUDY --smoke` shows in seconds that it works.

| study | question |
|---|---|
"""
COMMON = """Common options: `--out DIR`, `--workers N`, `--device auto|cpu|cuda`, `--preset NAME`, `--dry-run`,
`--smoke`, `--json`, `--quiet`. Runs that are finished are reused, also between studies.

```{toctree}
:hidden:

"""


def pages(experiments: list[Experiment], gallery: set[str]) -> dict[str, str]:
    """Text of every page by its path below docs/."""
    rows = "".join(f"| [{name}]({name}.md) | {_cell(study.question)} |\n" for name, study in STUDIES.items())
    index = HEAD + rows + "\n" + COMMON + "\n".join(STUDIES) + "\n```\n"
    return {"studies/index.md": index} | {
        f"studies/{name}.md": _page(study, [e for e in experiments if f"run {name}" in e.command], name in gallery)
        for name, study in STUDIES.items()
    }


def _page(study: Any, experiments: list[Experiment], shown: bool) -> str:
    parts = [f"# {study.name}", f"*{study.question}*", inspect.cleandoc(study.__doc__ or "")]
    parts.append(f"```\ndisobey run {study.name}\n```")
    if shown:
        parts.append(f"A finished report of this study is in the [gallery](../gallery/index.md#{study.name}).")
    table = ["| option | default | meaning |", "|---|---|---|"]
    table += [f"| `{o.flag}` | {_cell(o.default())} | {_cell(o.words)} |" for o in options(study())]
    parts += ["## Options", "\n".join(table)]
    if study.presets:
        names = ", ".join(f"`{name}`" for name in study.presets)
        parts.append(f"Presets (`--preset NAME`; other options change them further): {names}.")
    if specs := list(claims(study)):
        table = ["| id | claim | source | rule |", "|---|---|---|---|"]
        table += [f"| {c.id} | {_cell(c.text)} | {_cell(c.source.name)} | {_cell(c.rule.words)} |" for c in specs]
        parts += ["## Claims", "Each rule was written into the study before it was run.", "\n".join(table)]
    if experiments:
        lines = [f"- {e.date}: [{e.title}](../experiments/{e.name}.md). {e.answer}" for e in experiments]
        parts += ["## Experiments", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def claims(study: Any) -> Iterator[Any]:
    """The claims that a study's module, or the modules of its package, define."""
    seen: dict[str, Any] = {}
    for module in _modules(study):
        for value in vars(module).values():
            for item in value if isinstance(value, tuple) else (value,):
                if type(item).__name__ == "ClaimSpec":
                    seen.setdefault(item.id, item)
    yield from sorted(
        seen.values(), key=lambda spec: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", spec.id)]
    )


def _modules(study: Any) -> Iterator[ModuleType]:
    name = study.__module__
    if name.count(".") == 2:  # disobey.studies.NAME
        yield importlib.import_module(name)
        return
    package = importlib.import_module(name.rpartition(".")[0])
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        yield importlib.import_module(found.name)


def _cell(text: object) -> str:
    """Text of a table's cell: on one line, without a bar that would end it."""
    return " ".join(str(text).split()).replace("|", "\\|")
