"""Two plain formats of question data: a label before every line (TREC), and intents in one JSON file (CLINC150)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from disobey.bounds import Tally, read_bounded, text_file
from disobey.data.formats.columns import Columns, Options
from disobey.data.formats.tables import decoded_size
from disobey.errors import refusal

PARTS = {"train": ("train",), "validation": ("val", "validation", "dev"), "test": ("test",)}
OUT_OF_SCOPE = "oos"  # how the names of lists with questions outside all intents begin; they are left out


def read_labelled_lines(file: Path, options: Options) -> Columns:
    """``COARSE:FINE text`` or ``LABEL: text`` in every line.

    Args:
        file: the file, UTF-8 or else Latin-1.
        options: ``label=fine`` takes COARSE:FINE as the label, ``label=coarse`` (the default) what is before the colon.

    Returns:
        The split.

    Raises:
        Refusal: ``label-level``, ``not-labelled-lines`` or ``empty-file``.
    """
    where = str(file)
    if options.label not in ("", "coarse", "fine"):
        raise refusal("label-level", "label=coarse or label=fine", repr(options.label), "#label=fine", where=where)
    raw = text_file(file).read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    tally, texts, labels = Tally(where), [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        label, _, rest = line.strip().partition(" ")
        coarse, colon, _ = label.partition(":")
        if not (colon and coarse and rest.strip()):
            got = f"{line.strip()[:60]!r} in line {number}"
            attempt = "a .tsv file for another layout"
            raise refusal(
                "not-labelled-lines", "LABEL:text or COARSE:FINE text in every line", got, attempt, where=where
            )
        tally.add(len(line) * 4)
        texts.append(rest.strip())
        labels.append(label if options.label == "fine" and not label.endswith(":") else coarse)
    if not texts:
        raise refusal("empty-file", "at least one row", "an empty file", "a complete file", where=where)
    return Columns(where, "text", texts, labels)


def read_intents(file: Path) -> dict[str, Columns]:
    """One JSON object with a list of [text, intent] for every split, as CLINC150 has it.

    Lists whose names begin with ``oos`` (questions outside all intents) are left out.

    Args:
        file: the file.

    Returns:
        Split -> its texts and labels; ``train`` is among them.

    Raises:
        Refusal: ``not-intents``.
    """
    where = str(file)
    try:
        text = read_bounded(text_file(file), 1 << 30).decode("utf-8-sig")
        Tally(where).add(decoded_size(text))
        content = json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise _no_intents(where, f"{type(error).__name__}: {error}") from None
    if not isinstance(content, dict):
        raise _no_intents(where, f"a {type(content).__name__}")
    found: dict[str, Columns] = {}
    for split, names in PARTS.items():
        name = next((name for name in names if name in content), None)
        if name is not None:
            found[split] = _pairs(f"{where}, {name}", content[name])
    odd = [n for n in content if not n.startswith(OUT_OF_SCOPE) and not any(n in names for names in PARTS.values())]
    if "train" not in found or odd:
        raise _no_intents(where, f"lists {', '.join(map(str, content)) or 'none'}")
    return found


def _pairs(where: str, rows: Any) -> Columns:
    if not isinstance(rows, list) or not rows:
        raise _no_intents(where, "none")
    for number, row in enumerate(rows, 1):
        if not (isinstance(row, list) and len(row) == 2 and all(isinstance(cell, str) for cell in row)):
            raise _no_intents(where, f"{str(row)[:60]!r} as pair {number}")
    return Columns(where, "text", [row[0] for row in rows], [row[1] for row in rows])


def _no_intents(where: str, got: str) -> Exception:
    expected = "JSON lists 'train', 'val' and 'test' of [text, intent]"
    return refusal("not-intents", expected, got, "a .jsonl file with one object a line", where=where)
