"""Small files that stand for much memory, and names that lead to no file: one message, little memory, no waiting."""

import os
import resource
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from disobey import bounds
from disobey.bounds import Tally, mendable, read_bounded, regular, text_file
from disobey.data.formats.files import from_path
from disobey.diagnosis.input.readers.folder import read_arrays
from tests.support.refusals import refuses

LIMIT = 5 << 30  # bytes of address space beyond what is taken at the start


def zeros_npz(path, shape, dtype, members=("inputs",)):
    """An npz of zeros, packed: a thousandth of what it stands for. Written a piece at a time."""
    header = np.lib.format.header_data_from_array_1_0(np.empty(0, dtype)) | {"shape": shape}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in members:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array_header_1_0(file, header)
                left = int(np.prod(shape)) * np.dtype(dtype).itemsize
                while left:
                    part = min(left, 1 << 24)
                    file.write(bytes(part))
                    left -= part
        with archive.open("labels.npy", "w") as file:
            np.lib.format.write_array(file, np.arange(shape[0]) % 2)


def test_an_npz_of_zeros_that_becomes_four_times_as_large(tmp_path):
    """1.5 GiB of small integers asked for 6 GiB as features."""
    zeros_npz(tmp_path / "a.npz", (1500, 1 << 20), np.int8)
    assert (tmp_path / "a.npz").stat().st_size < 20 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="a.npz"):
        from_path(str(tmp_path / "a.npz"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


@pytest.mark.parametrize("packing", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_damaged_packing_of_another_kind(tmp_path, packing):
    path = tmp_path / "a.npz"
    np.savez(tmp_path / "b.npz", teacher=np.zeros((9, 3)), student=np.zeros((9, 3)))
    with zipfile.ZipFile(tmp_path / "b.npz") as old, zipfile.ZipFile(path, "w", packing) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    data = bytearray(path.read_bytes())
    for place in range(60, len(data) // 2, 7):
        changed = bytearray(data)
        changed[place] ^= 0xFF
        path.write_bytes(changed)
        for read in (from_path, lambda p: [list(m.blocks(4)) for m in read_arrays(p).values()]):
            try:
                read(str(path))
            except ValueError:
                continue


def test_run_lengths_in_parquet(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "BUDGET", 1 << 28)
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    n = 1_000_000
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array(["x" * 5_000]))
    table = pa.table({"text": texts, "label": pa.array(np.arange(n) % 2)})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=n, store_schema=False)
    assert (tmp_path / "a.parquet").stat().st_size < 2 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with refuses("over-budget", "a.parquet"):
        from_path(str(tmp_path / "a.parquet"))
    with refuses("over-budget"):
        read_arrays(tmp_path / "a.parquet")["text"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000


def test_lists_without_end_in_one_row_of_parquet(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "BUDGET", 1 << 28)
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    n = 4_000_000
    values = pa.ListArray.from_arrays(pa.array([0, n, n + 1], pa.int32()), pa.array(np.zeros(n + 1, np.float32)))
    table = pa.table({"x": values, "label": pa.array([0, 1])})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 1 << 20
    with pytest.raises(ValueError, match="a.parquet"):
        from_path(str(tmp_path / "a.parquet#input=x"))


def test_a_table_of_lists_that_one_long_list_makes_huge(tmp_path, monkeypatch):
    import json

    from disobey.diagnosis.input.readers import jsonl

    monkeypatch.setattr(jsonl, "BUDGET", 1 << 20)
    short = {str(i): -1.0 for i in range(2)}
    lines = [{"teacher": [short], "student": [short]}] * 500
    lines.append({"teacher": [{str(i): -9.0 for i in range(4000)}], "student": [short]})
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(ValueError, match="lists of one length"):
        read_arrays(tmp_path / "a.jsonl")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_texts_beyond_the_budget(tmp_path, suffix, monkeypatch):
    import disobey.data.formats.tables as tables

    path = tmp_path / f"a{suffix}"
    line = {".csv": "a,b\n", ".tsv": "a\tb\n", ".jsonl": '{"text": "a", "label": "b"}\n'}[suffix]
    path.write_text(line * 20_000)
    monkeypatch.setattr(tables, "Tally", lambda where: Tally(where, 1 << 20))
    with refuses("over-budget", path.name):
        from_path(str(path))


def test_a_line_without_end(tmp_path, monkeypatch):
    import disobey.data.formats.tables as tables

    monkeypatch.setattr(tables, "LINE", 1_000)
    (tmp_path / "a.jsonl").write_text('{"text": "' + "x" * 5_000 + '", "label": 1}')
    with pytest.raises(ValueError, match="line 1"):
        from_path(str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("name", ["a.npz", "a.csv", "a.jsonl", "a.parquet", "a.npy"])
@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "/dev/random", "folder"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, name, kind):
    path = tmp_path / name
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(kind)
    for read in (from_path, read_arrays):
        with pytest.raises(ValueError, match="expected"):
            read(str(path))


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "train-images-idx3-ubyte.gz"])
def test_pipes_among_a_folders_files(tmp_path, name):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(bytes((0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 7)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(bytes((0, 0, 8, 1, 0, 0, 0, 1, 0)))
    if name.endswith(".gz"):
        (tmp_path / "train-images-idx3-ubyte").unlink()
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with refuses("not-a-file"):
        from_path(str(tmp_path))


def test_a_pipe_among_the_pictures(tmp_path):
    pytest.importorskip("PIL")
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        os.mkfifo(tmp_path / label / "a.png")
    with pytest.raises(ValueError, match="regular file"):
        from_path(str(tmp_path))


def test_budgets(tmp_path):
    tally = Tally("a.csv", 10)
    tally.add(10)
    with refuses("over-budget", "a.csv"):
        tally.add(1)
    (tmp_path / "a").write_text("abc")
    assert read_bounded(tmp_path / "a", 3) == b"abc"
    assert regular(tmp_path / "a") == text_file(tmp_path / "a")
    with refuses("file-too-large"):
        text_file(tmp_path / "a", 2)
    for error in (MemoryError(), RecursionError("deep"), OverflowError("large"), bounds.lzma.LZMAError("odd")):
        with refuses("unreadable-file", "a.npz", type(error).__name__), mendable("a.npz"):
            raise error


def test_the_command_says_one_sentence(tmp_path):
    os.mkfifo(tmp_path / "pair.npz")
    command = [sys.executable, "-c", "from disobey.cli.main import entry; entry()"]
    for words in (["diagnose", "pair.npz"], ["run", "deviation", "--smoke", "--data", "pair.npz"]):
        run = subprocess.run(command + words, cwd=tmp_path, capture_output=True, text=True, timeout=100)
        assert run.returncode == 2
        assert run.stderr.count("\n") == 1, run.stderr
