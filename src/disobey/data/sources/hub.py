"""Data sets of Hugging Face `datasets`, by name or local path: images and texts. Needs the extra ``hub``.

Names are ``hub:NAME``, ``hub:NAME:CONFIGURATION`` or ``hub:FOLDER`` (the files of a repository, or a folder written by
``save_to_disk``), each with `Options` after ``#``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from disobey.bounds import mendable
from disobey.data.dataset import Dataset
from disobey.data.formats.columns import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    TEXT_COLUMNS,
    Columns,
    Options,
    assemble,
    choose_column,
)
from disobey.data.formats.images import decoded
from disobey.data.formats.tables import picture_bytes
from disobey.errors import refusal

P = TypeVar("P")

SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}


def from_hub(name: str) -> Dataset:
    """The data set of a name that begins with ``hub:``.

    A test split without labels (-1 in every row, as in GLUE) is ignored: the labelled validation split becomes the test
    split, and a validation split is cut from training.

    Args:
        name: ``hub:...``, with `Options` after ``#``.

    Returns:
        The data set, read completely.

    Raises:
        Refusal: ``hub-name``, ``no-datasets``, ``hub-failed``, ``no-train-split``, or a refusal of its columns.
    """
    place, options = Options.parse(name)
    with mendable(place):
        return _from_hub(name, place, options)


def _from_hub(name: str, place: str, options: Options) -> Dataset:
    parts = read_splits(place, place.removeprefix("hub:"), lambda where, split: _columns(where, split, options))
    if "test" in parts and np.all(np.asarray(parts["test"].labels) == -1):
        del parts["test"]
    return assemble(name, with_test(parts), options)


def read_splits(place: str, hub: str, read: Callable[[str, Any], P]) -> dict[str, P]:
    """What ``read(where, split)`` makes of the splits of a hub data set, by their parts here.

    Args:
        place: the name as the user gave it, for messages.
        hub: its name there, or a folder.
        read: is given a split's name for messages, and the split.

    Raises:
        Refusal: ``no-train-split``, or as `splits_of` and ``read`` do.
    """
    found = splits_of(hub)
    parts: dict[str, P] = {}
    for key, names in SPLIT_NAMES.items():
        chosen = next((found[split] for split in names if split in found), None)
        if chosen is not None:
            parts[key] = read(f"{place}, split {key}", chosen)
    if "train" not in parts:
        attempt = "another configuration: hub:NAME:CONFIGURATION"
        raise refusal("no-train-split", "a split 'train'", f"splits {', '.join(found)}", attempt, where=place)
    return parts


def with_test(parts: dict[str, P]) -> dict[str, P]:
    """The parts with the validation split for testing, where there is no other."""
    if "test" in parts or "validation" not in parts:
        return parts
    return {"train": parts["train"], "test": parts["validation"]}


def splits_of(place: str) -> dict[str, Any]:
    """Split name -> `datasets.Dataset`."""
    try:
        import datasets
    except ImportError:
        raise refusal(
            "no-datasets", "the package datasets", "none", "pip install 'disobey[hub]'", where=f"hub:{place}"
        ) from None
    if not place.strip():
        raise refusal(
            "hub-name", "a name after it", "none", "hub:NAME, hub:NAME:CONFIGURATION or hub:FOLDER", where="hub:"
        )
    path = Path(place).expanduser()
    try:
        if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
            loaded = datasets.load_from_disk(str(path))
        else:
            repository, _, configuration = (str(path), "", "") if path.exists() else place.partition(":")
            loaded = datasets.load_dataset(repository, configuration or None, **_no_code(datasets))
    except Exception as error:  # network, names, formats: the library's errors have no common base class
        got = f"{type(error).__name__}: {error}"
        attempt = "its exact name, a network, hub:NAME:CONFIGURATION or a local folder"
        raise refusal(
            "hub-failed", "a data set of the Hugging Face hub or a folder", got, attempt, where=f"hub:{place}"
        ) from None
    return {str(k): v for k, v in loaded.items()} if isinstance(loaded, dict) else {"train": loaded}


def _no_code(datasets: Any) -> dict[str, Any]:
    """Versions before 4 run a repository's script where somebody answers "y"; later ones know no scripts."""
    known = inspect.signature(datasets.load_dataset).parameters
    return {"trust_remote_code": False} if "trust_remote_code" in known else {}


def _columns(where: str, data: Any, options: Options) -> Columns:
    import datasets

    label = choose_column(where, data.column_names, options.label, LABEL_COLUMNS, "label")
    rest = [name for name in data.column_names if name != label]
    column = choose_column(where, rest, options.input, (*IMAGE_COLUMNS, *TEXT_COLUMNS), "input")
    feature = data.features[label]
    classes = tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else ()
    labels = list(data[label])
    if isinstance(data.features[column], datasets.Image):
        raw = data.select_columns([column]).cast_column(column, datasets.Image(decode=False))
        pictures = ((f"{where}, row {n}", picture(where, n, row[column])) for n, row in enumerate(raw))
        return Columns(where, "image", decoded(pictures, len(labels), options.size), labels, classes)
    return Columns(where, "text", list(data[column]), labels, classes)


def picture(where: str, row: int, value: dict) -> bytes | Path:
    """Embedded bytes, or the local file that the row names."""
    if not value.get("bytes") and value.get("path") and Path(value["path"]).is_file():
        return Path(value["path"])
    return picture_bytes(where, row, value)
