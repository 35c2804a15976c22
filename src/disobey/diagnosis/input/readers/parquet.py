"""Parquet: one row an example; list columns, or one column a class (``teacher_0``, ``teacher_1``, …)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import BUDGET, bounded_table
from disobey.diagnosis.errors import row_list
from disobey.diagnosis.input.matrices import ArrayMatrix, BatchMatrix, Matrix
from disobey.diagnosis.input.readers.parquet_sequences import holds_sequences, read_sequences
from disobey.errors import Refusal, printable, refusal
from disobey.footer import largest_column

LARGEST_GROUP = 2**31  # values: run lengths let a few bytes stand for any number of them
NUMBERED = re.compile(r"(.+?)_(\d{1,6})$")


def read_parquet(path: Path) -> Mapping[str, Matrix]:
    """Every column by name, read a row group at a time. Needs pyarrow (the extra ``parquet``)."""
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise refusal(
            "missing-package", "pyarrow to read parquet", "an environment without", "pip install pyarrow", where=path
        ) from error
    failures = (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError, OverflowError)
    try:
        with parquet.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
            if holds_sequences(schema):
                return read_sequences(path, file)
            arrays: dict[str, Matrix] = {}
            for name, columns in grouped(schema.names).items():
                kind = schema.field(columns[0]).type
                arrays[name] = _column(path, name, columns, kind, rows, failures)
            return arrays
    except failures as error:
        if isinstance(error, Refusal):
            raise
        got = f"something else ({printable(error) or type(error).__name__})"
        raise refusal(
            "not-parquet", "a parquet file", got, "write it with pyarrow.parquet.write_table", where=path
        ) from error


def grouped(names: list[str]) -> dict[str, list[str]]:
    """Numbered columns under their common name, in the order of their numbers.

    >>> grouped(["labels", "teacher_1", "teacher_0"])
    {'labels': ['labels'], 'teacher': ['teacher_0', 'teacher_1']}
    """
    groups: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        match = NUMBERED.fullmatch(name)
        base, number = (match[1], int(match[2])) if match else (name, -1)
        groups.setdefault(base, []).append((number, name))
    out = {}
    for base, members in groups.items():
        numbers = sorted(members)
        if [number for number, _ in numbers] in ([-1], list(range(len(numbers)))):
            out[base] = [name for _, name in numbers]
        else:
            out |= {name: [name] for _, name in numbers}
    return out


def _column(path: Path, name: str, columns: list[str], kind: Any, rows: int, failures: tuple) -> Matrix:
    import pyarrow.types as types

    where = f"{path}[{printable(name)}]"
    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    batches = partial(_batches, path, tuple(columns), lists, where, failures)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind):
        return ArrayMatrix(_texts(path, columns[0], where), where)
    if not lists and not types.is_floating(kind) and not types.is_integer(kind) and not types.is_boolean(kind):
        return BatchMatrix(partial(_refused, where, str(kind)), (rows,), np.dtype("U1"), where)
    dtype = np.dtype((kind.value_type if lists else kind).to_pandas_dtype())
    if not lists and len(columns) == 1:
        return BatchMatrix(batches, (rows,), dtype, where)
    width = len(columns) if not lists else _width(path, columns[0], where)
    return BatchMatrix(batches, (rows, width), dtype, where)


def _refused(where: str, kind: str, _: int) -> Iterator[NDArray]:
    raise refusal(
        "column-type",
        "numbers, lists of numbers or text",
        f"columns of type {printable(kind)}",
        "convert them",
        where=where,
    )
    yield np.empty(0)


def _texts(path: Path, column: str, where: str) -> NDArray:
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        values = bounded_table(path, file, [column], where).column(0).to_pylist()
    missing = [row for row, value in enumerate(values) if value is None]
    if missing:
        raise refusal("missing-value", "a text in every row", f"none in {row_list(np.array(missing))}", where=where)
    return fixed_text([str(value) for value in values])


def fixed_text(values: Sequence[str]) -> NDArray:
    """Texts as an array, which gives every one the room of the longest: cut so that all together stay within bounds.

    >>> fixed_text(["a", "longer"]).dtype
    dtype('<U6')
    """
    longest = max(16, min(10_000, (BUDGET // 16) // max(len(values), 1)))
    return np.array([value[:longest] for value in values])


def _width(path: Path, column: str, where: str) -> int:
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        most = largest_column(path)
        if most > LARGEST_GROUP:
            wanted = f"at most {LARGEST_GROUP:,} numbers in a row group"
            raise refusal("too-large", wanted, f"{most:,}", "writing smaller row groups", where=where)
        for batch in file.iter_batches(1, columns=[column]):
            first = batch.column(0)[0].as_py()
            return len(first) if first is not None else 0
    return 0


def _batches(path: Path, columns: tuple[str, ...], lists: bool, where: str, failures: tuple, rows: int):
    """Arrays of at most ``rows`` rows; a missing row, or one of another length, is refused by number."""
    import pyarrow.parquet as parquet

    start, width = 0, None
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(min(rows, 65_536), columns=list(columns)):
                parts = [batch.column(i) for i in range(batch.num_columns)]
                for part in parts:
                    if part.null_count:
                        empty = np.flatnonzero(np.asarray(part.is_null())) + start
                        raise refusal(
                            "missing-value",
                            "a value in every row",
                            f"none in {row_list(empty)}",
                            "drop these rows",
                            where=where,
                        )
                if lists:
                    flat, width = _flat(parts[0], width, start, where)
                    yield flat
                elif len(parts) == 1:
                    yield parts[0].to_numpy(zero_copy_only=False)
                else:
                    order = [batch.schema.get_field_index(name) for name in columns]
                    yield np.stack([parts[i].to_numpy(zero_copy_only=False) for i in order], axis=1)
                start += batch.num_rows
    except failures as error:
        if isinstance(error, Refusal):
            raise
        got = f"damage ({printable(error) or type(error).__name__})"
        raise refusal("unreadable-column", "a readable column", got, "write the file again", where=where) from error


def _flat(part: Any, width: int | None, start: int, where: str) -> tuple[NDArray, int]:
    import pyarrow.compute

    compute: Any = pyarrow.compute  # its functions are made when it is imported

    lengths = compute.list_value_length(part).to_numpy(zero_copy_only=False)
    width = int(lengths[0]) if width is None else width
    odd = np.flatnonzero(lengths != width)
    if len(odd):
        got = f"{int(lengths[odd[0]])} in {row_list(odd + start)}"
        raise refusal("ragged-rows", f"{width} values in every row", got, "pad or drop these rows", where=where)
    values = compute.list_flatten(part)
    if values.null_count:
        raise refusal(
            "missing-value", "a number in every place", "missing values inside lists", "drop these rows", where=where
        )
    return values.to_numpy(zero_copy_only=False).reshape(len(part), width), width
