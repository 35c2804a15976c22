"""The index of docs/experiments, from the head that every entry begins with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FIELDS = ("Date", "Question", "Command", "Answer", "Status")
HEAD = """# Experiments

Every experiment is kept with its command, also where it found nothing or contradicted us. Newest first. Unless an
entry says otherwise, intervals are 95%, Student t over paired seeds, no verdict is corrected for the number of claims,
and the control (twin) is the same student with the same initialization and batches, trained on labels only.

Up to 2026-11-27 verdicts were *supported*, *refuted* and *inconclusive*, by rules that did not survive their own null
([decision 10](../decisions/0010-verdicts.md)); from 2026-11-28 they are *supported*, *contradicted*, *negligible* and
*undecided*. Older entries keep their words: they are what was said then.

| date | question | answer | status |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Experiment:
    """An entry: the name of its file without ending, its title, and the fields of its head."""

    name: str
    title: str
    date: str
    question: str
    command: str
    answer: str
    status: str


def read(path: Path) -> Experiment:
    """One entry. Raises `ValueError` where its head is not complete."""
    head, rule, _ = path.read_text(encoding="utf-8").partition("\n---\n")
    title = re.match(r"# (.+)\n", head)
    found = {k: " ".join(v.split()) for k, v in re.findall(r"^\*\*(\w+)\.\*\* (.+?)(?=\n\n|\Z)", head, re.M | re.S)}
    if not rule or title is None or tuple(found) != FIELDS or not path.stem.startswith(found["Date"]):
        raise ValueError(
            f"{path}: expected a title, the fields {', '.join(FIELDS)} and a line ---; got {sorted(found)}"
        )
    return Experiment(path.stem, title[1].strip(), *(found[name] for name in FIELDS))


def entries(folder: Path) -> list[Experiment]:
    """All entries of a folder, oldest first."""
    return [read(path) for path in sorted(folder.glob("2*.md"))]


def index(experiments: list[Experiment]) -> str:
    """The text of the index."""
    rows = "".join(
        f"| {e.date} | [{e.question}]({e.name}.md) | {e.answer} | {e.status} |\n" for e in reversed(experiments)
    )
    names = "\n".join(e.name for e in reversed(experiments))
    return f"{HEAD}{rows}\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"
