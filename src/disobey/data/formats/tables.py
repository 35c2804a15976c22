"""One file with one row per example: CSV, TSV, JSON lines, or parquet in the hub's schema.

CSV, TSV and JSON lines hold texts or numeric features; parquet also holds pictures.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from disobey.bounds import LINE, OBJECT, Tally, bounded_table, text_file
from disobey.data.formats.columns import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    MAX_BYTES,
    TEXT_COLUMNS,
    Columns,
    Options,
    choose_column,
)
from disobey.data.formats.images import decoded
from disobey.errors import refusal


def read_csv(file: Path, options: Options) -> Columns:
    """Comma-separated values, or tab-separated ones if the name ends in .tsv.

    With a header, columns are found by name. Without one, the first or the last column is the label, whichever has
    fewer different values, and the others together are the text.

    Args:
        file: the file.
        options: names of columns.

    Returns:
        The split.

    Raises:
        Refusal: ``not-utf8``, ``empty-file``, ``ragged-rows``, ``no-header`` or ``no-column``.
    """
    where = str(file)
    try:
        tally = Tally(where)
        with open(text_file(file), newline="", encoding="utf-8-sig") as raw:
            quoting = csv.QUOTE_NONE if file.suffix == ".tsv" else csv.QUOTE_MINIMAL
            delimiter = "\t" if file.suffix == ".tsv" else ","
            rows = []
            for row in csv.reader(raw, delimiter=delimiter, quoting=quoting, strict=True):
                tally.add(OBJECT * (1 + len(row)) + sum(map(len, row)))
                if row:
                    rows.append(row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise refusal("not-utf8", "rows of UTF-8 text", str(error), "saving it as UTF-8 CSV", where=where) from None
    if not rows:
        raise refusal("empty-file", "at least one row", "an empty file", "a complete file", where=where)
    width = len(rows[0])
    odd = next((number for number, row in enumerate(rows, 1) if len(row) != width), None)
    if width < 2 or odd is not None:
        got = f"{len(rows[(odd or 1) - 1])} in row {odd or 1}"
        expected = f"{max(width, 2)} columns in every row"
        raise refusal("ragged-rows", expected, got, "quotes around text with delimiters in it", where=where)
    named = {name.strip().lower() for name in rows[0]} & {*LABEL_COLUMNS, *TEXT_COLUMNS}
    if named or options.label or options.input:
        names = [name.strip() for name in rows[0]]
        columns = dict(zip(names, map(list, zip(*rows[1:], strict=True)), strict=False))
        if len(columns) < 2:
            raise refusal("empty-file", "rows below the header", "none", "a complete file", where=where)
        return _named(where, columns, options)
    first, last = len({row[0] for row in rows}), len({row[-1] for row in rows})
    if first == last:
        expected = "a header, or a first or last column of labels"
        raise refusal("no-header", expected, "neither", "a header line: text,label", where=where)
    label = 0 if first < last else width - 1
    texts = [" ".join(cell for place, cell in enumerate(row) if place != label) for row in rows]
    return Columns(where, "text", texts, [row[label] for row in rows])


def read_json_lines(file: Path, options: Options) -> Columns:
    """One JSON object per line, with the same keys in each.

    Args:
        file: the file.
        options: names of columns.

    Returns:
        The split.

    Raises:
        Refusal: ``not-json-lines``, ``json-keys``, ``empty-file`` or ``no-column``.
    """
    where = str(file)
    rows, tally = [], Tally(where)
    try:
        with open(text_file(file), encoding="utf-8-sig") as raw:
            for number, line in enumerate(iter(lambda: raw.readline(LINE + 1), ""), 1):
                if len(line) > LINE:
                    raise refusal(
                        "long-line",
                        f"lines of at most {LINE:,} characters",
                        f"more in line {number}",
                        "npz",
                        where=where,
                    )
                if line.strip():
                    tally.add(decoded_size(line))
                    row = json.loads(line)
                    if not isinstance(row, dict) or (rows and row.keys() != rows[0].keys()):
                        got = f"{line.strip()[:60]!r} in line {number}"
                        expected = "an object with the same keys in every line"
                        raise refusal("json-keys", expected, got, "one object per line", where=where)
                    rows.append(row)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        got = f"{type(error).__name__}: {error}"
        raise refusal("not-json-lines", "JSON lines in UTF-8", got, "one object per line", where=where) from None
    if not rows:
        raise refusal("empty-file", "at least one row", "an empty file", "a complete file", where=where)
    return _named(where, {key: [row[key] for row in rows] for key in rows[0]}, options)


def decoded_size(line: str) -> int:
    """About how many bytes a line of JSON takes as Python's objects: numbers, texts, lists and mappings counted."""
    return 4 * len(line) + OBJECT * (line.count(",") + 2 * line.count("[") + 4 * line.count("{"))


