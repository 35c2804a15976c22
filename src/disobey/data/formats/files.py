"""Data from a path: a file, or a folder with a file or a folder for every split.

Supported are idx pairs (MNIST and its relatives), npz, parquet, CSV, TSV, JSON lines, lines that begin with a label,
JSON with intents, and a folder of pictures for every class.
"""

from __future__ import annotations

import gzip
import os
import re
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import mendable, regular
from disobey.data.dataset import Dataset, Kind
from disobey.data.formats.columns import MAX_BYTES, Columns, Options, assemble
from disobey.data.formats.images import decoded
from disobey.data.formats.labelled import read_intents, read_labelled_lines
from disobey.data.formats.tables import read_csv, read_json_lines, read_parquet
from disobey.errors import Refusal, refusal

LABELLED = (".label", ".train", ".dev", ".test")  # endings of files with a label before every line
READERS = {
    ".parquet": read_parquet,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".jsonl": read_json_lines,
    **dict.fromkeys(LABELLED, read_labelled_lines),
}
PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
SPLITS = {
    "train": ("train",),
    "validation": ("val", "dev"),
    "test": ("test", "t10k"),
}  # how the names of their files begin
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def fashion_mnist() -> Dataset:
    """28x28 pictures of clothes, 10 classes: 54,000 training, 6,000 validation, 10,000 test (a Debian package)."""
    if not FASHION_MNIST.is_dir():
        expected = f"its files in {FASHION_MNIST}"
        raise refusal("no-fashion-mnist", expected, "none", "apt install dataset-fashion-mnist", where="fashion-mnist")
    return assemble("fashion-mnist", _idx_folder(FASHION_MNIST, FASHION_CLASSES), Options())


def from_path(name: str) -> Dataset:
    """The data set in a file or folder.

    Args:
        name: a path, with `Options` after ``#``.

    Returns:
        The data set, read completely.

    Raises:
        Refusal: if there is no such file, or it cannot be used; the id says why.
    """
    place, options = Options.parse(name)
    path = Path(place).expanduser()
    if not path.exists():
        raise refusal("no-file", "a file or folder", "nothing there", "another path", where=place)
    if not path.is_dir():
        regular(path)
    try:
        with mendable(place):
            return assemble(name, _folder(path, options) if path.is_dir() else _file(path, options), options)
    except OSError as error:
        raise refusal("unreadable", "readable files", str(error), "changing their permissions", where=place) from None


def signature(name: str) -> tuple:
    """What changes when the files at a path change: names, sizes and times, two levels deep. For caching only."""
    path = Path(name.partition("#")[0]).expanduser()
    entries = [path, *(sorted(path.glob("*")) + sorted(path.glob("*/*/")) if path.is_dir() else [])]
    return tuple((str(p), stat.st_size, stat.st_mtime_ns) for p in entries if (stat := _stat(p)))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _file(path: Path, options: Options) -> dict[str, Columns]:
    if path.suffix == ".npz":
        return _npz(path)
    if path.suffix == ".json":
        return read_intents(path)
    if path.suffix in READERS:
        return {"train": READERS[path.suffix](path, options)}
    formats = ", ".join((".npz", ".json", *READERS))
    expected = f"a file ending in {formats}, or a folder"
    raise refusal(
        "file-format", expected, repr(path.suffix or path.name), "a format of docs/guides/data.md", where=path
    )


def _folder(path: Path, options: Options) -> dict[str, Columns]:
    if any(path.glob("*-images-idx3-ubyte*")):
        return _idx_folder(path)
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        raise refusal(
            "saved-by-datasets", "data files", "a folder saved by Hugging Face datasets", f"hub:{path}", where=path
        )
    files = _by_split([p for p in sorted(path.iterdir()) if p.is_file() and p.suffix in READERS])
    if files:
        _needs_train(path, files)
        return {key: READERS[file.suffix](file, options) for key, file in files.items()}
    folders = _by_split([p for p in sorted(path.iterdir()) if p.is_dir()])
    if "train" in folders:
        trained = _picture_classes(folders["train"])
        return {key: _picture_folder(folder, trained, options) for key, folder in folders.items()}
    return {"train": _picture_folder(path, _picture_classes(path), options)}


