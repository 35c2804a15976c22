"""A page a study: its question, its options with resolved defaults, its claims with their rules."""

from __future__ import annotations

import inspect
from typing import Any

from disobey.studies import STUDIES
from disobey.studies.kit.declared import claim_specs
from disobey.studies.kit.null_table import null_block, stored
from disobey.studies.kit.options import options
from generate.experiments import Experiment

HEAD = """# Studies

A study asks one question: it plans runs, trains what is missing, and judges published claims by rules that are values
in the code (`disobey register STUDY` writes them down before the runs). `disobey run STUDY` runs one, and
`disobey run STUDY --smoke` shows in seconds that it works.

| study | question |
|---|---|
"""
COMMON = """Common options: `--out DIR`, `--workers N`, `--device auto|cpu|cuda`, `--preset NAME`, `--dry-run`,
`--smoke`, `--json`, `--quiet`, `--until-settled`, `--registered FILE`. Runs that are finished are reused, also between
studies.

```{toctree}
:hidden:

"""

NULL = "How nulls are made, and what a false word is: [](../guides/null.md)."
NULLS = """
## With no effect

How often a study says something false where there is nothing to find ([](../guides/null.md)); the pages of the studies
have every claim.

| study | null | most often false | a false word somewhere | after Holm's correction |
|---|---|---|---|---|
"""


def pages(experiments: list[Experiment], gallery: set[str]) -> dict[str, str]:
    """Text of every page by its path below docs/."""
    rows = "".join(f"| [{name}]({name}.md) | {_cell(study.question)} |\n" for name, study in STUDIES.items())
    index = HEAD + rows + NULLS + "".join(map(_null_row, STUDIES)) + "\n" + COMMON + "\n".join(STUDIES) + "\n```\n"
    return {"studies/index.md": index} | {
        f"studies/{name}.md": _page(study, [e for e in experiments if f"run {name}" in e.command], name in gallery)
        for name, study in STUDIES.items()
    }


def _null_row(name: str) -> str:
    measured = stored().get(name)
    if measured is None:
        return f"| [{name}]({name}.md) | not measured | | | |\n"
    worst = max(measured["claims"], key=lambda claim: claim["wrong"])
    shares = (measured["any_wrong"], measured["any_wrong_corrected"])
    found = f"{worst['id']}: {worst['wrong']:.1%} | " + " | ".join(f"{share:.1%}" for share in shares)
    return f"| [{name}]({name}.md) | {measured['mechanism']} | {found} |\n"


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
    if specs := claim_specs(study()):
        table = ["| id | claim | source | rule |", "|---|---|---|---|"]
        table += [f"| {c.id} | {_cell(c.text)} | {_cell(c.source.name)} | {_cell(c.rule.words)} |" for c in specs]
        parts += ["## Claims", "\n".join(table)]
    for null in null_block(study.name):
        table = [f"| {' | '.join(null.columns)} |", "|---" * len(null.columns) + "|"]
        table += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in null.rows]
        parts += ["## With no effect", null.caption, "\n".join(table), NULL]
    if experiments:
        lines = [f"- {e.date}: [{e.title}](../experiments/{e.name}.md). {e.answer}" for e in experiments]
        parts += ["## Experiments", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _cell(text: object) -> str:
    """Text of a table's cell: on one line, without a bar that would end it."""
    return " ".join(str(text).split()).replace("|", "\\|")
