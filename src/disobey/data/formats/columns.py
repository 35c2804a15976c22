"""One split as it was read, checked and made into a `Dataset`: what all files and the hub have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import BUDGET
from disobey.data.dataset import Dataset, Kind, Split
from disobey.data.sources.text import Vocabulary
from disobey.data.subsets import split_off
from disobey.errors import refusal

LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "category", "intent", "target", "y")
IMAGE_COLUMNS = ("img", "image", "images")
TEXT_COLUMNS = ("text", "sentence", "content", "question", "review")
MAX_BYTES = BUDGET  # of decoded inputs in one split, because data sets are kept in memory


@dataclass(frozen=True)
class Options:
    """What follows ``#`` in a name: ``path#label=intent,input=utterance,tokens=char,length=40,size=32``.

    Attributes:
        label: name of the label column; a bare word is the label column, too.
        input: name of the input column.
        tokens: ``word`` or ``char``.
        length: largest number of tokens per text; 0 means the default of `Vocabulary.of`.
        size: images are scaled and cropped to size x size; 0 leaves them unchanged.
    """

    label: str = ""
    input: str = ""
    tokens: str = "word"
    length: int = 0
    size: int = 0

    @classmethod
    def parse(cls, name: str) -> tuple[str, Options]:
        """Splits a name into the place and its options.

        Args:
            name: ``PLACE`` or ``PLACE#OPTIONS``.

        Returns:
            The name without options, and the options.

        Raises:
            Refusal: ``data-option``, ``option-range`` or ``token-level``.

        Example:
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
                expected = f"options out of {fields} after '#'"
                raise refusal("data-option", expected, repr(item), "NAME#label=COLUMN,size=32", where=name)
            chosen[key] = value
        for key in ("length", "size"):
            text = str(chosen.get(key, 0))
            if not text.isdigit() or not 0 <= int(text) <= 4096:
                raise refusal(
                    "option-range", f"a whole number up to 4096 for {key}", repr(text), f"{key}=32", where=name
                )
            chosen[key] = int(text)
        if chosen.get("tokens", "word") not in ("word", "char"):
            raise refusal("token-level", "tokens 'word' or 'char'", repr(chosen["tokens"]), "tokens=char", where=name)
        return place, cls(**chosen)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Columns:
    """One split as it was read.

    Attributes:
        where: file or split, for messages.
        kind: ``image``, ``text`` or ``features``.
        inputs: uint8 images (N, H, W, channels), a list of texts, token ids, or numbers (N, D).
        labels: whole numbers or names (N,).
        classes: names of the numbers, if the source has them.
    """

    where: str
    kind: Kind
    inputs: NDArray | list[str]
    labels: NDArray | Sequence
    classes: tuple[str, ...] = ()


def choose_column(where: str, columns: Sequence[str], wanted: str, known: Sequence[str], what: str) -> str:
    """The column that the user named, or else the first of the usual names that exists.

    Args:
        where: file, for messages.
        columns: all columns.
        wanted: the column that the user named, or "".
        known: the usual names, in order.
        what: ``label`` or ``input``, for messages.

    Returns:
        The name of the column.

    Raises:
        Refusal: ``no-column``.
    """
    if wanted:
        if wanted in columns:
            return wanted
        got = f"columns {', '.join(columns)}"
        raise refusal("no-column", f"a column {wanted!r}", got, f"#{what}=COLUMN with one of them", where=where)
    found = [name for name in known if name in columns]
    if not found:
        usual = ", ".join(known)
        raise refusal(
            "no-column", f"a column of {what}s called {usual}", f"{', '.join(columns)}", f"#{what}=COLUMN", where=where
        )
    return found[0]


def assemble(name: str, parts: dict[str, Columns], options: Options) -> Dataset:
    """Checks columns and makes a `Dataset` of them.

    Splits that the source lacks are cut from its training split, stratified and always the same: a fifth of it as the
    test split, a tenth as the validation split. The ids number the rows part by part.

    Args:
        name: of the data set.
        parts: ``train`` and, if the source has them, ``validation`` and ``test``.
        options: token level and length of texts.

    Returns:
        The data set.

    Raises:
        Refusal: about the first input, label or class that cannot be used.
    """
    train = parts["train"]
    for part in parts.values():
        _check_inputs(part)
        if part.kind != train.kind:
            expected = f"{train.kind} data as in {train.where}"
            raise refusal("split-kinds", expected, part.kind, "splits of one kind", where=part.where)
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
    if isinstance(train.inputs, list):
        # After the splits are cut, because the vocabulary may use the training split only.
        words = Vocabulary.of(splits["train"].inputs, options.tokens, options.length)
        splits = {key: Split(words.encode(s.inputs), s.labels, s.ids) for key, s in splits.items()}
        vocabulary, separator = words.tokens, words.separator
    for key, split in splits.items():
        if split.inputs.shape[1:] != splits["train"].inputs.shape[1:]:
            shapes = splits["train"].inputs.shape[1:], split.inputs.shape[1:]
            expected = f"inputs of shape {shapes[0]} as in training"
            raise refusal("input-shapes", expected, shapes[1], "inputs of one shape", where=parts[key].where)
    ordered = (splits["train"], splits["validation"], splits["test"])
    return Dataset(name, train.kind, classes, *ordered, vocabulary, separator, train.where)


