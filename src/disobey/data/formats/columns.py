"""One split as it was read, checked, and made into a `Dataset`: what all files and the hub have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import BUDGET
from disobey.data.dataset import Dataset, Kind, Split
from disobey.data.sources.text import Vocabulary
from disobey.data.subsets import split_off

LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "category", "intent", "target", "y")
IMAGE_COLUMNS = ("img", "image", "images")
TEXT_COLUMNS = ("text", "sentence", "content", "question", "review")
MAX_BYTES = BUDGET  # of decoded inputs in one split: data sets are kept in memory


def refused(where: object, expected: str, came: object, attempt: str) -> ValueError:
    """The one form of every complaint about data.

    >>> print(refused("a.csv", "two columns", "one", "another delimiter"))
    a.csv: expected two columns; came one; try another delimiter
    """
    came = " ".join(str(came).split())  # on one line, however chatty the library below
    return ValueError(f"{where}: expected {expected}; came {came[:300]}; try {attempt}")


@dataclass(frozen=True)
class Options:
    """What stands behind ``#`` in a name: ``path#label=intent,input=utterance,tokens=char,length=40,size=32``.

    label, input: column names. tokens: "word" or "char", with at most ``length`` a text. size: images are scaled and
    cut to size x size. A bare word is the label column.
    """

    label: str = ""
    input: str = ""
    tokens: str = "word"
    length: int = 0
    size: int = 0

    @classmethod
    def parse(cls, name: str) -> tuple[str, Options]:
        """(the name without options, the options).

        >>> Options.parse("cifar100/train.parquet#coarse_label")[1].label
        'coarse_label'
        """
        place, _, tail = name.partition("#")
        chosen: dict[str, str | int] = {}
        for item in filter(None, tail.split(",")):
            key, equals, value = item.partition("=")
            key, value = (key, value) if equals else ("label", key)
            if key not in cls.__dataclass_fields__ or not value:
                fields = ", ".join(cls.__dataclass_fields__)
                raise refused(name, f"options out of {fields} behind '#'", repr(item), "NAME#label=COLUMN,size=32")
            chosen[key] = value
        for key in ("length", "size"):
            text = str(chosen.get(key, 0))
            if not text.isdigit() or not 0 <= int(text) <= 4096:
                raise refused(name, f"a whole number up to 4096 for {key}", repr(text), f"{key}=32")
            chosen[key] = int(text)
        if chosen.get("tokens", "word") not in ("word", "char"):
            raise refused(name, "tokens 'word' or 'char'", repr(chosen["tokens"]), "tokens=char")
        return place, cls(**chosen)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Columns:
    """One split as read. inputs: uint8 images (N, H, W, channels), a list of texts, token ids or floats (N, D)."""

    where: str
    kind: Kind
    inputs: NDArray | list[str]
    labels: NDArray | Sequence  # whole numbers or names
    classes: tuple[str, ...] = ()  # names of the numbers, where the source has them


def choose_column(where: str, columns: Sequence[str], wanted: str, known: Sequence[str], what: str) -> str:
    """The column the user named, else the first of the usual names that is there."""
    if wanted:
        if wanted in columns:
            return wanted
        raise refused(
            where, f"a column {wanted!r}", f"columns {', '.join(columns)}", f"#{what}=COLUMN with one of them"
        )
    found = [name for name in known if name in columns]
    if not found:
        usual = ", ".join(known)
        raise refused(where, f"a column of {what}s called {usual}", f"{', '.join(columns)}", f"#{what}=COLUMN")
    return found[0]


def assemble(name: str, parts: dict[str, Columns], options: Options) -> Dataset:
    """Checked columns as a `Dataset`; ``parts`` holds "train" and, where the source has them, "validation", "test".

    What the source lacks is carved out of its training split, stratified and the same for everybody: a fifth of it as
    the test split, a tenth as validation. ids number the rows part by part.
    """
    train = parts["train"]
    for part in parts.values():
        _check_inputs(part)
        if part.kind != train.kind:
            raise refused(part.where, f"{train.kind} data as in {train.where}", part.kind, "splits of one kind")
    classes, labels = _coded_labels(list(parts.values()))
    splits, start = {}, 0
    for (key, part), coded in zip(parts.items(), labels, strict=True):
        rows = np.array(part.inputs, dtype=object) if isinstance(part.inputs, list) else part.inputs
        splits[key] = Split(rows, coded, start + np.arange(len(coded)))
        start += len(coded)
    total = len(splits["train"])
    for key, size in (("test", total // 5), ("validation", total // 10)):
        if key not in splits:
            splits[key], splits["train"] = split_off(splits["train"], max(size, 1), key)
    _check_classes(train.where, splits, classes)
    vocabulary, separator = (), " "
    if isinstance(train.inputs, list):  # after carving: the vocabulary may know the training split only
        words = Vocabulary.of(splits["train"].inputs, options.tokens, options.length)
        splits = {key: Split(words.encode(s.inputs), s.labels, s.ids) for key, s in splits.items()}
        vocabulary, separator = words.tokens, words.separator
    for key, split in splits.items():
        if split.inputs.shape[1:] != splits["train"].inputs.shape[1:]:
            shapes = splits["train"].inputs.shape[1:], split.inputs.shape[1:]
            raise refused(parts[key].where, f"inputs of shape {shapes[0]} as in training", shapes[1], "one shape")
    return Dataset(
        name,
        train.kind,
        classes,
        splits["train"],
        splits["validation"],
        splits["test"],
        vocabulary,
        separator,
        train.where,
    )


def _check_inputs(part: Columns) -> None:
    """Rows there are, as many as labels, with nothing in them that is no number or no text."""
    for what, column in (("inputs", part.inputs), ("labels", part.labels)):
        if isinstance(column, np.ndarray) and column.ndim == 0:
            raise refused(part.where, f"a row of {what} for every example", "a single value", "a complete file")
    rows, labels = len(part.inputs), len(part.labels)
    if rows != labels:
        raise refused(part.where, "as many inputs as labels", f"{rows} inputs and {labels} labels", "a complete file")
    if rows == 0:
        raise refused(part.where, "at least one example", "none", "a complete file")
    if isinstance(part.inputs, list):
        bad = next((row for row, text in enumerate(part.inputs) if not isinstance(text, str) or not text.strip()), None)
        if bad is not None:
            raise refused(part.where, "a text in every row", f"{part.inputs[bad]!r} in row {bad}", "dropping such rows")
    elif part.kind == "features":
        if part.inputs.dtype.kind not in "fiub" or part.inputs.ndim != 2:
            came = f"{part.inputs.dtype} of shape {part.inputs.shape}"
            raise refused(part.where, "numbers (N, D) as features", came, "a float32 matrix")
        bad = np.flatnonzero(~np.isfinite(part.inputs).all(axis=1))
        if len(bad):
            raise refused(part.where, "finite features", f"NaN or infinity in row {bad[0]}", "filling or dropping it")


def _coded_labels(parts: list[Columns]) -> tuple[tuple[str, ...], list[NDArray]]:
    """(class names, the labels of every part as int64 codes of them)."""
    columns = [_clean_labels(part) for part in parts]
    names = parts[0].classes
    if names and columns[0].dtype.kind == "i":
        for part, column in zip(parts, columns, strict=True):
            wrong = np.flatnonzero((column < 0) | (column >= len(names)))
            if len(wrong):
                came = f"{column[wrong[0]]} in row {wrong[0]}"
                raise refused(
                    part.where, f"labels 0 .. {len(names) - 1}, one for each class name", came, "another column"
                )
        return names, columns
    for part, column in zip(parts, columns, strict=True):
        if column.dtype != columns[0].dtype and "O" not in (column.dtype.kind + columns[0].dtype.kind):
            raise refused(part.where, f"labels as in {parts[0].where}", f"{column.dtype}", "labels of one type")
        if column.dtype.kind == "i" and column.min() < 0:
            row = int(column.argmin())
            raise refused(part.where, "labels from 0", f"{column[row]} in row {row}", "dropping what has no label")
    known, _ = np.unique(columns[0], return_inverse=True)
    if len(known) > 20 and len(known) > len(columns[0]) / 2:
        came = f"{len(known)} different labels in {len(columns[0])} rows"
        raise refused(parts[0].where, "classes with several examples each", came, "#label=COLUMN with the right column")
    for part, column in zip(parts, columns, strict=True):
        new = np.setdiff1d(column, known)
        if len(new):
            came = f"class {new[0]!r}, which training lacks"
            raise refused(part.where, f"only classes of {parts[0].where}", came, "a training split with every class")
    return tuple(str(value) for value in known), [np.searchsorted(known, column) for column in columns]


def _clean_labels(part: Columns) -> NDArray:
    """Labels as int64 or as names (object array of str); floats, gaps and everything else refused."""
    labels = part.labels
    if not isinstance(labels, np.ndarray):
        labels = list(labels)
        odd = next((row for row, x in enumerate(labels) if x is None or x == "" or x != x), None)  # x != x: NaN
        if odd is not None:
            raise refused(part.where, "a label in every row", f"{labels[odd]!r} in row {odd}", "dropping such rows")
        kinds = {type(x) for x in labels}
        if kinds == {str}:
            if all(_is_float(x) for x in labels) and not all(_is_whole(x) for x in labels):
                raise refused(part.where, "whole numbers or names as labels", "fractions", "another label column")
            if all(_is_whole(x) for x in labels):  # so that 10 sorts after 9
                return np.array([int(x) for x in labels], dtype=np.int64)
            array = np.empty(len(labels), dtype=object)
            array[:] = labels
            return array
        if not kinds <= {int, bool, np.int64}:
            came = " and ".join(sorted(kind.__name__ for kind in kinds))
            raise refused(part.where, "whole numbers or names as labels", came, "another label column")
        labels = np.array([int(x) if abs(int(x)) < 2**62 else -1 for x in labels], dtype=np.int64)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind == "U":
        return _clean_labels(Columns(part.where, part.kind, part.inputs, labels.tolist()))
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        came = f"{labels.dtype} of shape {labels.shape}"
        raise refused(part.where, "one whole number or name a row as label", came, "labels.astype('int64')")
    if labels.dtype.kind == "u" and labels.max(initial=0) > 2**62:
        raise refused(part.where, "labels from 0", f"{labels.max()}", "another label column")
    return labels.astype(np.int64)


def _is_whole(text: str) -> bool:
    return len(text) < 19 and text.removeprefix("-").isdecimal()


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_classes(where: str, splits: dict[str, Split], classes: tuple[str, ...]) -> None:
    """At least two classes to tell apart, and every class of the other splits there to be learned."""
    present = np.unique(splits["train"].labels)
    if len(present) < 2:
        came = f"{len(present)} in {len(splits['train'])} training examples"
        raise refused(where, "at least two classes", came, "another label column or more data")
    for key in ("validation", "test"):
        missing = np.setdiff1d(splits[key].labels, present)
        if len(missing):
            came = f"class {classes[missing[0]]!r} in the {key} split only"
            raise refused(where, "every class among the training examples", came, "more examples of it")
        if len(splits[key]) == 0:
            raise refused(where, f"examples for the {key} split", "none", "more data")