def _named(where: str, columns: dict[str, list], options: Options) -> Columns:
    """Texts, if there is a text column; features, if all columns except the label hold numbers only."""
    lower = {name: name.lower() for name in columns}
    by_lower = {value: key for key, value in lower.items()}
    wanted = options.label if options.label in columns else by_lower.get(options.label.lower(), options.label)
    known = [by_lower[name] for name in LABEL_COLUMNS if name in by_lower]
    label = choose_column(where, list(columns), wanted, known or LABEL_COLUMNS, "label")
    rest = [name for name in columns if name != label]
    text = options.input or next((by_lower[name] for name in TEXT_COLUMNS if by_lower.get(name) in rest), "")
    if not text:
        features = _numbers([columns[name] for name in rest])
        if features is not None:
            return Columns(where, "features", features, columns[label])
    text = choose_column(where, rest, text, TEXT_COLUMNS, "input")
    return Columns(where, "text", columns[text], columns[label])


def _numbers(columns: Sequence[Sequence]) -> np.ndarray | None:
    """Numeric columns, or one column of equally long lists of numbers, as (N, D) float32; None for anything else."""
    try:
        array = np.array(columns, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    if array.ndim == 3 and len(array) == 1:
        return array[0].astype(np.float32)
    return array.T.astype(np.float32) if array.ndim == 2 else None


def read_parquet(file: Path, options: Options) -> Columns:
    """Parquet in the hub's schema, or with numeric columns.

    The hub stores pictures in ``img`` or ``image`` as {bytes, path} or bytes, or texts in a text column, and the names
    of whole-number labels in the metadata of the schema. In other files all columns except the label are features.

    Args:
        file: the file.
        options: names of columns, size of pictures.

    Returns:
        The split.

    Raises:
        Refusal: ``no-pyarrow``, ``not-parquet``, ``too-large``, ``no-column``, ``column-types``, or a refusal of a
            picture.
    """
    where = str(file)
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise refusal(
            "no-pyarrow", "the package pyarrow for parquet", "none", "pip install 'disobey[parquet]'", where=where
        ) from None
    try:
        with parquet.ParquetFile(file) as opened:
            size = sum(opened.metadata.row_group(i).total_byte_size for i in range(opened.metadata.num_row_groups))
            if size > MAX_BYTES:
                raise refusal(
                    "too-large", f"at most {MAX_BYTES >> 30} GiB", f"{size >> 30} GiB", "a smaller file", where=where
                )
            schema = opened.schema_arrow
            label = choose_column(where, schema.names, options.label, LABEL_COLUMNS, "label")
            known = (*IMAGE_COLUMNS, *TEXT_COLUMNS)
            usual = [name for name in known if name in schema.names]
            rest = [name for name in schema.names if name != label]
            wanted = [options.input or usual[0]] if options.input or usual else rest
            for name in wanted:
                choose_column(where, rest, name, known, "input")
            table = bounded_table(file, opened, [*wanted, label], where)
    except (pa.ArrowException, OSError) as error:
        raise refusal(
            "not-parquet", "a parquet file", f"{type(error).__name__}: {error}", "a complete file", where=where
        ) from None
    labels = table[label].to_pylist()
    classes = class_names(schema.metadata or {}, label)
    column = table[wanted[0]]
    if len(wanted) == 1 and (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return Columns(where, "text", column.to_pylist(), labels, classes)
    if len(wanted) == 1 and (pa.types.is_struct(column.type) or pa.types.is_binary(column.type)):
        rows = column.to_pylist()
        pictures = ((f"{where}, row {number}", picture_bytes(where, number, row)) for number, row in enumerate(rows))
        return Columns(where, "image", decoded(pictures, len(rows), options.size), labels, classes)
    features = _numbers([table[name].to_pylist() for name in wanted])
    if features is None:
        types = ", ".join(f"{name}: {table[name].type}" for name in wanted)
        raise refusal(
            "column-types", "pictures, a text column or numbers", types, "#input=COLUMN,label=COLUMN", where=where
        )
    return Columns(where, "features", features, labels, classes)


def picture_bytes(where: str, row: int, value: object) -> bytes:
    """The bytes of a picture as the hub stores it: {"bytes": ..., "path": ...}, or bytes alone."""
    content = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(content, bytes) or not content:
        expected = "the bytes of a picture in every row"
        raise refusal("no-picture-bytes", expected, f"none in row {row}", "a file with embedded pictures", where=where)
    return content


def class_names(metadata: dict[bytes, bytes], label: str) -> tuple[str, ...]:
    """Names of the whole-number labels from the hub's schema metadata; () if there are none."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        names = features[label]["names"]
    except (KeyError, TypeError, ValueError):
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()
