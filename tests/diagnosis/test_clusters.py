"""A ``cluster`` column through every door of `diagnose`, and what is said of it."""

import json

import numpy as np
import pytest

import disobey
from disobey.cli.main import main
from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.input.join import read_pair, read_two
from disobey.diagnosis.input.pair import pair_from, pair_from_predictions
from disobey.records.predictions import Predictions
from disobey.records.results import Estimate, Finding, Table
from tests.support.refusals import refuses

N, C, TEXTS = 120, 4, 12


def arrays(seeds=0):
    rng = np.random.default_rng(0)
    labels = rng.integers(C, size=N)
    teacher = 3 * np.eye(C)[labels] + rng.normal(size=(N, C))
    out = {"teacher": teacher, "labels": labels, "cluster": np.repeat([f"t{i}" for i in range(TEXTS)], N // TEXTS)}
    shift = np.repeat(rng.normal(size=(TEXTS, C)), N // TEXTS, axis=0)
    for i in range(max(1, seeds)):
        end = f"/seed{i}" if seeds else ""
        out[f"student{end}"] = teacher + shift + 0.5 * rng.normal(size=(N, C))
        out[f"twin{end}"] = 3 * np.eye(C)[labels] + shift + rng.normal(size=(N, C))
    return out


def estimates(result):
    cells = [cell for table in result.of(Table) for row in table.rows for cell in row]
    return [c for c in (*cells, *(e for f in result.of(Finding) for e in f.evidence)) if isinstance(c, Estimate)]


def saved(tmp_path, kind):
    data = arrays()
    path = tmp_path / f"pair.{kind}"
    if kind == "npz":
        np.savez(path, **data)
    elif kind == "safetensors":
        from safetensors.numpy import save_file

        codes = np.unique(data.pop("cluster"), return_inverse=True)[1].astype(np.int32)
        save_file({**data, "cluster": codes}, path)
    elif kind == "csv":
        names = [f"{side}_{c}" for side in ("teacher", "student") for c in range(C)]
        rows = zip(*data["teacher"].T, *data["student"].T, data["labels"], data["cluster"], strict=True)
        text = "\n".join(",".join(map(str, row)) for row in rows)
        path.write_text(",".join([*names, "labels", "cluster"]) + "\n" + text)
    elif kind == "parquet":
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet as pq

        table = {name: list(value) for name, value in data.items()}
        pq.write_table(pa.table(table), path)
    return path


@pytest.mark.parametrize("kind", ["npz", "safetensors", "csv", "parquet"])
def test_readers(tmp_path, kind):
    evidence = gather(read_pair(saved(tmp_path, kind)))
    assert len(np.unique(evidence.codes)) == TEXTS
    assert evidence.sample.cluster is not None


def test_a_file_of_its_own(tmp_path):
    data = arrays()
    for name in ("teacher", "student", "cluster"):
        np.save(tmp_path / f"{name}.npy", data[name])
    t, s, c = (tmp_path / f"{name}.npy" for name in ("teacher", "student", "cluster"))
    for pair in (read_pair(t, s, cluster=c), read_pair(t, s, c), read_two(t, s, cluster=c), read_pair(tmp_path)):
        assert list(pair.cluster) == list(data["cluster"])
    with refuses("two-clusters"):
        read_pair(t, s, c, cluster=c)


def test_lines_are_clusters(tmp_path):
    path = tmp_path / "a.jsonl"

    def line(**more):
        return json.dumps({side: [{"1": -0.2, "2": -2.0}] * 3 for side in ("teacher", "student")} | more)

    path.write_text("\n".join(line() for _ in range(6)))
    assert len(np.unique(read_pair(path).cluster)) == 6
    path.write_text("\n".join(line(cluster=i // 2) for i in range(12)))
    assert len(np.unique(read_pair(path).cluster)) == 6
    path.write_text("\n".join(line() for _ in range(2)))
    assert read_pair(path).cluster is None


@pytest.mark.parametrize("seeds", [0, 3])
def test_everything_is_over_clusters(seeds):
    data = arrays(seeds)
    students = {n: v for n, v in data.items() if n.startswith("student")}
    result = (
        disobey.diagnose(pair_from(data))
        if seeds
        else disobey.diagnose(
            data["teacher"], students["student"], data["labels"], twin=data["twin"], cluster=data["cluster"]
        )
    )
    found = [e for e in estimates(result) if e.known]
    allowed = {"clusters", "draws"} | ({"runs"} if seeds else set())
    over = {e.over for e in found if e.name not in ("after matching classes", "repeated rows")}
    assert over <= allowed | ({"examples"} if seeds else set()), [e for e in found if e.over not in allowed]
    assert sum(e.over == "clusters" for e in found) > (5 if seeds else 40)
    assert result.settings["clusters"] == TEXTS
    by_id = {f.id: f for f in result.of(Finding)}
    assert by_id["clusters"].status == "warning"  # twelve texts are few
    assert "12 clusters" in by_id["clusters"].message


def test_sequences_are_clusters():
    data = arrays()
    cube = {k: data[k].reshape(TEXTS, -1, C) for k in ("teacher", "student", "twin")}
    labels = data["labels"].reshape(TEXTS, -1).copy()
    pair = pair_from({**cube, "labels": labels})
    assert pair.shape == (N, C)
    assert len(np.unique(pair.cluster)) == TEXTS
    labels[:, -2:] = -100
    padded = gather(pair_from({**cube, "labels": labels}))
    assert padded.n == N - 2 * TEXTS
    keep = (labels != -100).ravel()
    flat = gather(pair_from({k: data[k][keep] for k in ("teacher", "student", "labels", "cluster")}))
    assert np.allclose(flat.sample.student, padded.sample.student)
    assert np.array_equal(padded.codes, np.repeat(np.arange(TEXTS), N // TEXTS - 2))


def test_sequences_from_a_stream(tmp_path):
    data = arrays()
    labels = data["labels"].reshape(TEXTS, -1).copy()
    labels[3:, :4] = -100
    np.savez(tmp_path / "a.npz", **{k: data[k].reshape(TEXTS, -1, C) for k in ("teacher", "student")}, labels=labels)
    found = gather(read_pair(tmp_path / "a.npz"))
    keep = (labels != -100).ravel()
    expected = gather(pair_from({"teacher": data["teacher"][keep], "student": data["student"][keep]}))
    assert np.allclose(found.sample.student, expected.sample.student)


def test_refusals():
    data = arrays()
    with refuses("few-clusters"):
        gather(pair_from(data | {"cluster": np.arange(N) % 3}))
    with refuses("cluster-type"):
        pair_from(data | {"cluster": np.linspace(0, 1, N)})
    with refuses("row-counts"):
        pair_from(data | {"cluster": np.arange(N - 1)})
    p = Predictions.from_logits(data["teacher"], data["student"], cluster=data["cluster"])
    assert pair_from_predictions(p).cluster is not None


def test_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = arrays()
    cluster = data.pop("cluster")
    np.savez("pair.npz", **data)
    np.save("texts.npy", cluster)
    assert main(["diagnose", "pair.npz", "--cluster", "texts.npy", "--out", "out"]) == 0
    assert "12 clusters" in capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "95% over 12 clusters" in page
