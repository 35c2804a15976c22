"""A path to named arrays, whatever the format; a folder of .npy files is one set of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from disobey.bounds import mendable
from disobey.diagnosis.errors import nearest
from disobey.diagnosis.input.matrices import Matrix
from disobey.diagnosis.input.readers.csv import read_csv
from disobey.diagnosis.input.readers.jsonl import read_jsonl
from disobey.diagnosis.input.readers.llama_cpp import MAGIC, read_llama_cpp
from disobey.diagnosis.input.readers.npy import read_npy, read_npz
from disobey.diagnosis.input.readers.parquet import read_parquet
from disobey.diagnosis.input.readers.safetensors import read_safetensors
from disobey.errors import printable, refusal

READERS = {
    ".npz": read_npz,
    ".safetensors": read_safetensors,
    ".parquet": read_parquet,
    ".csv": read_csv,
    ".jsonl": read_jsonl,
}
PICKLES = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib"}
MAX_FILES = 1_000


def read_arrays(path: Path) -> Mapping[str, Matrix]:
    """Every array at ``path`` by name. A single .npy is named after its file.

    Raises `Refusal` for missing, unreadable, empty, damaged and pickled files, and for unknown formats. Where the
    content shows its format, a wrong extension is named as such.
    """
    path = Path(path)
    with mendable(path):
        return _read(path)


def _read(path: Path) -> Mapping[str, Matrix]:
    try:
        if path.is_dir():
            return _read_folder(path)
        if not path.exists():
            siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            raise refusal(
                "no-file",
                "a file or a folder",
                "nothing there",
                nearest(path.name, siblings) or "another path",
                where=path,
            )
        if not path.is_file():
            raise refusal(
                "not-a-file", "a file or a folder", "something else (a device or a pipe)", "a regular file", where=path
            )
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError as error:
        raise refusal(
            "unreadable-file", "a readable file", error.strerror or error, "check its permissions", where=path
        ) from error
    if not start:
        raise refusal("empty-file", "predictions", "an empty file", "write it again", where=path)
    if start.startswith(MAGIC):  # named as people like
        return read_llama_cpp(path)
    suffix = path.suffix.lower()
    kind = _kind(start)
    if suffix in PICKLES or kind == "pickle":
        raise refusal(
            "pickle",
            "a format that cannot run code",
            "a pickle, which can: refused",
            f"save arrays as {', '.join(READERS)}",
            where=path,
        )
    known = {".npy": "numpy array", ".npz": "zip archive", ".parquet": "parquet"}
    if suffix not in (*READERS, ".npy"):
        raise refusal(
            "file-format",
            f"one of .npy, {', '.join(READERS)} or a folder of .npy",
            printable(suffix) or "no extension",
            "name the file after its format",
            where=path,
        )
    if kind and known.get(suffix) != kind:
        raise refusal(
            "wrong-extension", f"what {suffix} says", f"a {kind}", "give it the extension of its format", where=path
        )
    if suffix == ".npy":
        return {path.stem: read_npy(path)}
    return READERS[suffix](path)


def _kind(start: bytes) -> str:
    if start.startswith(b"\x93NUMPY"):
        return "numpy array"
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip archive"
    if start.startswith(b"PAR1"):
        return "parquet"
    return "pickle" if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05" and start[2:3] != b"\x00" else ""


def files_at(path: Path) -> list[Path]:
    """The files that `read_arrays` reads at ``path``: itself, or a folder's .npy (one more than allowed at most)."""
    return sorted(p for p in path.rglob("*.npy") if p.is_file())[: MAX_FILES + 1] if path.is_dir() else [path]


def _read_folder(path: Path) -> Mapping[str, Matrix]:
    files = files_at(path)
    if not files:
        raise refusal(
            "no-arrays",
            "a folder with teacher.npy and student.npy",
            "no .npy in it",
            "numpy.save each array",
            where=path,
        )
    if len(files) > MAX_FILES:
        raise refusal(
            "too-many-arrays",
            f"at most {MAX_FILES:,} .npy files",
            "more",
            "a folder of its own for the pair",
            where=path,
        )
    return {file.relative_to(path).with_suffix("").as_posix(): read_npy(file) for file in files}
