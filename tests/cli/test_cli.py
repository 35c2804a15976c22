"""The command as a user meets it: quick help, one message for every mistake, nothing lost."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from disobey.cli.main import main
from tests.support.refusals import refuses


def disobey(*words, cwd=None, **env):
    return subprocess.run(
        [sys.executable, "-c", "from disobey.cli.main import entry; entry()", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **env},
        timeout=300,
    )


def test_help_imports_next_to_nothing():
    code = (
        "import sys; from disobey.cli.main import main; main(['--help']);"
        "print(sorted({'torch', 'numpy', 'scipy', 'rich', 'tyro'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
    assert "disobey COMMAND" in run.stdout


def test_a_terminal_without_these_signs_loses_a_sign_only(tmp_path):
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(300, 3))  # the student is under-confident: a negative number is told
    np.savez(tmp_path / "pair.npz", teacher=logits, student=logits / 6, labels=logits.argmax(axis=1))
    run = disobey("diagnose", "pair.npz", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert run.returncode == 0, run.stderr
    assert "report: " in run.stdout
    assert "confidence minus accuracy ?" in run.stdout


def test_the_help_of_a_study_needs_no_torch():
    code = (
        "import sys; from disobey.cli.main import main\n"
        "try: main(['run', 'deviation', '--help'])\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "False"
    assert "--temperatures" in run.stdout
    assert "is-smoke" not in run.stdout
    said = " ".join(run.stdout.replace("│", " ").split())
    assert "None" not in said
    assert "chosen by the data: 300 for mnist-5k" in said


def test_the_list_names_what_there_is(capsys):
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    for word in ("deviation", "loss-switching", "mnist-5k", "languages", "cnn", "hub:NAME", "hf:NAME"):
        assert word in listed


def test_every_study_is_listed_under_its_own_name():
    from disobey.studies import STUDIES

    assert all(study.name == name for name, study in STUDIES.items())


@pytest.fixture(scope="module")
def smoke(tmp_path_factory, smoke_runs):
    """The study as a user gets it, on runs that were trained already."""
    out = tmp_path_factory.mktemp("out")
    shutil.copytree(smoke_runs.store("deviation"), out, dirs_exist_ok=True)
    run = disobey("run", "deviation", "--smoke", "--workers", "0", "--out", str(out))
    assert run.returncode == 0, run.stderr
    return out, run


def test_a_smoke_run_writes_everything_and_says_so(smoke):
    out, run = smoke
    assert "evidence of nothing" in run.stdout
    folder = next((out / "reports").iterdir())
    assert str(folder / "report.html") in run.stdout
    result = json.loads((folder / "result.json").read_text())
    assert result["study"] == "deviation"
    assert result["smoke"] is True
    assert list((folder / "figures").glob("*.svg"))
    assert json.loads((folder / "provenance.json").read_text())["cost"]["runs"] == 10


def test_a_smoke_run_says_so_whatever_else_is_asked(smoke):
    out, _ = smoke
    words = ["run", "deviation", "--smoke", "--seeds", "0", "1", "2", "--steps", "29", "--workers", "0"]
    run = disobey(*words, "--out", str(out / "more"))
    assert run.returncode == 0, run.stderr
    assert "evidence of nothing" in run.stdout
    folder = next((out / "more" / "reports").iterdir())
    result = json.loads((folder / "result.json").read_text())
    assert result["smoke"] is True
    assert (result["settings"]["seeds"], result["settings"]["steps"]) == ([0, 1, 2], 29)
    assert "evidence of nothing" in (folder / "report.html").read_text()


def test_the_same_again_trains_nothing_and_gives_the_same_bytes(smoke):
    out, _ = smoke
    path = next((out / "reports").iterdir()) / "result.json"
    before = path.read_bytes()
    run = disobey("run", "deviation", "--smoke", "--workers", "0", "--out", str(out), "--json")
    assert run.returncode == 0
    assert path.read_bytes() == before
    assert json.loads(run.stdout) == json.loads(before)
    dry = disobey("run", "deviation", "--smoke", "--out", str(out), "--dry-run")
    assert "10 there already, 0 to train" in dry.stdout


def test_a_result_without_a_page_is_the_same_and_can_be_drawn_later(smoke, tmp_path, capsys):
    out, _ = smoke
    words = ["run", "deviation", "--smoke", "--workers", "0", "--out", str(out), "--no-report", "--reports"]
    assert main([*words, str(tmp_path)]) == 0
    assert str(tmp_path / "result.json") in capsys.readouterr().out
    drawn = next((out / "reports").iterdir())
    assert (tmp_path / "result.json").read_bytes() == (drawn / "result.json").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["provenance.json", "result.json"]


def test_loss_switching_reuses_the_ends(smoke):
    out, _ = smoke
    dry = disobey("run", "loss-switching", "--smoke", "--out", str(out), "--dry-run")
    assert "6 there already, 4 to train" in dry.stdout


def test_a_run_can_be_repeated_from_its_record(smoke, tmp_path):
    out, _ = smoke
    record = sorted((out / "runs").iterdir())[0] / "run.json"
    run = disobey("train", str(record), "--out", str(tmp_path), "--workers", "0", "--json")
    assert run.returncode == 0, run.stderr
    again, before = json.loads(run.stdout), json.loads(record.read_text())["summary"]
    assert {name: again[name] for name in before} == before


def test_a_report_is_redrawn_without_training(smoke, tmp_path):
    out, _ = smoke
    folder = next((out / "reports").iterdir())
    run = disobey("report", str(folder), "--out", str(tmp_path))
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "report.html").read_bytes() == (folder / "report.html").read_bytes()


BAD = [  # words, the refusal's id, and what its sentence must name
    (["fly"], "unknown-command", "'fly'"),
    (["rum"], "unknown-command", "try 'run'"),
    (["run"], "no-study", "deviation"),
    (["run", "deviaton"], "unknown-study", "try 'deviation'"),
    (["run", "deviation", "--seeds", "1", "1"], "bad-seeds", "(1, 1)"),
    (["run", "deviation", "--early", "1"], "bad-early", "--early"),
    (["run", "deviation", "--smoke", "--preset", "text"], "smoke-preset", "--smoke"),
    (["run", "deviation", "--data", "mnist5k"], "unknown-data", "try 'mnist-5k'"),
    (["run", "deviation", "--data", "nowhere.npz"], "no-file", "nowhere.npz"),
    (["run", "deviation", "--teacher", "cnnn"], "unknown-model", "'cnn'"),
    (["run", "deviation", "--preset", "papers"], "unknown-preset", "'papers'"),
    (["run", "deviation", "--label-noise", "1.5"], "noise-range", "1.5"),
    (["run", "deviation", "--smoke", "--workers", "many"], "bad-workers", "'many'"),
    (["run", "deviation", "--temperature", "3"], "temperature-not-trained", "3.0"),
    (["train", "nowhere.json"], "bad-recipe", "nowhere.json"),
    (["train"], "no-recipe", "RECIPE.json"),
    (["report", "nowhere.json"], "no-result", "nowhere.json"),
]


@pytest.mark.parametrize(("words", "id", "named"), BAD, ids=[" ".join(b[0]) for b in BAD])
def test_one_message_and_status_two(words, id, named, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert named in error
    assert "Traceback" not in error
    assert error.count("\n") == 1
    monkeypatch.setenv("DISOBEY_DEBUG", "1")
    with refuses(id, named):
        main(words)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--sedes", "1"], "--seeds"),
        (["--steps", "many"], "INT"),
    ],
)
def test_an_option_that_makes_no_sense_is_status_two(option, said, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["run", "deviation", *option])
    assert stop.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_renamed_options_work_with_a_note(capsys, tmp_path):
    common = ["--smoke", "--dry-run", "--out", str(tmp_path)]
    main(["run", "loss-switching", *common, "--noise", "0", "0.1", "--shares=0.5", "--over", "0.2"])
    old = capsys.readouterr()
    main(["run", "loss-switching", *common, "--label-noise", "0", "0.1", "--switch-points=0.5", "--windows", "0.2"])
    new = capsys.readouterr()
    assert old.out == new.out
    assert [new.err, old.err.count("\n")] == ["", 3]
    assert all(name in old.err for name in ("--label-noise", "--switch-points", "--windows"))


def test_a_damaged_result_is_refused(tmp_path, capsys):
    for text in ("", "{}", "[1]", '{"type": "Result"}', '{"type": "Result", "study": 1'):
        (tmp_path / "result.json").write_text(text)
        assert main(["report", str(tmp_path)]) == 2
        assert "result.json" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert main(["run", "deviation", "--smoke", "--workers", "0", "--out", str(tmp_path / "out")]) == 2
    assert "can be written" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_message(tmp_path, capsys, monkeypatch):
    import disobey.records.store as store

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "write", full)
    assert main(["run", "deviation", "--smoke", "--workers", "0", "--out", str(tmp_path)]) == 2
    assert "No space left on device" in capsys.readouterr().err


def test_a_diverging_run_exits_one_and_says_where(tmp_path, capsys):
    words = ["run", "deviation", "--smoke", "--workers", "0", "--lr", "1e30", "--out", str(tmp_path)]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert "try a lower learning rate" in error
    assert "failures" in error
    assert "Traceback" not in error
