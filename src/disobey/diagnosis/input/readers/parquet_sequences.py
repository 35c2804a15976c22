"""Parquet with one sequence a row: lists of lists of numbers, of unequal lengths, as offline distillation has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import bounded_table
from disobey.diagnosis.errors import row_list
from disobey.diagnosis.input.matrices import ArrayMatrix, Matrix
from disobey.errors import printable, refusal


def holds_sequences(schema: Any) -> bool:
    """Whether a column is a list of lists."""
    import pyarrow.types as types

    return any(_listing(types, field.type) and _listing(types, field.type.value_type) for field in schema)


def read_sequences(path: Path, file: Any) -> Mapping[str, Matrix]:
    """Every column, a token a row: lists of lists as (tokens, k), lists as (tokens,), other values repeated.

    ``cluster`` is the row, unless there is a column of that name.
    """
    import pyarrow.types as types

    schema, lengths, found, late = file.schema_arrow, None, {}, []
    for field in schema:
        where = f"{path}[{printable(field.name)}]"
        if not _listing(types, field.type):
            late.append(field.name)
            continue
        part = bounded_table(path, file, [field.name], where).column(0).combine_chunks()
        own, array = _tokens(types, part, where)
        if lengths is None:
            lengths = own
        elif not np.array_equal(lengths, own):
            odd = np.flatnonzero(lengths != own)
            raise refusal("token-counts", "as many tokens in every column", f"others in {row_list(odd)}", where=where)
        found[field.name] = ArrayMatrix(array, where)
    assert lengths is not None
    for name in late:
        where = f"{path}[{printable(name)}]"
        values = bounded_table(path, file, [name], where).column(0).to_pylist()
        if all(isinstance(value, int | str) for value in values):
            kept = [str(value)[:100] for value in values]
            found[name] = ArrayMatrix(np.repeat(np.array(kept), lengths), where)
    if "cluster" not in found:
        found["cluster"] = ArrayMatrix(np.repeat(np.arange(len(lengths)), lengths), f"{path}[rows]")
    return found


def _listing(types: Any, kind: Any) -> bool:
    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _tokens(types: Any, part: Any, where: str) -> tuple[NDArray, NDArray]:
    """(tokens of each row, values of all tokens)."""
    import pyarrow.compute

    compute: Any = pyarrow.compute
    lengths = _lengths(compute, part, where)
    flat = compute.list_flatten(part)
    if not _listing(types, flat.type):
        return lengths, _numbers(types, flat, where)
    widths = _lengths(compute, flat, where)
    k = int(widths.max(initial=0))
    inner = _numbers(types, compute.list_flatten(flat), where)
    if (widths == k).all():
        return lengths, inner.reshape(len(widths), k)
    unused, kind = (-np.inf, np.float64) if inner.dtype.kind == "f" else (-1, np.int64)
    if 8 * len(widths) * k > 2**31:
        raise refusal(
            "too-large", "lists that fit in memory", f"{k} in the longest", "lists of one length", where=where
        )
    table = np.full((len(widths), k), unused, kind)  # shorter lists are filled up
    table[np.arange(k) < widths[:, None]] = inner
    return lengths, table


def _lengths(compute: Any, part: Any, where: str) -> NDArray:
    if part.null_count:
        empty: Sequence[int] = np.flatnonzero(np.asarray(part.is_null()))  # type: ignore[assignment]
        got = f"none in {row_list(np.asarray(empty))}"
        raise refusal("missing-value", "a list in every place", got, "drop these rows", where=where)
    return compute.list_value_length(part).to_numpy(zero_copy_only=False).astype(np.int64)


def _numbers(types: Any, flat: Any, where: str) -> NDArray:
    if flat.null_count or not (
        types.is_floating(flat.type) or types.is_integer(flat.type) or types.is_boolean(flat.type)
    ):
        raise refusal("column-type", "lists of numbers", f"{printable(flat.type)} or missing values", where=where)
    return flat.to_numpy(zero_copy_only=False)
