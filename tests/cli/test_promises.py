"""What the commands promise together: a dry run checks what a run checks, help asks questions, JSON means one thing."""

import json
import subprocess
import sys

import numpy as np
import pytest

from disobey.cli.main import main
from disobey.cli.output import print_json
from disobey.studies import STUDIES
from tests.records.test_manifest import fill, report_on
from tests.support.refusals import refuses


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["run", "--help"]], ids=" ".join)
def test_what_only_reads_names_imports_neither_torch_nor_scipy(words):
    code = (
        "import sys; from disobey.cli.main import main\n"
        f"try: main({words!r})\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'scipy', 'altair', 'sklearn'} & set(sys.modules)), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr.splitlines()[-1] == "[]"


def test_the_package_runs_as_a_module():
    run = subprocess.run([sys.executable, "-m", "disobey", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("disobey ")


def test_help_of_run_asks_the_questions(capsys):
    assert main(["run", "--help"]) == 0
    said = capsys.readouterr().out
    for name in STUDIES:
        assert STUDIES.question(name) == STUDIES[name].question
        assert f"{name} " in said
        assert STUDIES[name].question in said


REFUSED = [
    (["--teacher", "resnet99"], "unknown-model"),
    (["--data", "nowhere.npz"], "no-file"),
    (["--train", "100000"], "train-size"),
    (["--label-noise", "1.5"], "noise-range"),
    (["--workers", "many"], "bad-workers"),
    (["--device", "cuda"], "no-gpu"),
    (["--out", "file/below"], "store-not-writable"),
    (["--reports", "file"], "not-a-folder"),
]


@pytest.mark.parametrize(("more", "id"), REFUSED, ids=[id for _, id in REFUSED])
def test_a_dry_run_refuses_what_a_run_refuses(more, id, tmp_path, monkeypatch, capsys):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    words = ["run", "deviation", "--smoke", "--dry-run", *more]
    assert main(words) == 2
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("DISOBEY_DEBUG", "1")
    with refuses(id):
        main(words)
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "a dry run writes nothing"


def test_a_dry_run_refuses_a_read_only_store(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # a root user may write to anything
    monkeypatch.setenv("DISOBEY_DEBUG", "1")
    with refuses("store-not-writable"):
        main(["run", "deviation", "--smoke", "--dry-run", "--out", str(tmp_path)])


def test_temperatures_alone_are_enough(tmp_path, capsys):
    common = ["run", "deviation", "--smoke", "--dry-run", "--out", str(tmp_path)]
    assert main([*common, "--temperatures", "2", "8"]) == 0
    assert "τ=2 early teacher" in capsys.readouterr().out, "judged at the one nearest to 4"
    assert main([*common, "--temperatures", "2", "8", "--temperature", "8"]) == 0
    assert "τ=8 early teacher" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "id", "named"),
    [
        (["--temperatures", "0"], "temperature-range", "above 0"),
        (["--temperatures"], "temperature-range", "at least one"),
        (["--temperatures", "2", "8", "--temperature", "4"], "temperature-not-trained", "leave it out"),
    ],
)
def test_temperatures_that_make_no_sense(more, id, named, monkeypatch):
    monkeypatch.setenv("DISOBEY_DEBUG", "1")
    with refuses(id, named):
        main(["run", "deviation", "--dry-run", *more])


def only_json(capsys, words, status=0):
    """What a command prints with ``--json``: one JSON value and nothing else on standard output."""
    assert main([*words, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_json_means_the_same_everywhere(tmp_path, capsys, smoke_runs, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert only_json(capsys, ["list"])["studies"]["deviation"] == STUDIES["deviation"].question
    assert set(only_json(capsys, ["list", "--what", "data"])) == {"data"}
    plan = only_json(capsys, ["run", "deviation", "--smoke", "--dry-run"])
    assert (plan["runs"], plan["there"], plan["to_train"]) == (10, 0, 10)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(60, 3))
    np.savez("pair.npz", teacher=logits, student=logits + rng.normal(size=logits.shape), labels=logits.argmax(1))
    result = only_json(capsys, ["diagnose", "pair.npz", "--out", "o"])
    assert result == json.loads((tmp_path / "o" / "result.json").read_text())
    assert only_json(capsys, ["report", "o"]) == result
    store = smoke_runs.store("deviation")
    record = next(path for path in sorted((store / "runs").iterdir()))
    trained = only_json(capsys, ["train", str(record / "run.json"), "--out", str(store), "--workers", "0"])
    assert trained["path"] == str(record)


def test_a_store_as_json(tmp_path, capsys):
    from disobey.records.store import Store

    store = Store(tmp_path)
    for run_id, seed in (("k-s0", 0), ("k-s1", 1)):
        with store.writing(run_id) as folder:
            fill(folder, seed)
    report_on(store, "deviation", ["k-s0"])
    words = ["store", "--out", str(tmp_path)]
    found = only_json(capsys, words)
    assert (found["reports"], found["orphans"]) == ({"deviation": ["k-s0"]}, ["k-s1"])
    assert found["runs"].keys() == {"k-s0", "k-s1"}
    assert found["damaged"] == {}
    (going,) = only_json(capsys, [*words, "--prune"])["removable"]
    assert going["path"] == "runs/k-s1"
    assert store.find("k-s1")
    assert only_json(capsys, [*words, "--prune", "--yes"])["freed"] == going["bytes"]
    assert store.find("k-s1") is None


def test_numbers_that_json_lacks_are_null(capsys):
    print_json({"a": float("nan"), "b": [float("inf"), 1.5]})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5]}


def test_a_dry_run_of_a_null_study_says_which_pool_it_would_train(tmp_path, capsys):
    words = ["run", "loss-switching", "--smoke", "--null", "--pool", "4", "--dry-run", "--json", "--out", str(tmp_path)]
    assert main(words) == 0
    plan = json.loads(capsys.readouterr().out)
    assert any("replica" in kind for kind in plan["kinds"])
    assert plan["there"] == 0
    assert not list(tmp_path.glob("runs/*"))
