"""`disobey store`: what is there, whether it is as it was written, what could go."""

import json

import pytest

from disobey.cli.main import main
from disobey.records.store import Store
from tests.records.test_manifest import fill, flip, report_on


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    for run_id, seed in (("k-s0", 0), ("k-s1", 1)):
        with store.writing(run_id) as folder:
            fill(folder, seed)
    report_on(store, "deviation", ["k-s0"])
    return store


def said(capsys, *words):
    status = main(["store", *words])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return status, captured.out, captured.err


def test_sizes_by_study_and_orphans(store, capsys):
    status, out, _ = said(capsys, "--out", str(store.root))
    assert status == 0
    lines = {line.split("  ")[0]: line for line in out.splitlines()}
    assert "1 runs" in lines["deviation"]
    assert "1 runs" in lines["in no report"]
    assert "2 runs" in lines["all runs"]


def test_check_reads_everything(store, capsys):
    assert said(capsys, "--out", str(store.root), "--check")[0] == 0
    flip(store.folder("k-s0") / "weights" / "last.safetensors")
    assert said(capsys, "--out", str(store.root))[0] == 0, "sizes are right"
    status, out, _ = said(capsys, "--out", str(store.root), "--check")
    assert status == 1
    assert "damaged: k-s0: weights/last.safetensors" in out


def test_prune_is_dry_unless_told(store, capsys):
    status, out, _ = said(capsys, "--out", str(store.root), "--prune")
    assert status == 0
    assert "runs/k-s1" in out
    assert "would free" in out
    assert store.find("k-s1")
    assert "freed" in said(capsys, "--out", str(store.root), "--prune", "--yes")[1]
    assert store.find("k-s0")
    assert store.find("k-s1") is None
    assert not list((store.root / "locks").iterdir())


def test_prune_spares_runs_where_a_report_names_none(store, capsys):
    (store.root / "reports" / "deviation" / "provenance.json").write_text(json.dumps({"cost": {}}))
    _, out, _ = said(capsys, "--out", str(store.root), "--prune", "--yes")
    assert "no run is removed" in out
    assert store.find("k-s1")


@pytest.mark.parametrize("words", [["--out", "nowhere"], ["--yes"]])
def test_one_message(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "disobey-runs" / "runs").mkdir(parents=True)
    status, _, err = said(capsys, *words)
    assert status == 2
    assert err.count("\n") == 1
