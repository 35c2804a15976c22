"""Every format gives the same pair; every bad file gives one message and nothing else."""

import io
import json
import pickle
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from disobey.diagnosis.checks.files import joined_rows, unread_arrays
from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.input.join import read_pair, read_two, with_twin
from disobey.diagnosis.input.matrices import whole
from disobey.diagnosis.input.pair import pair_from
from disobey.diagnosis.input.readers.folder import read_arrays
from disobey.errors import Refusal
from tests.support.refusals import refuses

RNG = np.random.default_rng(0)
TEACHER = RNG.normal(size=(50, 4)).astype(np.float32)
STUDENT = RNG.normal(size=(50, 4)).astype(np.float32)
LABELS = RNG.integers(4, size=50)
IDS = np.arange(50) + 100
ARRAYS = {"teacher": TEACHER, "student": STUDENT, "labels": LABELS, "ids": IDS}


def _npz(path):
    np.savez(path, **ARRAYS)


def _packed(path):
    np.savez_compressed(path, **ARRAYS)


def _fortran(path):
    np.savez(path, **{name: np.asfortranarray(array) for name, array in ARRAYS.items()})


def _swapped(path):
    np.savez(path, **{n: a.astype(a.dtype.newbyteorder(">")) for n, a in ARRAYS.items()})


def _safetensors(path):
    save_file(ARRAYS, path)


def _folder(path):
    path.mkdir()
    for name, array in ARRAYS.items():
        np.save(path / f"{name}.npy", array)


