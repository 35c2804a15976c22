"""NumPy's .npy and .npz, without memory maps and without pickles."""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from disobey.diagnosis.input.matrices import READ_ERRORS, ArrayMatrix, Matrix, StreamMatrix
from disobey.errors import Refusal, printable, refusal

MAX_ARRAYS = 10_000
_BAD = (
    *READ_ERRORS,
    zipfile.BadZipFile,
    KeyError,
    TypeError,
    IndexError,
    SyntaxError,
    RecursionError,
    MemoryError,
    OverflowError,
    AttributeError,
    struct.error,
    tokenize.TokenError,
)


def read_npy(path: Path) -> Matrix:
    """One array. Raises `Refusal` for object arrays, damaged headers and files shorter than they claim."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        shape, fortran, dtype, offset = _header(file, str(path))
    _fits(shape, dtype, size - offset, str(path))
    if fortran and len(shape) > 1:
        return ArrayMatrix(np.memmap(path, dtype, "r", offset, shape, "F"), str(path))
    return StreamMatrix(partial(_at, path, offset), shape, dtype, str(path))


def read_npz(path: Path) -> Mapping[str, Matrix]:
    """Every array of the archive by name, each streamed from its place, compressed entries too."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
            if len(entries) > MAX_ARRAYS:
                raise refusal("too-many-arrays", f"at most {MAX_ARRAYS:,} arrays", f"{len(entries):,}", where=path)
            return {entry.filename[:-4]: _entry(path, archive, entry) for entry in entries}
    except _BAD as error:
        if isinstance(error, Refusal):
            raise
        got = f"something else ({printable(error) or type(error).__name__})"
        raise refusal("not-npz", "a .npz archive of arrays", got, "write it with numpy.savez", where=path) from error


def _entry(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Matrix:
    where = f"{path}[{printable(entry.filename[:-4])}]"
    if entry.flag_bits & 1:
        raise refusal(
            "encrypted", "an archive without a password", "an encrypted entry", "write it with numpy.savez", where=where
        )
    with archive.open(entry) as file:
        shape, fortran, dtype, header = _header(file, where)
        _fits(shape, dtype, entry.file_size - header, where)
        if fortran and len(shape) > 1:
            if entry.file_size > 2**31:
                raise refusal(
                    "fortran-order",
                    "C order",
                    "a large array in Fortran order",
                    "np.ascontiguousarray before saving",
                    where=where,
                )
            data = archive.read(entry)[header:]
            size = dtype.itemsize * int(np.prod(shape))
            if len(data) < size:
                raise refusal(
                    "cut-short", "a whole archive", "an entry that ends early", "write the file again", where=where
                )
            return ArrayMatrix(np.frombuffer(data[:size], dtype).reshape(shape[::-1]).T, where)
    if entry.compress_type == zipfile.ZIP_STORED:
        with open(path, "rb") as file:
            file.seek(entry.header_offset)
            local = file.read(30)
        if len(local) < 30 or local[:4] != b"PK\3\4":
            raise refusal("damaged-file", "a whole archive", "a damaged entry", "write the file again", where=where)
        name, extra = struct.unpack("<HH", local[26:30])
        start = entry.header_offset + 30 + name + extra + header
        return StreamMatrix(partial(_at, path, start), shape, dtype, where)
    return StreamMatrix(partial(_unpacked, path, entry.filename, header), shape, dtype, where)


def _header(file, where: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """(shape, fortran order, dtype, bytes before the data)."""
    try:
        start = io.BytesIO(file.read(20_000))  # a header longer than this is refused: no endless parsing
        version = npy.read_magic(start)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read is None:
            raise ValueError(f"format version {version}")
        shape, fortran, dtype = read(start)
    except _BAD as error:
        got = f"something else ({printable(error) or type(error).__name__})"
        raise refusal("not-npy", "an array in NumPy's format", got, "write it with numpy.save", where=where) from error
    if dtype.hasobject:
        raise refusal(
            "pickle",
            "numbers or fixed-length text",
            "an object array (a pickle, which may run code: refused)",
            "convert it, for instance with array.astype(float) or array.astype(str)",
            where=where,
        )
    if dtype.kind not in "biufUS" or dtype.subdtype or dtype.itemsize == 0:
        raise refusal(
            "array-type", "numbers or fixed-length text", f"type {dtype}", "convert it before saving", where=where
        )
    return tuple(int(n) for n in shape), fortran, dtype, start.tell()


def _fits(shape: tuple[int, ...], dtype: np.dtype, available: int, where: str) -> None:
    claimed = dtype.itemsize
    for n in shape:
        if n < 0:
            raise refusal("array-shape", "a shape", shape, where=where)
        claimed *= n
    if claimed > available:
        raise refusal(
            "cut-short",
            f"{claimed:,} bytes of data for shape {shape}",
            f"{max(0, available):,}: the file is cut short",
            "copy or write it again",
            where=where,
        )


def _at(path: Path, offset: int) -> BinaryIO:
    file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed by who asked for it)
    file.seek(offset)
    return file


def _unpacked(path: Path, name: str, header: int) -> BinaryIO:
    archive = zipfile.ZipFile(path)
    file = archive.open(name)
    file.read(header)
    archive.close()  # the entry keeps the file open until it is closed itself
    return file  # type: ignore[return-value]
