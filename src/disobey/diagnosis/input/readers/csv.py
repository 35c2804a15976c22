"""CSV, for small pairs: a header, then one row an example; ``teacher_0 … teacher_9, student_0 …, labels, ids``."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import OBJECT, Tally
from disobey.diagnosis.input.aliases import ALIASES
from disobey.diagnosis.input.matrices import ArrayMatrix, Matrix
from disobey.diagnosis.input.readers.parquet import NUMBERED, fixed_text, grouped
from disobey.errors import printable, refusal

LIMIT = 200 * 2**20
TEXT = {"ids", "id", *ALIASES["groups"], *ALIASES["cluster"], "class_names", "texts", "text"}


def read_csv(path: Path) -> Mapping[str, Matrix]:
    """Every column by name; numbered columns together. A value that is no number is refused by row and column."""
    if path.stat().st_size > LIMIT:
        raise refusal(
            "too-large",
            "a CSV of at most 200 MB",
            f"{path.stat().st_size / 1e6:,.0f} MB",
            "npz, npy or parquet",
            where=path,
        )
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            rows, tally = [], Tally(path)
            for row in reader:
                tally.add(OBJECT * (2 + len(row)) + sum(map(len, row)))
                if row:
                    rows.append(row)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise refusal(
            "not-csv", "comma-separated text in UTF-8", error, "export it again, or use npz", where=path
        ) from error
    if not header or not rows:
        raise refusal(
            "no-examples", "a header and at least one row", f"{len(rows)} rows under {len(header)} names", where=path
        )
    if len(header) == 1 and (other := next((c for c in ";\t|" if c in header[0]), "")):
        got = {";": "semicolons", "\t": "tabs", "|": "bars"}[other]
        hint = "export with commas between values and points as decimal marks, or use npz or parquet"
        raise refusal("separator", "commas between the values", got, hint, where=path)
    if all(_is_number(name) for name in header):
        raise refusal(
            "no-header",
            "names in the first row",
            "numbers",
            "teacher_0, teacher_1, …, student_0, …, labels",
            where=path,
        )
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise refusal(
            "column-twice", "every column name once", f"{printable(twice)!r} more than once", "rename one", where=path
        )
    odd = [i for i, row in enumerate(rows) if len(row) != len(header)]
    if odd:
        got = f"{len(rows[odd[0]])} in row {odd[0]}"
        raise refusal("ragged-rows", f"{len(header)} values in every row", got, "check for unquoted commas", where=path)
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    return {name: _array(path, name, members, columns) for name, members in grouped(header).items()}


def _array(path: Path, name: str, members: list[str], columns: Mapping[str, tuple[str, ...]]) -> Matrix:
    where = f"{path}[{printable(name)}]"
    if name in TEXT and len(members) == 1:
        try:
            return ArrayMatrix(np.array([int(value) for value in columns[members[0]]], dtype=np.int64), where)
        except (ValueError, OverflowError):
            return ArrayMatrix(fixed_text(columns[members[0]]), where)
    arrays = [_numbers(path, member, columns[member]) for member in members]
    return ArrayMatrix(np.stack(arrays, axis=1) if len(members) > 1 else arrays[0], where)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(path: Path, name: str, values: tuple[str, ...]) -> NDArray:
    try:
        return np.array([int(value) for value in values], dtype=np.int64)
    except (ValueError, OverflowError):
        pass
    out = np.empty(len(values))
    for row, value in enumerate(values):
        try:
            out[row] = float(value)
        except ValueError:
            scores = NUMBERED.fullmatch(name) is not None
            hint = "fill the place or drop the row" if scores else "remove the column, or name it ids, group or text"
            hint = "class numbers from 0, in the order of the models' outputs" if name in ALIASES["labels"] else hint
            got = f"{printable(value, 40)!r} in row {row}"
            raise refusal("not-a-number", f"numbers in the column {printable(name)!r}", got, hint, where=path) from None
    return out