def _lists(path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {n: pa.array(a.tolist(), pa.list_(pa.float32())) for n, a in ARRAYS.items() if a.ndim == 2}
    pq.write_table(pa.table(columns | {"labels": LABELS, "ids": IDS}), path, row_group_size=13)


def _columns(path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {f"{n}_{i}": ARRAYS[n][:, i] for n in ("student", "teacher") for i in (2, 0, 3, 1)}
    pq.write_table(pa.table(columns | {"labels": LABELS, "ids": IDS}), path)


def _csv(path):
    names = [f"{n}_{i}" for n in ("teacher", "student") for i in range(4)] + ["labels", "ids"]
    rows = np.concatenate([TEACHER, STUDENT], axis=1)
    lines = [
        ",".join([repr(float(v)) for v in row] + [str(y), str(i)]) for row, y, i in zip(rows, LABELS, IDS, strict=True)
    ]
    path.write_text("\n".join([",".join(names), *lines]) + "\n")


FORMATS = [
    ("a.npz", _npz),
    ("b.npz", _packed),
    ("c.npz", _fortran),
    ("d.npz", _swapped),
    ("e.safetensors", _safetensors),
    ("folder", _folder),
    ("f.parquet", _lists),
    ("g.parquet", _columns),
    ("h.csv", _csv),
]


@pytest.mark.parametrize(("name", "write"), FORMATS, ids=lambda x: x if isinstance(x, str) else x.__name__)
def test_every_format_gives_the_same_pair(tmp_path, name, write):
    write(tmp_path / name)
    pair = read_pair(tmp_path / name)
    assert pair.shape == (50, 4)
    np.testing.assert_array_equal(whole(pair.teacher), TEACHER)
    np.testing.assert_array_equal(whole(pair.students["student"]), STUDENT)
    np.testing.assert_array_equal(pair.labels, LABELS)
    np.testing.assert_array_equal(pair.ids, IDS)
    blocks = [block.copy() for block in pair.teacher.blocks(7)]
    assert {len(block) for block in blocks[:-1]} == {7}
    np.testing.assert_array_equal(np.concatenate(blocks), TEACHER)


def test_bfloat16_is_read(tmp_path):
    import torch
    from safetensors.torch import save_file as save_torch

    tensors = {n: torch.tensor(ARRAYS[n]).bfloat16() for n in ("teacher", "student")}
    save_torch(tensors, tmp_path / "a.safetensors")
    found = whole(read_pair(tmp_path / "a.safetensors").teacher)
    np.testing.assert_array_equal(found, tensors["teacher"].float().numpy())


def test_two_files_are_joined_by_id(tmp_path):
    np.savez(tmp_path / "t.npz", logits=TEACHER, ids=IDS, labels=LABELS)
    order = RNG.permutation(50)[:40]
    ids = np.concatenate([IDS[order], [7, 8]])
    np.savez(tmp_path / "s.npz", logits=np.concatenate([STUDENT[order], STUDENT[:2]]), ids=ids)
    pair = read_two(tmp_path / "t.npz", tmp_path / "s.npz")
    np.testing.assert_array_equal(whole(pair.teacher), TEACHER[order])
    np.testing.assert_array_equal(whole(pair.students["student"]), STUDENT[order])
    np.testing.assert_array_equal(pair.labels, LABELS[order])
    assert pair.facts == {"joined": 40, "teacher_only": 10, "student_only": 2}
    assert joined_rows(gather(pair)).status == "note"
    few = read_two(tmp_path / "t.npz", tmp_path / "s.npz")
    few = replace(few, facts={"joined": 10, "teacher_only": 5, "student_only": 40})
    finding = joined_rows(gather(few))
    assert finding.status == "warning"
    assert (finding.estimate("rows joined").value, finding.estimate("rows joined").n) == (10 / 55, 55)
    np.savez(tmp_path / "w.npz", twin=STUDENT[::-1], ids=IDS[::-1])
    twin = with_twin(pair, tmp_path / "w.npz")
    np.testing.assert_array_equal(whole(twin.twins["twin"]), STUDENT[order])
    np.save(tmp_path / "y.npy", LABELS[:40])  # in whose order?
    np.save(tmp_path / "w.npy", STUDENT[:40])
    with refuses("missing-ids", "labels"):
        read_two(tmp_path / "t.npz", tmp_path / "s.npz", tmp_path / "y.npy")
    with refuses("missing-ids", "twin"):
        with_twin(pair, tmp_path / "w.npy")


def test_labels_of_two_files_are_the_same(tmp_path):
    """Both files hold labels, one of them in another order: the pair's rows are not the same examples."""
    order = RNG.permutation(50)
    np.savez(tmp_path / "t.npz", logits=TEACHER, labels=LABELS)
    np.savez(tmp_path / "same.npz", logits=STUDENT, labels=LABELS)
    np.savez(tmp_path / "s.npz", logits=STUDENT[order], labels=LABELS[order])
    pair = read_two(tmp_path / "t.npz", tmp_path / "same.npz")
    with refuses("labels-differ", "rows"):
        read_two(tmp_path / "t.npz", tmp_path / "s.npz")
    with refuses("labels-differ", "rows"):
        with_twin(pair, tmp_path / "s.npz")
    with_twin(pair, tmp_path / "same.npz")
    np.savez(tmp_path / "t.npz", logits=TEACHER, labels=LABELS, ids=IDS)
    np.savez(tmp_path / "s.npz", logits=STUDENT[order], labels=LABELS[order], ids=IDS[order])
    np.testing.assert_array_equal(read_two(tmp_path / "t.npz", tmp_path / "s.npz").ids, IDS[order])  # joined


def test_a_list_of_files_is_one_pair(tmp_path):
    for name, array in ARRAYS.items():
        np.save(tmp_path / f"{name}.npy", array)
    pair = read_pair(*(tmp_path / f"{name}.npy" for name in ARRAYS))
    np.testing.assert_array_equal(whole(pair.students["student"]), STUDENT)
    np.testing.assert_array_equal(pair.ids, IDS)
    np.save(tmp_path / "y.npy", LABELS)
    again = read_pair(tmp_path / "teacher.npy", tmp_path / "student.npy", labels=tmp_path / "y.npy")
    np.testing.assert_array_equal(again.labels, LABELS)
    np.savez(tmp_path / "both.npz", a=LABELS, b=LABELS)
    _npz(tmp_path / "p.npz")
    for paths, labels, id, part in (
        (["teacher.npy", "p.npz"], None, "array-twice", "'teacher'"),
        (["p.npz"], "y.npy", "two-labels", "y.npy"),
        (["teacher.npy", "student.npy"], "both.npz", "missing-labels", "a, b"),
        (["teacher.npy"], None, "missing-student", "teacher"),
    ):
        with refuses(id, part):
            read_pair(*(tmp_path / p for p in paths), labels=labels and tmp_path / labels)


def test_kinds_of_values_are_detected():
    logs = TEACHER - np.log(np.exp(TEACHER).sum(1, keepdims=True))
    for dtype in (np.float16, np.float32, np.float64):
        arrays = {"teacher": np.exp(logs).astype(dtype), "student": logs.astype(dtype), "twin": TEACHER.astype(dtype)}
        assert pair_from(arrays).values == {
            "teacher": "probabilities",
            "student": "log-probabilities",
            "twin": "logits",
        }


def test_coarse_probabilities_are_probabilities(tmp_path):
    """Rounded to bfloat16 a row sums to 1 within .005, not .001."""
    import torch
    from safetensors.torch import save_file as save_torch

    probs = {n: torch.tensor(ARRAYS[n]).softmax(1).bfloat16() for n in ("teacher", "student")}
    save_torch(probs, tmp_path / "a.safetensors")
    pair = read_pair(tmp_path / "a.safetensors")
    assert set(pair.values.values()) == {"probabilities"}
    assert gather(pair).n == 50


def test_log_probabilities_are_not_taken_on_trust():
    logs = TEACHER - np.log(np.exp(TEACHER).sum(1, keepdims=True))
    assert pair_from({"teacher": logs, "student": logs}, values="log-probabilities").shape == (50, 4)
    for array in (TEACHER, np.exp(logs)):
        with refuses("not-normalized"):
            pair_from({"teacher": array, "student": array}, values="log-probabilities")


def _with(**changes):
    return {k: v for k, v in (ARRAYS | changes).items() if v is not None}


NAN = TEACHER.copy()
NAN[[3, 9], 1] = np.nan
HALF_SUMS = np.abs(TEACHER) / np.abs(TEACHER).sum(1, keepdims=True)
HALF_SUMS[5] *= 0.5
BAD_ARRAYS = {
    "missing teacher": (_with(teacher=None), "missing-teacher", "student"),
    "misnamed": (_with(student=None, studnet=STUDENT), "missing-student", "'studnet' to 'student'"),
    "capital": (_with(student=None, Student=STUDENT), "missing-student", "'Student' to 'student'"),
    "numbered from 1": (_with(teacher=None, teacher_1=TEACHER, teacher_2=TEACHER), "missing-teacher", "teacher_0"),
    "rows differ": (_with(student=STUDENT[:40]), "row-counts", "50", "40"),
    "classes differ": (_with(student=STUDENT[:, :3]), "class-counts", "4", "3"),
    "labels too large": (_with(labels=LABELS + 1), "label-range", "0 to 3"),
    "labels ignored": (_with(labels=np.where(IDS == 104, -100, LABELS)), "label-range", "row 4"),
    "float labels": (_with(labels=LABELS.astype(float)), "label-type", "float64"),
    "labels short": (_with(labels=LABELS[:9]), "row-counts", "50"),
    "one-hot labels": (_with(labels=np.eye(4, dtype=int)[LABELS]), "label-shape", "labels.argmax(1)"),
    "a column of labels": (_with(labels=LABELS[:, None]), "label-shape", "labels.ravel()"),
    "names as labels": (_with(labels=np.array(list("abcd"))[LABELS]), "label-type", "'class_names'"),
    "percent": (_with(teacher=100 * np.abs(TEACHER) / np.abs(TEACHER).sum(1, keepdims=True)), "not-scores", "100"),
    "empty": ({n: a[:0] for n, a in ARRAYS.items()}, "no-examples"),
    "one class": (_with(teacher=TEACHER[:, :1], student=STUDENT[:, :1]), "one-class", "1"),
    "three dimensions": (_with(teacher=TEACHER[None]), "score-shape", "reshape"),
    "class numbers": (_with(teacher=LABELS[:, None].repeat(4, 1)), "score-type"),
    "text": (_with(teacher=TEACHER.astype(str)), "score-type"),
    "duplicate ids": (_with(ids=np.where(IDS > 145, 100, IDS)), "id-twice", "100"),
    "class names": (_with(class_names=np.array(["a", "b"])), "class-name-count", "4", "2"),
    "sigmoid": (_with(teacher=1 / (1 + np.exp(-TEACHER))), "not-normalized"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays_are_refused_in_words(tmp_path, name):
    arrays, id, *parts = BAD_ARRAYS[name]
    np.savez(tmp_path / "p.npz", **arrays)
    with refuses(id, "p.npz", *parts):
        read_pair(tmp_path / "p.npz")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("teacher", "values", "id", "rows"),
    [
        (NAN, "auto", "not-finite", "rows 3, 9"),
        (np.full_like(TEACHER, np.nan), "auto", "not-finite", "rows 0, 1, 2, 3, 4 and 45 more"),
        (np.where(NAN == NAN, NAN, np.inf), "auto", "not-finite", "rows 3, 9"),
        (np.where(IDS[:, None] == 105, -np.inf, TEACHER), "auto", "not-finite", "row 5"),
        (HALF_SUMS, "auto", "not-normalized", "row 5"),
        (TEACHER, "probabilities", "not-normalized", "rows 0"),
    ],
)
def test_unusable_rows_are_named(monkeypatch, dtype, teacher, values, id, rows):
    from disobey.diagnosis.evidence import evidence

    arrays = {"teacher": teacher.astype(dtype), "student": STUDENT.astype(dtype)}
    for limit in (2**20, 1):  # whole, and streamed
        monkeypatch.setattr(evidence, "WHOLE", limit)
        with refuses(id, rows):
            evidence.gather(pair_from(arrays, values=values))


class _Bomb:
    def __reduce__(self):
        return (open, ("/tmp/disobey-must-not-exist", "w"))


def test_pickles_and_object_arrays_never_run(tmp_path):
    from pathlib import Path

    target = Path("/tmp/disobey-must-not-exist")
    objects = np.array([_Bomb()], dtype=object)
    np.savez(tmp_path / "o.npz", teacher=objects, student=STUDENT)
    np.save(tmp_path / "o.npy", objects)
    for name in ("p.pt", "p.npz", "p.npy"):
        (tmp_path / name).write_bytes(pickle.dumps(_Bomb(), protocol=4))
    for path in tmp_path.iterdir():
        with pytest.raises(Refusal) as caught:
            read_arrays(path)
        assert caught.value.id in ("pickle", "not-npz", "not-npy", "wrong-extension")
    assert not target.exists()


def _bytes(name, write, tmp_path):
    write(tmp_path / name)
    return (tmp_path / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "write"),
    [f for f in FORMATS if "." in f[0] and f[0][-3:] != "csv"],
    ids=lambda x: x if isinstance(x, str) else x.__name__,
)
def test_cut_files_are_refused(tmp_path, name, write):
    data = _bytes(name, write, tmp_path)
    for size in (1, 7, 40, len(data) // 3, len(data) // 2, len(data) - 30, len(data) - 1):
        (tmp_path / name).write_bytes(data[:size])
        with pytest.raises(Refusal):
            gather(read_pair(tmp_path / name))


def test_wrong_extensions_and_places(tmp_path):
    data = _bytes("a.npz", _npz, tmp_path)
    for name, id in (
        ("b.npy", "wrong-extension"),
        ("b.parquet", "wrong-extension"),
        ("b.safetensors", "wrong-extension"),
        ("b.xyz", "file-format"),
        ("b", "file-format"),
    ):
        (tmp_path / name).write_bytes(data)
        with refuses(id, name):
            read_arrays(tmp_path / name)
    (tmp_path / "empty.npz").write_bytes(b"")
    with refuses("empty-file"):
        read_arrays(tmp_path / "empty.npz")
    with refuses("no-file", "'a.npz'"):
        read_arrays(tmp_path / "aa.npz")
    (tmp_path / "nothing").mkdir()
    with refuses("no-arrays"):
        read_arrays(tmp_path / "nothing")


def test_csv_with_text_names_row_and_column(tmp_path):
    _csv(tmp_path / "a.csv")
    text = (tmp_path / "a.csv").read_text().splitlines()
    text[4] = "high," + text[4].split(",", 1)[1]
    (tmp_path / "a.csv").write_text("\n".join(text))
    with refuses("not-a-number", "'teacher_0'", "'high' in row 3"):
        read_pair(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("text", "id", "part"),
    [
        ("teacher_0;teacher_1;student_0;student_1\n0,5;1;2;3\n", "separator", "semicolons"),
        ("teacher_0\tteacher_1\tstudent_0\tstudent_1\n0.5\t1\t2\t3\n", "separator", "tabs"),
        ("0.5,1,2,3\n1,2,3,4\n", "no-header", "teacher_0"),
        ("teacher_0,teacher_1,student_0,student_1\n0.5,,2,3\n", "not-a-number", "'' in row 0"),
        ("teacher_0,teacher_1,student_0,student_1,labels\n0.5,1,2,3,cat\n", "not-a-number", "class numbers"),
    ],
)
def test_csv_from_spreadsheets_is_told_what_to_change(tmp_path, text, id, part):
    (tmp_path / "a.csv").write_text(text)
    with refuses(id, part):
        read_pair(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("name", "status"), [("lables", "warning"), ("Labels", "warning"), ("y_true", "warning"), ("notes", "note")]
)
def test_an_array_that_nobody_read_may_be_the_labels(name, status):
    pair = pair_from({"teacher": TEACHER, "student": STUDENT, name: LABELS})
    assert unread_arrays(gather(pair)).status == status
    assert unread_arrays(gather(pair_from(ARRAYS | {name: LABELS}))).status == "note"


def test_a_claimed_size_is_never_allocated(tmp_path):
    """A header that claims terabytes costs nothing."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000), }"
    header += b" " * (117 - len(header)) + b"\n"
    body = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * 64
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("teacher.npy", body)
        archive.writestr("student.npy", body)
    (tmp_path / "a.npz").write_bytes(buffer.getvalue())
    with refuses("cut-short"):
        read_pair(tmp_path / "a.npz")
    table = json.dumps({"teacher": {"dtype": "F32", "shape": [10**9, 10**3], "data_offsets": [0, 4 * 10**12]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(table)) + table)
    with refuses("cut-short"):
        read_pair(tmp_path / "a.safetensors")