def _check_inputs(part: Columns) -> None:
    """Refuses splits without rows, with another number of labels, or with inputs that are no numbers or no texts."""
    for what, column in (("inputs", part.inputs), ("labels", part.labels)):
        if isinstance(column, np.ndarray) and column.ndim == 0:
            raise refusal(
                "row-counts",
                f"a row of {what} for every example",
                "a single value",
                "a complete file",
                where=part.where,
            )
    rows, labels = len(part.inputs), len(part.labels)
    if rows != labels:
        expected = "as many inputs as labels"
        raise refusal("row-counts", expected, f"{rows} inputs and {labels} labels", "a complete file", where=part.where)
    if rows == 0:
        raise refusal("no-examples", "at least one example", "none", "a complete file", where=part.where)
    if isinstance(part.inputs, list):
        bad = next((row for row, text in enumerate(part.inputs) if not isinstance(text, str) or not text.strip()), None)
        if bad is not None:
            got = f"{part.inputs[bad]!r} in row {bad}"
            raise refusal("missing-text", "a text in every row", got, "dropping such rows", where=part.where)
    elif part.kind == "features":
        if part.inputs.dtype.kind not in "fiub" or part.inputs.ndim != 2:
            got = f"{part.inputs.dtype} of shape {part.inputs.shape}"
            raise refusal("feature-type", "numbers (N, D) as features", got, "a float32 matrix", where=part.where)
        bad = np.flatnonzero(~np.isfinite(part.inputs).all(axis=1))
        if len(bad):
            got = f"NaN or infinity in row {bad[0]}"
            raise refusal("not-finite", "finite features", got, "filling or dropping such rows", where=part.where)


def _coded_labels(parts: list[Columns]) -> tuple[tuple[str, ...], list[NDArray]]:
    """Class names, and the labels of every part as int64 codes of them."""
    columns = [_clean_labels(part) for part in parts]
    names = parts[0].classes
    if names and columns[0].dtype.kind == "i":
        for part, column in zip(parts, columns, strict=True):
            wrong = np.flatnonzero((column < 0) | (column >= len(names)))
            if len(wrong):
                got = f"{column[wrong[0]]} in row {wrong[0]}"
                expected = f"labels 0 .. {len(names) - 1}, one for each class name"
                raise refusal("label-range", expected, got, "another column", where=part.where)
        return names, columns
    for part, column in zip(parts, columns, strict=True):
        if column.dtype != columns[0].dtype and "O" not in (column.dtype.kind + columns[0].dtype.kind):
            expected = f"labels as in {parts[0].where}"
            raise refusal("label-types", expected, f"{column.dtype}", "labels of one type", where=part.where)
        if column.dtype.kind == "i" and column.min() < 0:
            row = int(column.argmin())
            got = f"{column[row]} in row {row}"
            raise refusal("negative-label", "labels from 0", got, "dropping rows without a label", where=part.where)
    known, _ = np.unique(columns[0], return_inverse=True)
    if len(known) > 20 and len(known) > len(columns[0]) / 2:
        got = f"{len(known)} different labels in {len(columns[0])} rows"
        expected = "classes with several examples each"
        raise refusal("too-many-classes", expected, got, "#label=COLUMN with the right column", where=parts[0].where)
    for part, column in zip(parts, columns, strict=True):
        new = np.setdiff1d(column, known)
        if len(new):
            got = f"class {new[0]!r}, which training lacks"
            expected = f"only classes of {parts[0].where}"
            raise refusal("unseen-class", expected, got, "a training split with every class", where=part.where)
    return tuple(str(value) for value in known), [np.searchsorted(known, column) for column in columns]


def _clean_labels(part: Columns) -> NDArray:
    """Labels as int64 or as names (an object array of str); fractions, gaps and everything else are refused."""
    labels = part.labels
    if not isinstance(labels, np.ndarray):
        labels = list(labels)
        odd = next((row for row, x in enumerate(labels) if x is None or x == "" or x != x), None)  # x != x: NaN
        if odd is not None:
            got = f"{labels[odd]!r} in row {odd}"
            raise refusal("missing-label", "a label in every row", got, "dropping such rows", where=part.where)
        kinds = {type(x) for x in labels}
        if kinds == {str}:
            if all(_is_float(x) for x in labels) and not all(_is_whole(x) for x in labels):
                expected = "whole numbers or names as labels"
                raise refusal("fractional-labels", expected, "fractions", "another label column", where=part.where)
            if all(_is_whole(x) for x in labels):  # so that 10 sorts after 9
                return np.array([int(x) for x in labels], dtype=np.int64)
            array = np.empty(len(labels), dtype=object)
            array[:] = labels
            return array
        if not kinds <= {int, bool, np.int64}:
            got = " and ".join(sorted(kind.__name__ for kind in kinds))
            raise refusal(
                "label-type", "whole numbers or names as labels", got, "another label column", where=part.where
            )
        labels = np.array([int(x) if abs(int(x)) < 2**62 else -1 for x in labels], dtype=np.int64)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind == "U":
        return _clean_labels(Columns(part.where, part.kind, part.inputs, labels.tolist()))
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        got = f"{labels.dtype} of shape {labels.shape}"
        raise refusal(
            "label-type", "one whole number or name per row as label", got, "labels.astype('int64')", where=part.where
        )
    if labels.dtype.kind == "u" and labels.max(initial=0) > 2**62:
        raise refusal("label-range", "labels from 0", f"{labels.max()}", "another label column", where=part.where)
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
    """Refuses fewer than two classes, and classes of other splits that training lacks."""
    present = np.unique(splits["train"].labels)
    if len(present) < 2:
        got = f"{len(present)} in {len(splits['train'])} training examples"
        raise refusal("one-class", "at least two classes", got, "another label column or more data", where=where)
    for key in ("validation", "test"):
        missing = np.setdiff1d(splits[key].labels, present)
        if len(missing):
            got = f"class {classes[missing[0]]!r} in the {key} split only"
            raise refusal(
                "unseen-class", "every class among the training examples", got, "more examples of it", where=where
            )
        if len(splits[key]) == 0:
            raise refusal("no-examples", f"examples for the {key} split", "none", "more data", where=where)
