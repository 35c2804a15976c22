"""Hostile files of every format that is read, made by their structure: headers, columns, types and shapes."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Iterator

import numpy as np

from tests.support.mutants import ODD, bytes_mutants, json_mutants

ROWS, CLASSES = 30, 3


def sound_arrays() -> dict[str, np.ndarray]:
    """A pair and a data set at once: what either door looks for is there."""
    rng = np.random.default_rng(0)
    labels = np.arange(ROWS) % CLASSES
    scores = {name: rng.normal(size=(ROWS, CLASSES)).astype(np.float32) for name in ("teacher", "student")}
    return scores | {"inputs": rng.normal(size=(ROWS, 4)).astype(np.float32), "labels": labels}


def _array(array: np.ndarray, rng: random.Random) -> np.ndarray:
    """Another type, shape or other values, where numpy can make it."""
    try:
        return _changed(array, rng)
    except (ValueError, TypeError, OverflowError):
        return array


def _changed(array: np.ndarray, rng: random.Random) -> np.ndarray:
    deed = rng.randrange(9)
    if deed == 0:
        return array.astype(rng.choice(["f2", "f8", ">f4", "i1", "u8", "c8", "U3", "S2", "?", "M8[s]", "V4"]))
    if deed == 1:
        return array.reshape(rng.choice([(-1,), (1, *array.shape), (*array.shape, 1), array.shape[::-1]]))
    if deed == 2:
        return array[: rng.randrange(len(array) + 1)]
    if deed == 3:
        return np.asfortranarray(array)
    if deed == 4:
        out = np.zeros(3) if not array.size or array.dtype.kind not in "biuf" else np.array(array, dtype=np.float64)
        out.flat[rng.randrange(out.size)] = rng.choice([np.nan, np.inf, -np.inf, 1e308, -1.0, 0.5, 2**40])
        return out
    if deed == 5:
        return np.zeros(rng.choice([(), (0,), (0, 3), (3, 0), (1, 1), (2, 2, 2, 2)]), array.dtype)
    if deed == 6:
        return np.full(array.shape, rng.choice([0, 1, 255]), rng.choice(["u1", "i8", "f4"]))
    if deed == 7:
        return np.array([[{"a": 1}]], dtype=object)
    return np.repeat(array, rng.choice([1, 2, 50]), axis=0)


def _arrays(rng: random.Random) -> dict[str, np.ndarray]:
    arrays = sound_arrays()
    for _ in range(rng.choice((0, 1, 1, 2))):
        name = rng.choice(list(arrays))
        deed = rng.randrange(6)
        if deed == 0:
            del arrays[name]
        elif deed == 1:
            arrays[rng.choice(["x", "", "../up", "a/b", "topk_ids", "twin", "ids", "y", "\u2028", "n" * 300])] = (
                arrays.pop(name)
            )
        else:
            with np.errstate(all="ignore"):
                arrays[name] = _array(arrays[name], rng)
        if not arrays:
            break
    return arrays


def _npy(array: np.ndarray, rng: random.Random) -> bytes:
    """A .npy whose header may say something else than what follows."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    data = file.getvalue()
    if rng.random() < 0.12:
        descr = rng.choice(
            ["'<f4'", "'|O'", "'<U9'", "[('a','<f4')]", "'f'*9", "'<f4','<f4'", "'<i999'", "('<f4',(2,))"]
        )
        shape = rng.choice(
            ["(12, 3)", "(10**9, 10**9)", "(-1, 3)", "(12,)", "()", "(0, 3)", "3", "(1.0,)", "(2**62, 2**62)", "None"]
        )
        order = rng.choice(["True", "False", "1", "None"])
        text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
        text += b" " * rng.randrange(64) + b"\n"
        version = rng.choice([b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09"])
        length = struct.pack("<H", len(text)) if version == b"\x01\x00" else struct.pack("<I", len(text))
        data = b"\x93NUMPY" + version + length + text + data[128:]
    return data


def npy(rng: random.Random) -> bytes:
    """One array."""
    arrays = _arrays(rng)
    return _npy(rng.choice(list(arrays.values())), rng) if arrays else b""


def npz(rng: random.Random) -> bytes:
    """An archive: entries by any name, twice, packed in any way, not arrays at all."""
    file = io.BytesIO()
    packing = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, array in _arrays(rng).items():
            entry = name + rng.choice([".npy"] * 9 + ["", ".txt"])
            archive.writestr(entry.replace("\u2028", "-") or "e.npy", _npy(array, rng))
        if rng.random() < 0.1:
            archive.writestr("more.npy", rng.randbytes(50))
    return file.getvalue()


def csv(rng: random.Random) -> bytes:
    """Cells replaced, rows and columns added and removed, other delimiters, quotes and marks."""
    arrays = sound_arrays()
    header = [f"{n}_{i}" for n in ("teacher", "student") for i in range(CLASSES)] + ["labels"]
    body = np.concatenate([arrays["teacher"], arrays["student"], arrays["labels"][:, None]], axis=1)
    rows = [header, *[[f"{v:g}" for v in row] for row in body]]
    for _ in range(rng.choice((1, 1, 2, 4))):
        row = rng.randrange(len(rows))
        if not rows[row]:
            continue
        place, deed = rng.randrange(len(rows[row])), rng.randrange(6)
        if deed == 0:
            rows[row][place] = str(rng.choice(ODD))[:5_000].encode("utf-8", "replace").decode()
        elif deed == 1:
            del rows[row][place]
        elif deed == 2:
            rows[row].insert(place, rng.choice(["", "x", '"', "\n", "1,2", "\x00", "nan"]))
        elif deed == 3:
            del rows[row]
            rows = rows or [[]]
        elif deed == 4:
            rows.insert(row, list(rows[row]))
        else:
            rows = [one[:place] + one[place + 1 :] for one in rows]
    between = rng.choice([",", ",", ",", ";", "\t"])
    text = "\n".join(between.join(row) for row in rows)
    return rng.choice(["", "", "\ufeff", "\n\n"]).encode() + text.encode("utf-8", "replace")


def _lines(whole: list, rng: random.Random) -> bytes:
    mutant = next(json_mutants(whole, rng, 1))
    lines = mutant if isinstance(mutant, list) else [mutant]
    return "\n".join(json.dumps(line) for line in lines).encode("utf-8", "surrogatepass")


def jsonl(rng: random.Random) -> bytes:
    """Records of a data set, or of a pair's likely tokens."""
    if rng.random() < 0.5:
        return _lines([{"text": f"word {i}", "label": i % CLASSES} for i in range(ROWS)], rng)
    side = [{"5": -0.1, "7": -2.5}] * 3
    served = {"content": [{"token": "a", "logprob": -0.1, "top_logprobs": [{"token": "a", "logprob": -0.1}]}]}
    record = {"teacher": rng.choice([side, served]), "student": [{"5": -0.3, "7": -1.6}] * 3, "labels": [5, 7, 5]}
    return _lines([record] * 3, rng)


def safetensors(rng: random.Random) -> bytes:
    """The table of tensors mutated as JSON, its length right; the bytes behind it as they were."""
    header, body = {}, b""
    for name, array in sound_arrays().items():
        data = np.ascontiguousarray(array).tobytes()
        kind = {"f": "F32", "i": "I64"}[array.dtype.kind]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    mutant = next(json_mutants(header | {"__metadata__": {"class_names": '["a", "b", "c"]'}}, rng, 1))
    text = json.dumps(mutant).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + body


def parquet(rng: random.Random) -> bytes:
    """Columns of any type, with gaps, nests, dictionaries and other row groups."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    columns: dict[str, pa.Array] = {}
    for name, array in sound_arrays().items():
        columns[name if name != "labels" else rng.choice(["labels", "label"])] = pa.array(array.tolist())
    if rng.random() < 0.5:
        columns = {
            "text": pa.array([f"word {i}" for i in range(ROWS)]),
            "label": pa.array([i % CLASSES for i in range(ROWS)]),
        }
    for _ in range(rng.choice((0, 1, 1, 2))):
        name = rng.choice(list(columns))
        columns[name] = rng.choice(_COLUMNS)()
        if rng.random() < 0.2:
            columns[rng.choice(["image", "x_0", "", "twin", "text_1"])] = columns.pop(name)
    file = io.BytesIO()
    pq.write_table(
        pa.table(columns),
        file,
        row_group_size=rng.choice([1, 5, 100]),
        compression=rng.choice(["snappy", "none", "gzip"]),
    )
    return file.getvalue()


def _column(values: list, kind: object = None) -> Callable:
    def make():
        import pyarrow as pa

        return pa.array(values * (ROWS // len(values)), kind)

    return make


def _dictionary():
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array([0, 1] * (ROWS // 2)), pa.array(["a", "b"]))


_COLUMNS: list[Callable] = [
    _column([None]),
    _column([1, None]),
    _column([True, False]),
    _column(["", "x"]),
    _column([b"\x89PNG", b""]),
    _column([[1.0], [1.0, 2.0]]),
    _column([[], []]),
    _column([[None, 1.0]]),
    _column([[[1.0]]]),
    _column([{"bytes": b"x"}]),
    _column([{"bytes": None, "path": "/dev/zero"}]),
    _column([1e308, float("nan")]),
    _column([2**62, -1]),
    _column(["1", "2"]),
    _column(["1.5", "nan"]),
    _dictionary,
]


def idx(rng: random.Random) -> bytes:
    """Pictures as MNIST's: sizes that lie."""
    sizes = [rng.choice([0, 1, 2, ROWS, 255, 2**31, 2**32 - 1]) if rng.random() < 0.3 else n for n in (ROWS, 3, 3)]
    head = bytes((0, 0, rng.choice([8, 8, 8, 9, 13]), rng.choice([3, 3, 3, 1, 0, 255])))
    return head + struct.pack(">3I", *sizes) + rng.randbytes(ROWS * 9)


FORMATS: dict[str, Callable[[random.Random], bytes]] = {
    "npz": npz,
    "npy": npy,
    "csv": csv,
    "jsonl": jsonl,
    "safetensors": safetensors,
    "parquet": parquet,
    "idx": idx,
}


def mutants(name: str, seed: int, n: int) -> Iterator[bytes]:
    """``n`` files of a format; every fourth has bytes damaged as well."""
    rng = random.Random(seed)
    for number in range(n):
        data = FORMATS[name](rng)
        yield next(bytes_mutants(data, rng, 1)) if number % 4 == 3 else data