def _by_split(paths: list[Path]) -> dict[str, Path]:
    """The file or folder of every split, recognized by the beginning of its name; two for one split are refused."""
    found: dict[str, Path] = {}
    for path in paths:
        for key, starts in SPLITS.items():
            if path.name.lower().startswith(starts) or path.suffix.lower()[1:] in starts:
                if key in found:
                    expected = f"one file for the {key} split"
                    raise refusal(
                        "two-files", expected, f"{found[key].name} as well", "removing one of them", where=path
                    )
                found[key] = path
    return {key: found[key] for key in SPLITS if key in found}


def _needs_train(path: Path, found: dict) -> None:
    if "train" not in found:
        raise refusal(
            "no-train-file",
            "a file that begins with 'train'",
            f"splits {', '.join(found)}",
            "renaming one of them",
            where=path,
        )


# Pictures in folders


def _picture_classes(path: Path) -> tuple[str, ...]:
    classes = tuple(p.name for p in sorted(path.iterdir()) if p.is_dir() and not p.name.startswith("."))
    if not classes:
        formats = ", ".join(READERS)
        expected = f"idx files, train and test files ({formats}) or a folder a class"
        raise refusal("file-format", expected, "none", "a format of docs/guides/data.md", where=path)
    return classes


def _picture_folder(path: Path, classes: tuple[str, ...], options: Options) -> Columns:
    odd = set(_picture_classes(path)) - set(classes)
    if odd:
        expected = f"class folders out of {', '.join(classes)}"
        raise refusal("class-folders", expected, ", ".join(sorted(odd)), "the same folders in every split", where=path)
    files = [
        (file, number)
        for number, name in enumerate(classes)
        for file in sorted((path / name).glob("*"))
        if file.suffix.lower() in PICTURES
    ]
    if not files:
        expected = f"pictures ({', '.join(sorted(PICTURES))}) in the class folders"
        raise refusal("no-pictures", expected, "none", "another folder", where=path)
    images = decoded(((str(file), file) for file, _ in files), len(files), options.size)
    return Columns(str(path), "image", images, np.array([number for _, number in files], dtype=np.int64), classes)


# idx: a magic number, big-endian sizes, bytes


def _idx_folder(path: Path, classes: tuple[str, ...] = ()) -> dict[str, Columns]:
    parts: dict[str, Columns] = {}
    for images in sorted(path.glob("*-images-idx3-ubyte*")):
        if images.suffix not in (".gz", "") and not images.name.endswith("ubyte"):
            continue
        key = "test" if re.search("t10k|test", images.name) else "train"
        labels = next(iter(sorted(path.glob(images.name.split("-images-")[0] + "-labels-idx1-ubyte*"))), None)
        if labels is None:
            got = "no *-labels-idx1-ubyte file"
            raise refusal("no-labels-file", "its labels beside it", got, "downloading all files", where=images)
        if key in parts:
            expected = f"one pair for the {key} split"
            raise refusal("two-files", expected, f"{parts[key].where} as well", "a folder for each pair", where=images)
        parts[key] = Columns(str(images), "image", _idx(images, 3)[..., None], _idx(labels, 1), classes)
    _needs_train(path, parts)
    return {key: parts[key] for key in SPLITS if key in parts}


def _idx(file: Path, dimensions: int) -> NDArray:
    """The array in an idx file of bytes, plain or compressed."""
    try:
        with gzip.open(regular(file)) if file.suffix == ".gz" else open(regular(file), "rb") as raw:
            head = raw.read(4 + 4 * dimensions)
            if len(head) < 4 + 4 * dimensions or head[:4] != bytes((0, 0, 8, dimensions)):
                expected = f"an idx file of bytes in {dimensions} dimensions"
                got = f"the beginning {head[:4].hex() or 'nothing'}"
                raise refusal("not-idx", expected, got, "downloading it again", where=file)
            shape = struct.unpack(f">{dimensions}I", head[4:])
            size = int(np.prod(shape, dtype=object))
            if not 0 < size <= MAX_BYTES:
                raise refusal("idx-size", f"1 to {MAX_BYTES:,} values", f"sizes {shape}", "a complete file", where=file)
            content = raw.read(size + 1)  # never more than announced, however much a compressed file would unpack
    except (OSError, EOFError, zlib.error) as error:
        raise refusal(
            "damaged-file", "a complete file", f"{type(error).__name__}: {error}", "downloading it again", where=file
        ) from None
    if len(content) != size:
        got = f"{len(content):,}" if len(content) < size else "more"
        raise refusal("idx-size", f"{size:,} values for sizes {shape}", got, "downloading it again", where=file)
    return np.frombuffer(content, np.uint8).reshape(shape)


