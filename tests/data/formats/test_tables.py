import io
import json

import numpy as np
import pytest

from disobey.data.formats.files import from_path
from tests.support.refusals import refuses

WORDS = ("sun", "moon", "star")


def rows(n=60):
    return [(f"the {WORDS[i % 3]}, number {i}", WORDS[i % 3]) for i in range(n)]


def csv_text(pairs):
    return "".join(f'"{text}",{label}\n' for text, label in pairs)


def refused(id, name, *parts):
    """Reading ``name`` is refused with this id; the message has three parts and names these values."""
    with refuses(id, "expected ", "; got ", "; try ", *parts):
        from_path(str(name))


def texts(data):
    return {
        data.text(row): data.classes[label] for row, label in zip(data.train.inputs, data.train.labels, strict=True)
    }


def test_csv_tsv_and_json_lines_hold_the_same(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + csv_text(rows()))
    (tmp_path / "b.tsv").write_text("".join(f"{text}\t{label}\n" for text, label in rows()))
    (tmp_path / "c.jsonl").write_text("".join(json.dumps({"label": b, "text": a}) + "\n" for a, b in rows()))
    (tmp_path / "d.csv").write_text(
        "\ufeffId,Text,Label\n" + "".join(f'{i},"{a}",{b}\n' for i, (a, b) in enumerate(rows()))
    )
    prints = {from_path(str(tmp_path / name)).fingerprint for name in ("a.csv", "b.tsv", "c.jsonl", "d.csv")}
    assert len(prints) == 1
    data = from_path(str(tmp_path / "a.csv"))
    assert data.classes == ("moon", "star", "sun")
    assert all(label in text for text, label in texts(data).items())
    assert [len(s) for s in (data.train, data.validation, data.test)] == [42, 6, 12]


