"""The footer of a parquet file, read without pyarrow, whose own accessors end the process where a column is damaged.

Only what a budget needs: how many values each column chunk claims. The footer is a struct in Thrift's compact protocol.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from disobey.errors import refusal

DEEPEST = 24  # structs in structs
LARGEST = 1 << 28  # bytes of a footer
ROW_GROUPS, COLUMNS, META, VALUES = 4, 1, 3, 5  # field numbers on the way to a column chunk's number of values


def largest_column(path: Path) -> int:
    """The most values that a column has in one row group. Raises `Refusal` where the footer is none, `OSError`."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 8, 0))
            length = int.from_bytes(file.read(4), "little")
            if not 0 < length <= min(LARGEST, size - 12):
                raise ValueError(f"{length:,} bytes of footer in {size:,}")
            file.seek(size - 8 - length)
            footer, _ = _struct(file.read(length), 0, 0)
        chunks = [chunk for group in footer.get(ROW_GROUPS, []) for chunk in group.get(COLUMNS, [])]
        return max((int(chunk.get(META, {}).get(VALUES, 0)) for chunk in chunks), default=0)
    except (ValueError, IndexError, AttributeError, TypeError, OverflowError) as error:
        raise refusal(
            "not-parquet", "a parquet file", f"a damaged footer ({error})", "writing it again", where=path
        ) from None


def _number(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned number of variable length, and where what follows begins."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number without end")


def _signed(data: bytes, at: int) -> tuple[int, int]:
    value, at = _number(data, at)
    return (value >> 1) ^ -(value & 1), at


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    if depth > DEEPEST:
        raise ValueError("structs without end")
    fields: dict[int, Any] = {}
    last = 0
    while True:
        head = data[at]
        at += 1
        if head == 0:
            return fields, at
        if head >> 4:
            last += head >> 4
        else:
            last, at = _signed(data, at)
        kind = head & 15
        if kind in (1, 2):
            fields[last] = kind == 1
        else:
            fields[last], at = _value(data, at, kind, depth)


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (1, 2, 3):
        return data[at], at + 1
    if kind in (4, 5, 6):
        return _signed(data, at)
    if kind == 7:
        return data[at : at + 8], at + 8
    if kind == 8:
        length, at = _number(data, at)
        if at + length > len(data):
            raise ValueError("text beyond the end")
        return data[at : at + length], at + length
    if kind in (9, 10):
        return _list(data, at, depth)
    if kind == 12:
        return _struct(data, at, depth + 1)
    raise ValueError(f"a field of type {kind}")  # maps are not used


def _list(data: bytes, at: int, depth: int) -> tuple[list, int]:
    head = data[at]
    size, kind, at = head >> 4, head & 15, at + 1
    if size == 15:
        size, at = _number(data, at)
    if size > len(data) - at:
        raise ValueError("a list beyond the end")
    items = []
    for _ in range(size):
        item, at = _value(data, at, kind, depth)
        items.append(item)
    return items, at