# npz


NPZ_KEYS = {  # split -> the names of its inputs, the names of its labels
    "train": (("inputs", "x_train", "train_images", "x"), ("labels", "y_train", "train_labels", "y")),
    "validation": (
        ("validation_inputs", "x_val", "val_images"),
        ("validation_labels", "y_val", "val_labels"),
    ),
    "test": (("test_inputs", "x_test", "test_images"), ("test_labels", "y_test", "test_labels")),
}


def _npz(file: Path) -> dict[str, Columns]:
    arrays = npz_arrays(file)
    classes = tuple(str(name) for name in arrays["classes"].ravel()) if "classes" in arrays else ()
    parts: dict[str, Columns] = {}
    for key, (inputs, labels) in NPZ_KEYS.items():
        x = next((arrays[name] for name in inputs if name in arrays), None)
        y = next((arrays[name] for name in labels if name in arrays), None)
        if (x is None) != (y is None) or (x is None and key == "train"):
            expected = f"inputs ({', '.join(inputs)}) and labels ({', '.join(labels)})"
            got = f"arrays {', '.join(arrays) or 'none'}"
            raise refusal("npz-names", expected, got, "numpy.savez(FILE, inputs=..., labels=...)", where=file)
        if x is not None and y is not None:
            images, kind = _npz_inputs(file, x)
            parts[key] = Columns(str(file), kind, images, y, classes)
    return parts


def _npz_inputs(file: Path, x: NDArray) -> tuple[NDArray, Kind]:
    if x.ndim == 2 and x.dtype.kind in "fiub":
        return x.astype(np.float32), "features"
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or x.dtype != np.uint8:
        got = f"{x.dtype} of shape {x.shape}"
        expected = "uint8 images (N, H, W[, channels]) or numbers (N, D)"
        raise refusal("image-type", expected, got, "images.round().astype('uint8')", where=file)
    if x.shape[3] not in (1, 3):
        raise refusal(
            "image-channels", "1 or 3 channels, last", f"shape {x.shape}", "images.transpose(0, 2, 3, 1)", where=file
        )
    return x, "image"


# What numpy's reading of a header raises: it tokenizes what it cannot parse, as old versions of Python wrote it.
_BAD_HEADERS = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    SyntaxError,
    RecursionError,
    MemoryError,
    OverflowError,
    struct.error,
    tokenize.TokenError,
)


def npz_arrays(file: Path) -> dict[str, NDArray]:
    """All arrays of an npz file. Headers are read first, since they may announce anything; pickles are never opened."""
    try:
        with zipfile.ZipFile(file) as archive:
            total = 0
            for entry in archive.infolist():
                with archive.open(entry) as raw:
                    version = np.lib.format.read_magic(raw)
                    header = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    shape, _, dtype = header(raw)
                if dtype.hasobject:
                    got = f"Python objects in {entry.filename}"
                    raise refusal("python-objects", "arrays of numbers or of strings", got, "plain arrays", where=file)
                size = int(np.prod(shape, dtype=object)) * dtype.itemsize
                total += size + (4 * int(np.prod(shape, dtype=object)) if len(shape) == 2 else 0)  # as float32, too
                if total > MAX_BYTES or size > entry.file_size:
                    got = f"{size:,} in {entry.filename}, {entry.file_size:,} stored"
                    raise refusal(
                        "npz-size", f"at most {MAX_BYTES:,} bytes, all stored", got, "a complete file", where=file
                    )
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Refusal:
        raise
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        got = f"{type(error).__name__}: {error}"
        raise refusal("not-npz", "an npz file", got, "numpy.savez(FILE, inputs=..., labels=...)", where=file) from None
    except _BAD_HEADERS as error:
        attempt = "numpy.savez(FILE, inputs=..., labels=...)"
        raise refusal("not-npz", "numpy arrays in the npz file", f"{error}", attempt, where=file) from None
