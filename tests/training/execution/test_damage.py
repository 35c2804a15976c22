"""A finished study whose store is damaged, in any way: the next analysis gives the same bytes and says what it did."""

import contextlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from disobey.cli.main import main
from disobey.data.dataset import DataSpec
from disobey.models.spec import ModelSpec
from disobey.records.store import Store
from disobey.records.tables import note_of
from disobey.targets.schedule import distill
from disobey.training.execution import engine, reuse
from disobey.training.execution.engine import run_all
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec
from tests.support.refusals import refuses

DATA = DataSpec("digits-8x8", train=100)
TEACHER = Recipe(DATA, ModelSpec("mlp", width=8), OptimSpec(steps=5, batch=16), name="teacher")
STUDENT = replace(TEACHER, targets=distill(2.0), teacher=TEACHER, replica=1, name="student")
WORDS = ["run", "deviation", "--smoke", "--workers", "0", "--quiet"]


# --- ways to damage a file ------------------------------------------------------------------------------------------


def flipped(path):
    data = bytearray(path.read_bytes())
    data[int(len(data) * 0.8)] ^= 2
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def zeroed(path):
    path.write_bytes(bytes(path.stat().st_size))


def emptied(path):
    path.write_bytes(b"")


def removed(path):
    path.unlink()


def exchanged(path):
    """Another run's file in its place: sound in itself."""
    others = sorted(runs_of(path).iterdir())
    inner = Path(*path.relative_to(runs_of(path)).parts[1:])
    for other in others:
        file = other / inner
        if file.is_file() and file.read_bytes() != path.read_bytes():
            path.write_bytes(file.read_bytes())
            return
    raise AssertionError("no other file to take")


def runs_of(path):
    return next(parent for parent in path.parents if parent.name == "runs")


def other_numbers(path):
    if path.suffix == ".npy":
        array = np.load(path)
        array[::7] = np.nan
        np.save(path, array)
    else:
        flipped(path)


