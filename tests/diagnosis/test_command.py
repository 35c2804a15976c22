"""`disobey diagnose`: options and files in; report, result, provenance and exit status out."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

import disobey.cli.diagnose as command
from disobey.cli.main import main
from disobey.diagnosis.input.pair import pair_from
from disobey.records.results import Result
from tests.support.refusals import refuses


def _arrays(n=400, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    z = 2 * rng.normal(size=(n, classes))
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    labels = (p.cumsum(1) > rng.random((n, 1))).argmax(1)
    teacher = z + 0.3 * rng.normal(size=z.shape)
    return {
        "teacher": teacher,
        "student": 1.1 * teacher + 0.4 * rng.normal(size=z.shape),
        "labels": labels,
        "twin": z + 0.8 * rng.normal(size=z.shape),
    }


def test_places_that_cannot_be_written_are_refused_before_anything_is_computed(tmp_path, capsys, monkeypatch):
    np.savez(tmp_path / "pair.npz", **_arrays(n=30))
    (tmp_path / "file").touch()
    monkeypatch.setattr("disobey.diagnosis.evidence.evidence.gather", None)
    monkeypatch.chdir(tmp_path)
    for more, id, place in (
        (["--out", "file"], "not-a-folder", "--out"),
        (["--out", "file/below"], "not-a-folder", "--out"),
        (["--out", "o", "--json", "file/j.json"], "not-a-folder", "--json"),
    ):
        assert main(["diagnose", "pair.npz", *more]) == 2
        assert capsys.readouterr().err.count("\n") == 1 + ("--json" in more)  # which is told to be old
        with refuses(id, place):
            command.main(["pair.npz", *more])
        assert not (tmp_path / "o").exists()
    monkeypatch.setattr("os.access", lambda *_: False)  # a root user may write to anything
    with refuses("read-only"):
        command.main(["pair.npz"])


def test_an_interrupted_diagnosis_promises_no_runs(capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("disobey.cli.diagnose.opened", interrupt)
    assert main(["diagnose", "pair.npz"]) == 130
    assert capsys.readouterr().err == "\ndisobey: interrupted\n"


def test_retries_of_the_hub_are_not_told_one_by_one(tmp_path, capsys):
    import logging

    missing = f"hf:{tmp_path / 'none'}"
    assert main(["diagnose", "--teacher", missing, "--student", missing, "--data", "x.csv"]) == 2
    assert logging.getLogger("huggingface_hub").getEffectiveLevel() >= logging.ERROR


def test_command(tmp_path, capsys):
    np.savez(tmp_path / "pair.npz", **_arrays())
    out = tmp_path / "out"
    assert main(["diagnose", str(tmp_path / "pair.npz"), "--out", str(out), "--json", str(tmp_path / "r.json")]) == 0
    said = capsys.readouterr().out
    assert f"report: {out / 'report.html'}" in said
    assert (out / "report.html").is_file()
    assert (out / "figures" / "logit-logit.svg").is_file()
    assert Result.read(tmp_path / "r.json") == Result.read(out / "result.json")
    assert str(tmp_path) not in (out / "result.json").read_text()


def _inputs(argv, out):
    """The input files by name in provenance.json, which the report shows as well."""
    assert main(["diagnose", *argv, "--quiet", "--out", str(out)]) == 0
    inputs = json.loads((out / "provenance.json").read_text())["inputs"]
    page = (out / "report.html").read_text()
    for file in inputs:
        assert f"<dt>name</dt><dd>{file['name']}</dd>" in page
        assert f"<dt>sha256</dt><dd>{file['sha256']}</dd>" in page
    return {file["name"]: (file["bytes"], file["sha256"]) for file in inputs}


def _known(path):
    return len(path.read_bytes()), hashlib.sha256(path.read_bytes()).hexdigest()


def test_provenance_names_every_file_that_was_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a = _arrays(n=60)
    (tmp_path / "pair").mkdir()
    for name in ("teacher", "student"):
        np.save(tmp_path / "pair" / f"{name}.npy", a[name])
    (tmp_path / "pair" / "notes.txt").write_text("not read")
    np.save(tmp_path / "labels.npy", a["labels"])
    np.save(tmp_path / "twin.npy", a["twin"])
    names = ["pair/student.npy", "pair/teacher.npy", "labels.npy", "twin.npy"]
    found = _inputs(["pair", "--labels", "labels.npy", "--twin", "twin.npy"], tmp_path / "o")
    assert found == {name: _known(tmp_path / name) for name in names}
    two = ["--teacher", "pair/teacher.npy", "--student", "pair/student.npy", "--labels", "labels.npy"]
    assert set(_inputs(two, tmp_path / "o")) == set(names[:3])


def test_a_file_that_vanishes_while_it_is_diagnosed_is_gone_and_the_report_is_written(tmp_path, monkeypatch):
    np.savez(tmp_path / "pair.npz", **_arrays(n=60))
    opened = command.opened

    def lost(options):
        opened(options)
        (tmp_path / "pair.npz").unlink()
        return pair_from(_arrays(n=60), name="pair")  # the same, in memory

    monkeypatch.setattr(command, "opened", lost)
    path = str(tmp_path / "pair.npz")
    assert _inputs([path], tmp_path / "o") == {path: (None, "gone")}


def test_models_of_the_hub_are_no_files_but_local_examples_are(tmp_path):
    from disobey.cli.diagnose import DiagnoseOptions, _files

    (tmp_path / "rows.csv").write_text("text,label\na,0\n")
    named = DiagnoseOptions(teacher="hf:t", student="hf:s", twin="hf:w", data="hf:rows")
    assert _files(named) == {}
    rows = tmp_path / "rows.csv"
    for given in (str(rows), f"hf:{rows}"):
        assert _files(replace(named, data=given)) == {str(rows): rows}


def test_strict_and_twin(tmp_path, capsys):
    a = _arrays()
    np.savez(tmp_path / "pair.npz", teacher=a["teacher"], student=a["student"][::-1], labels=a["labels"])
    np.save(tmp_path / "twin.npy", a["twin"])
    more = ["--twin", str(tmp_path / "twin.npy"), "--quiet", "--out", str(tmp_path / "o")]
    assert main(["diagnose", str(tmp_path / "pair.npz"), *more]) == 0
    assert main(["diagnose", str(tmp_path / "pair.npz"), *more, "--strict"]) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("id", "argv"),
    [
        ("no-input", []),
        ("no-file", ["{}/nothing.npz"]),
        ("label-range", ["{}/bad.npz"]),
        ("temperature-range", ["{}/pair.npz", "--temperature", "0"]),
        ("level-range", ["{}/pair.npz", "--level", "2"]),
        ("one-input", ["--teacher", "{}/pair.npz"]),
        ("two-inputs", ["{}/pair.npz", "--teacher", "{}/pair.npz"]),
        ("missing-data", ["--teacher", "hf:x", "--student", "hf:y"]),
        ("one-input", ["--student", "{}/pair.npz"]),
        ("data-without-models", ["{}/pair.npz", "--data", "{}/pair.npz"]),
        ("two-labels", ["{}/pair.npz", "--labels", "{}/pair.npz"]),
        ("labels-beside-models", ["--teacher", "hf:x", "--student", "hf:y", "--data", "z", "--labels", "l.npy"]),
    ],
)
def test_unusable_input_is_one_message_and_nothing_written(tmp_path, capsys, id, argv):
    a = _arrays(n=30)
    np.savez(tmp_path / "pair.npz", **a)
    np.savez(tmp_path / "bad.npz", **(a | {"labels": a["labels"] + 9}))
    out = tmp_path / "out"
    options = [*(x.format(tmp_path) for x in argv), "--out", str(out)]
    with refuses(id):
        command.main(options)
    assert main(["diagnose", *options]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert not out.exists()