def test_headerless_csv_finds_its_labels_first_or_last(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("".join(f'"{i % 4 + 1}","title {i}","body {i}"\n' for i in range(60)))
    data = from_path(str(file))
    assert data.classes == ("1", "2", "3", "4")
    assert all("title" in text and "body" in text for text in texts(data))
    file.write_text("".join(f"a{i},b{i}\n" for i in range(60)))
    refused("no-header", file)


def test_columns_are_chosen_by_name(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("utterance,topic,label\n" + "".join(f"say {i % 7},{'pq'[i % 2]},{i % 5}\n" for i in range(60)))
    assert from_path(f"{file}#topic,input=utterance").classes == ("p", "q")
    assert len(from_path(f"{file}#input=utterance").classes) == 5
    refused("no-column", f"{file}#nothing", "'nothing'")
    refused("no-column", file, "inputs")


def test_numeric_columns_are_features(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("a,b,class\n" + "".join(f"{i * 0.5},{-i},{'uv'[i % 2]}\n" for i in range(60)))
    data = from_path(str(file))
    assert data.kind == "features"
    assert (data.train.inputs[:, 0] == data.train.ids * 0.5).all()
    file.write_text("a,b,class\n" + "".join(f"{i},{'nan' if i == 7 else -i},{'uv'[i % 2]}\n" for i in range(60)))
    refused("not-finite", file, "row 7")


def test_labels_that_count_sort_as_numbers(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("text,label\n" + "".join(f"t {i},{i % 12}\n" for i in range(240)))
    data = from_path(str(file))
    assert data.classes == tuple(map(str, range(12)))
    assert (data.train.labels == data.train.ids % 12).all()


@pytest.mark.parametrize(
    ("content", "id", "part"),
    [
        ("", "empty-file", ""),
        ("text,label\n", "empty-file", ""),
        ("text\na\n", "ragged-rows", "2 columns"),
        ("text,label\na,b\nc\n", "ragged-rows", "got 1 in row 3"),
        ('text,label\n"open,b\n', "not-utf8", ""),
        ("text,label\n" + "a,0.5\nb,1.5\n" * 9, "fractional-labels", ""),
        ("text,label\n" + "a,x\n" * 9, "one-class", ""),
        ("text,label\n" + "a,x\n,y\n" * 9, "missing-text", "'' in row 1"),
        ("text,label\n" + "a,x\nb,\n" * 9, "missing-label", "'' in row 1"),
        ("text,label\n" + "".join(f"a,{i}\n" for i in range(99)), "too-many-classes", "99"),
        ("text,label\na,x\nb,y\n", "one-class", ""),
    ],
)
def test_bad_csv_is_refused(tmp_path, content, id, part):
    file = tmp_path / "a.csv"
    file.write_text(content)
    refused(id, file, part)
    file.write_bytes(content.encode() + b"\xff\xfe\n")
    refused("not-utf8", file)


@pytest.mark.parametrize(
    ("content", "id", "part"),
    [
        ("", "empty-file", ""),
        ("[1, 2]\n", "json-keys", "line 1"),
        ('{"text": "a", "label": 1}\n{"text": "b"}\n', "json-keys", "line 2"),
        ('{"text": "a", "label"\n', "not-json-lines", ""),
        ('{"text": "a", "label": null}\n{"text": "b", "label": 1}\n', "missing-label", "None in row 0"),
        ('{"text": "a", "label": NaN}\n{"text": "b", "label": 1}\n', "missing-label", "nan in row 0"),
        ('{"text": "a", "label": 0.5}\n{"text": "b", "label": 1}\n', "label-type", "float and int"),
        ('{"text": "a", "label": [1]}\n{"text": "b", "label": [1]}\n', "label-type", "list"),
        ('{"text": 1, "label": 1}\n{"text": "b", "label": 0}\n', "missing-text", "1 in row 0"),
        ('{"text": "a", "label": 99999999999999999999999}\n{"text": "b", "label": 0}\n' * 9, "negative-label", "row 0"),
        ("[" * 100_000 + "\n", "not-json-lines", ""),
    ],
)
def test_bad_json_lines_are_refused(tmp_path, content, id, part):
    file = tmp_path / "a.jsonl"
    file.write_text(content)
    refused(id, file, part)


pa = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

PIL = pytest.importorskip("PIL.Image")
IMAGES = np.random.default_rng(0).integers(0, 256, (60, 5, 4, 3), dtype=np.uint8)


def png(array):
    content = io.BytesIO()
    PIL.fromarray(array).save(content, "PNG")
    return content.getvalue()


def hub_schema(path, column="img", struct=True):
    pictures = [png(image) for image in IMAGES]
    features = {
        column: {"_type": "Image"},
        "fine_label": {"names": list("abcdef"), "_type": "ClassLabel"},
        "coarse_label": {"names": ["low", "high"], "_type": "ClassLabel"},
    }
    table = pa.table(
        {
            column: [{"bytes": p, "path": None} for p in pictures] if struct else pictures,
            "fine_label": np.arange(60) % 6,
            "coarse_label": np.arange(60) % 2,
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, path)
    return path


@pytest.mark.parametrize("struct", [True, False])
def test_parquet_in_the_hubs_schema(tmp_path, struct):
    file = hub_schema(tmp_path / "train.parquet", struct=struct)
    data = from_path(str(file))
    assert data.classes == tuple("abcdef")
    assert (data.train.inputs == IMAGES[data.train.ids]).all()
    assert from_path(f"{file}#coarse_label").classes == ("low", "high")
    hub_schema(tmp_path / "test.parquet", struct=struct)
    assert len(from_path(str(tmp_path)).test) == 60


def test_parquet_texts_and_features(tmp_path):
    file = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"sentence": [a for a, _ in rows()], "label": [b for _, b in rows()]}), file)
    assert from_path(str(file)).classes == ("moon", "star", "sun")
    parquet.write_table(pa.table({"a": np.arange(60) / 2, "b": np.arange(60), "label": np.arange(60) % 2}), file)
    data = from_path(str(file))
    assert data.kind == "features"
    assert (data.train.inputs[:, 1] == data.train.ids).all()
    parquet.write_table(pa.table({"embedding": [[i, 0.5] for i in range(60)], "label": np.arange(60) % 2}), file)
    assert (from_path(str(file)).train.inputs[:, 0] == data.train.ids).all()


def test_bad_parquet_is_refused(tmp_path):
    file = hub_schema(tmp_path / "a.parquet")
    whole = file.read_bytes()
    for content in (b"", b"PAR1", whole[:-9], whole[100:]):
        file.write_bytes(content)
        refused("not-parquet", file)
    parquet.write_table(pa.table({"img": [b"no picture", None] * 9, "label": [0, 1] * 9}), file)
    refused("not-a-picture", file, "row 0")
    parquet.write_table(pa.table({"img": [{"bytes": None, "path": "/etc/hostname"}] * 2, "label": [0, 1]}), file)
    refused("no-picture-bytes", file, "row 0")
    parquet.write_table(pa.table({"text": ["a", None] * 9, "label": [0, 1] * 9}), file)
    refused("missing-text", file, "None in row 1")
    parquet.write_table(pa.table({"text": ["a", "b"] * 9, "label": [0, None] * 9}), file)
    refused("missing-label", file, "None in row 1")
    parquet.write_table(pa.table({"when": [["x"], ["y"]] * 9, "label": [0, 1] * 9}), file)
    refused("column-types", file, "list")
    parquet.write_table(pa.table({"text": ["a", "b"]}), file)
    refused("no-column", file, "labels")