KINDS = (flipped, cut, zeroed, emptied, removed, exchanged, other_numbers)
FILES = (
    "run.json",
    "examples.safetensors",
    "history.safetensors",
    "predictions/train.npy",
    "predictions/test.npy",
    "weights/last.safetensors",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished smoke study, and its result."""
    root = tmp_path_factory.mktemp("whole")
    assert main([*WORDS, "--out", str(root)]) == 0
    (result,) = root.glob("reports/*/result.json")
    return root, result.read_bytes()


def run_again(root, tmp_path, capsys, *words):
    """The same command on a copy of the store; its result and what it said."""
    capsys.readouterr()
    assert main([*WORDS, "--out", str(root), *words]) == 0
    (result,) = root.glob("reports/*/result.json")
    return result.read_bytes(), capsys.readouterr().err


def roles(root):
    """A teacher's and a student's folder."""
    folders = sorted((root / "runs").iterdir())
    teachers = [f for f in folders if "teacher" not in json.loads((f / "run.json").read_text())["recipe"]]
    students = [f for f in folders if "teacher" in json.loads((f / "run.json").read_text())["recipe"]]
    return {"teacher": teachers[0].name, "student": students[0].name}


CASES = [(role, name, kind) for role in ("teacher", "student") for name in FILES for kind in KINDS]
QUICK = {
    ("teacher", "predictions/test.npy", flipped),
    ("student", "run.json", removed),
    ("student", "predictions/test.npy", exchanged),
}


@pytest.mark.parametrize(
    ("role", "name", "kind"),
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES],
    ids=[f"{role}-{name}-{kind.__name__}" for role, name, kind in CASES],
)
def test_damage_changes_no_result_and_is_said(whole, tmp_path, capsys, role, name, kind):
    """84 damages: each is found before it is believed, the record moved aside and trained again, byte for byte.

    What an analysis does not read (weights) is found by `disobey store --check`.
    """
    root = tmp_path / "store"
    shutil.copytree(whole[0], root)
    run_id = roles(root)[role]
    target = root / "runs" / run_id / name
    before = target.read_bytes()
    with contextlib.suppress(AssertionError):
        kind(target)
    if target.exists() and target.read_bytes() == before:
        pytest.skip("no other run's file differs")
    result, said = run_again(root, tmp_path, capsys)
    assert result == whole[1]
    if said:
        assert said.count("is not as it was written") == 1
        aside = [path for path in (root / "damaged").iterdir() if path.is_dir()]
        assert [path.name.split(".")[0] for path in aside] == [run_id]
        assert target.read_bytes() == before or name == "run.json"
    else:
        assert main(["store", "--check", "--out", str(root)]) == 1
        assert f"damaged: {run_id}" in capsys.readouterr().out


def test_a_folder_without_run_json_fails_no_run_for_ever(tmp_path, capsys):
    store = Store(tmp_path)
    folder = store.folder(Run(TEACHER).id)
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "x").write_text("x")
    outcome = run_all([Run(TEACHER)], store, workers=0)
    assert not outcome.failed
    assert "without run.json" in capsys.readouterr().err


def test_a_teacher_damaged_when_its_student_asks_is_trained_again_first(tmp_path):
    """A flipped exponent in a teacher's weights trained students from it."""
    store = Store(tmp_path / "a")
    whole = run_all([Run(STUDENT)], Store(tmp_path / "whole"), workers=0).records[Run(STUDENT)]
    record = run_all([Run(TEACHER)], store, workers=0).records[Run(TEACHER)]
    flipped(record.path / "weights" / "last.safetensors")
    said = []
    outcome = run_all([Run(STUDENT)], store, workers=0, say=said.append)
    assert not outcome.failed
    assert len(said) == 1
    assert "weights/last.safetensors" in said[0]
    again = outcome.records[Run(STUDENT)]
    for name in ("weights/last.safetensors", "predictions/test.npy", "history.safetensors"):
        assert (again.path / name).read_bytes() == (whole.path / name).read_bytes()


@pytest.mark.parametrize("kind", [flipped, cut, zeroed, emptied, removed])
@pytest.mark.parametrize("which", ["table", "note"])
def test_a_damaged_table_of_a_teachers_answers_is_made_anew(tmp_path, kind, which):
    whole = run_all([Run(STUDENT)], Store(tmp_path / "whole"), workers=0).records[Run(STUDENT)]
    shutil.copytree(tmp_path / "whole", tmp_path / "a")
    shutil.rmtree(tmp_path / "a" / "runs" / Run(STUDENT).id)
    (table,) = (tmp_path / "a" / "cache").glob("*.npy")
    kind(table if which == "table" else note_of(table))
    again = run_all([Run(STUDENT)], Store(tmp_path / "a"), workers=0).records[Run(STUDENT)]
    for name in ("weights/last.safetensors", "predictions/test.npy"):
        assert (again.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_a_finished_study_is_analyzed_again_from_a_store_that_nobody_may_write(whole, tmp_path, capsys, monkeypatch):
    root = tmp_path / "store"
    shutil.copytree(whole[0], root)
    opened = os.open

    def read_only(path, flags, *args, **kwargs):
        if str(path).startswith(str(root)) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(30, "Read-only file system")
        return opened(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", read_only)
    assert main([*WORDS, "--out", str(root), "--reports", str(tmp_path / "report")]) == 0
    assert (tmp_path / "report" / "result.json").read_bytes() == whole[1]
    assert main([*WORDS, "--out", str(root), "--steps", "31"]) == 2  # what is missing cannot be trained
    assert "Read-only" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [0, 2])
def test_a_full_disk_ends_everything_at_the_first_message(tmp_path, workers, capsys):
    """A thousand runs were trained in vain, one after the other."""
    factory = tmp_path / "full.py"
    factory.write_text(
        "def make(shape, classes):\n"
        f"    with open({str(tmp_path / 'tries')!r}, 'a') as file:\n        file.write('x')\n"
        "    raise OSError(28, 'No space left on device')\n"
    )
    recipe = replace(TEACHER, model=ModelSpec(f"{factory}:make"))
    with refuses("store-not-writable", "No space left"):
        run_all([Run(recipe, seed) for seed in range(20)], Store(tmp_path / "store"), workers=workers)
    assert len((tmp_path / "tries").read_text()) <= max(workers, 1)
    assert not list((tmp_path / "store" / "tmp").iterdir())


def test_other_content_under_an_embedded_name_is_refused(tmp_path, monkeypatch):
    """Another version of the package that carries the data would have been mixed with the old one's runs."""
    store = Store(tmp_path)
    run_all([Run(TEACHER), Run(STUDENT)], store, workers=0)
    load = reuse.load

    def newer(spec, seed):
        data = load(spec, seed)
        images = data.test.inputs.copy()
        images[0, 0, 0] += 1
        return replace(data, test=replace(data.test, inputs=images))

    monkeypatch.setattr(reuse, "load", newer)
    with refuses("data-changed", "digits-8x8", "scikit-learn"):
        run_all([Run(TEACHER)], store, workers=0)


def test_versions_that_mix_are_a_warning_in_report_and_provenance(whole, tmp_path, capsys):
    root = tmp_path / "store"
    shutil.copytree(whole[0], root)
    from disobey.records import manifest

    path = root / "runs" / roles(root)["student"] / "run.json"
    info = json.loads(path.read_text())
    info["environment"]["packages"]["torch"] = "2.12.0"
    info["cost"]["device"] = "cuda"
    info["seal"] = manifest.seal_of(info)
    path.write_text(json.dumps(info))
    result, _ = run_again(root, tmp_path, capsys)
    assert result == whole[1]
    (folder,) = (root / "reports").iterdir()
    told = json.loads((folder / "provenance.json").read_text())
    assert sum(maker["runs"] for maker in told["made_with"]) == len(told["runs"]) == 10
    assert len(told["warnings"]) == 2
    page = (folder / "report.html").read_text()
    assert "runs of different torch are analyzed together" in page
    assert "runs of different device are analyzed together" in page


def test_old_records_are_used_and_said_to_be_unverified(tmp_path):
    store = Store(tmp_path)
    record = run_all([Run(TEACHER)], store, workers=0).records[Run(TEACHER)]
    path = record.path / "run.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in info.items() if name not in ("files", "seal")}))
    said = []
    assert run_all([Run(STUDENT)], store, workers=0, say=said.append).reused == {Run(TEACHER)}
    assert "1 of the stored runs" in said[0]


def test_failed_runs_are_said_above_the_verdicts(tmp_path, capsys, monkeypatch):
    """One seed's runs fail: the summary begins with it, no claim is settled, --partial settles them."""
    take_in = engine._take_in

    def unlucky(state, run, answer):
        if run.seed == 1 and "twin" not in run.recipe.name and run.recipe.teacher is not None:
            answer = engine.Answer("failed", "Diverged: no luck")
        take_in(state, run, answer)

    monkeypatch.setattr(engine, "_take_in", unlucky)
    words = ["--out", str(tmp_path), "--seeds", "0", "1", "2"]
    assert main([*WORDS, *words]) == 1
    (path,) = tmp_path.glob("reports/*/result.json")
    result = json.loads(path.read_text())
    assert result["summary"].startswith("1 of 3 seeds (1) is incomplete: ")
    assert "Diverged: no luck" in result["summary"]
    verdicts = {block["verdict"] for block in result["blocks"] if block["type"] == "Claim"}
    assert verdicts <= {"undecided"}
    words[1] = str(tmp_path / "again")
    assert main([*WORDS, *words, "--partial"]) == 1
    (path,) = (tmp_path / "again").glob("reports/*/result.json")
    assert json.loads(path.read_text())["summary"].startswith("1 of 3 seeds (1) is incomplete: ")
