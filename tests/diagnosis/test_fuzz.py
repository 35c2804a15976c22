"""Damaged and hostile files: a message or a pair, never another error, never code, never a hang or much memory."""

import resource
import time
import warnings

import numpy as np
import pytest

from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.input.join import read_pair
from disobey.errors import Refusal

DEFAULT, MANY = 60, 3_500  # inputs a format; seven formats make 24,500


def _seeds(tmp_path):
    """One small sound file of each format."""
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    a = {
        "teacher": rng.normal(size=(12, 3)).astype(np.float32),
        "student": rng.normal(size=(12, 3)).astype(np.float32),
        "labels": rng.integers(3, size=12),
    }
    np.savez(tmp_path / "a.npz", **a)
    np.savez_compressed(tmp_path / "b.npz", **a)
    save_file(a, tmp_path / "c.safetensors")
    columns = {n: pa.array(a[n].tolist(), pa.list_(pa.float32())) for n in ("teacher", "student")}
    pq.write_table(pa.table(columns | {"labels": a["labels"]}), tmp_path / "d.parquet")
    names = [f"{n}_{i}" for n in ("teacher", "student") for i in range(3)]
    rows = np.concatenate([a["teacher"], a["student"]], axis=1)
    text = "\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)])
    (tmp_path / "e.csv").write_text(text)
    record = {"teacher": [{"5": -0.1, "7": -2.5}] * 3, "student": [{"5": -0.3, "7": -1.6}] * 3, "labels": [5, 7, 5]}
    (tmp_path / "f.jsonl").write_text("\n".join([json.dumps(record)] * 3))
    (tmp_path / "g").mkdir()
    np.save(tmp_path / "g" / "teacher.npy", a["teacher"])
    np.save(tmp_path / "g" / "student.npy", a["student"])
    return [p for p in tmp_path.iterdir() if p.is_file()] + [tmp_path / "g" / "teacher.npy"]


INTERESTING = [
    b"\x00" * 8,
    b"\xff" * 8,
    b"\x7f\xff\xff\xff",
    b"-1",
    b"1e999",
    b"NaN",
    b"'O'",
    b"(9999999999,",
    b"{" * 40,
    b"[" * 200,
]


def mutated(data: bytes, rng) -> bytes:
    """Cut, overwritten, doubled or spliced in up to four places."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(out) + 1))
        kind = int(rng.integers(6))
        if kind == 0 and len(out) > 1:
            out[at % len(out)] = int(rng.integers(256))
        elif kind == 1:
            del out[at : at + int(rng.integers(1, 40))]
        elif kind == 2:
            out[at:at] = bytes(rng.integers(0, 256, int(rng.integers(1, 20)), dtype=np.uint8))
        elif kind == 3:
            out[at:at] = INTERESTING[int(rng.integers(len(INTERESTING)))]
        elif kind == 4:
            out[at : at + 8] = INTERESTING[int(rng.integers(len(INTERESTING)))]
        else:
            del out[at:]
        if not out:
            out = bytearray(b"x")
    return bytes(out)


def _attack(path, folder, count):
    data = path.read_bytes()
    rng = np.random.default_rng([3, len(data)])
    victim = folder / path.name
    opened = refused = odd = 0
    for _ in range(count):
        victim.write_bytes(mutated(data, rng))
        start = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # numbers may overflow: they are anything now
                gather(read_pair(victim if path.parent.name != "g" else folder))
            opened += 1
        except Refusal as error:
            refused += 1
            odd += "\n" in str(error) or len(str(error)) >= 2000
        assert time.monotonic() - start < 60, "a hang"
    assert odd == 0, "a message of many lines"
    return opened, refused


def _run(tmp_path, count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in _seeds(tmp_path):
        folder = tmp_path / f"victim-{path.suffix[1:]}-{path.stem}"
        folder.mkdir()
        if path.parent.name == "g":
            (folder / "student.npy").write_bytes((path.parent / "student.npy").read_bytes())
        _, refused = _attack(path, folder, count)
        assert refused > count / 20, path.name  # the attack reaches the reader
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 700_000, f"{grown} KiB"


def test_damaged_files_give_a_message(tmp_path):
    _run(tmp_path, DEFAULT)


@pytest.mark.slow
def test_many_damaged_files_give_a_message(tmp_path):
    _run(tmp_path, MANY)
