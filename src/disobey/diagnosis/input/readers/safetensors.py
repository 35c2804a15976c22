"""The safetensors format, read from its published layout: a length, a JSON table, then the bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from disobey.diagnosis.input.matrices import ArrayMatrix, Matrix, StreamMatrix
from disobey.diagnosis.input.readers.npy import _at
from disobey.errors import printable, refusal

TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "<u1",
    "BOOL": "|b1",
}
MAX_HEADER = 10_000_000


def read_safetensors(path: Path) -> Mapping[str, Matrix]:
    """Every tensor by name, streamed from its place; ``class_names`` may stand in the metadata as a JSON list.

    Raises `Refusal` for damaged tables, tensors that reach beyond the file and types that numpy lacks.
    """
    try:
        header, start, size = _table(path)
        metadata = header.pop("__metadata__", {})
        return {name: _tensor(path, name, entry, start, size) for name, entry in header.items()} | _names(
            path, metadata
        )
    except (KeyError, TypeError, AttributeError, RecursionError, UnicodeDecodeError, json.JSONDecodeError) as error:
        got = f"something else ({printable(error) or type(error).__name__})"
        raise refusal(
            "not-safetensors", "a safetensors file", got, "write it with safetensors.numpy.save_file", where=path
        ) from error


def _table(path: Path) -> tuple[dict, int, int]:
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(MAX_HEADER, size - 8):
            got = f"{size:,} bytes that start otherwise"
            raise refusal(
                "not-safetensors", "a safetensors file", got, "write it with safetensors.numpy.save_file", where=path
            )
        return json.loads(file.read(length).decode("utf-8")), 8 + length, size


def _tensor(path: Path, name: str, entry: dict, start: int, size: int) -> Matrix:
    where = f"{path}[{printable(name)}]"
    kind = TYPES.get(entry["dtype"])
    if kind is None:
        raise refusal("array-type", f"one of {', '.join(TYPES)}", entry["dtype"], "save it as F16 or F32", where=where)
    dtype, shape = np.dtype(kind), tuple(entry["shape"])
    low, high = entry["data_offsets"]
    numbers = (*shape, low, high)
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in numbers):
        raise refusal("array-shape", "a shape and offsets in whole numbers", numbers, where=where)
    claimed = dtype.itemsize
    for n in shape:
        claimed *= n
    if high - low != claimed or start + high > size:
        got = f"{high - low:,} bytes listed in a file of {size:,}"
        raise refusal("cut-short", f"{claimed:,} bytes for shape {shape}", got, "copy or write it again", where=where)
    return StreamMatrix(partial(_at, path, start + low), shape, dtype, where, bfloat16=entry["dtype"] == "BF16")


def _names(path: Path, metadata: dict) -> dict[str, Matrix]:
    text = metadata.get("class_names")
    if text is None:
        return {}
    names = json.loads(text)
    if not isinstance(names, list):
        raise refusal("class-name-form", "a JSON list of names", text, where=f"{path}[class_names]")
    return {"class_names": ArrayMatrix(np.array([str(n) for n in names]), f"{path}[class_names]")}
