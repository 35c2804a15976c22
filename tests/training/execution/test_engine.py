"""The engine: order, reuse, failures that stay where they are, kills at any moment, two processes on one store."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from disobey.data.dataset import DataSpec
from disobey.models.spec import ModelSpec
from disobey.records.store import Store
from disobey.studies.deviation.study import Deviation
from disobey.studies.kit.setup import Setup
from disobey.targets.schedule import distill
from disobey.training.execution.engine import run_all
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec
from disobey.training.tasks import classification
from tests.support.refusals import refuses

DATA = DataSpec("digits-8x8", train=100)
TEACHER = Recipe(DATA, ModelSpec("mlp", width=8), OptimSpec(steps=5, batch=16))
STUDENT = replace(TEACHER, targets=distill(2.0), teacher=TEACHER, replica=1)


def test_teachers_are_trained_first_and_finished_runs_reused(tmp_path):
    store = Store(tmp_path)
    first = run_all([Run(STUDENT)], store, workers=0)
    assert set(first.records) == {Run(STUDENT), Run(TEACHER)}
    assert not first.reused
    second = run_all([Run(STUDENT), Run(STUDENT, 1)], store, workers=0)
    assert second.reused == {Run(STUDENT), Run(TEACHER)}
    assert set(second.records) == {Run(r, s) for r in (STUDENT, TEACHER) for s in (0, 1)}


def test_a_failed_run_is_noted_its_students_skipped_the_rest_goes_on(tmp_path):
    bad = replace(TEACHER, optim=replace(TEACHER.optim, lr=1e30))
    student = replace(STUDENT, teacher=bad)
    outcome = run_all([Run(student), Run(TEACHER)], Store(tmp_path), workers=0)
    assert set(outcome.records) == {Run(TEACHER)}
    assert outcome.failed[Run(bad)].id == "diverged"
    assert (outcome.failed[Run(student)].skipped, outcome.failed[Run(student)].id) == (True, "teacher-failed")
    noted = json.loads((tmp_path / "failures" / f"{Run(bad).id}.json").read_text())
    assert "Diverged" in noted["traceback"]
    assert not Store(tmp_path).find(Run(bad).id)


def test_the_next_call_tries_failed_runs_again(tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("no luck today")

    with monkeypatch.context() as patch:
        patch.setattr(classification, "fit_stack", broken)
        failure = run_all([Run(TEACHER)], Store(tmp_path), workers=0).failed[Run(TEACHER)]
    assert failure.id == ""  # an exception of no kind that programs know
    assert "no luck today" in failure.trace
    assert not run_all([Run(TEACHER)], Store(tmp_path), workers=0).failed
    assert not list((tmp_path / "failures").iterdir())


def test_an_edited_record_is_moved_aside_and_trained_again(tmp_path):
    store = Store(tmp_path)
    record = run_all([Run(TEACHER)], store, workers=0).records[Run(TEACHER)]
    path = record.path / "run.json"
    path.write_text(path.read_text().replace('"width": 8', '"width": 9'))
    said = []
    again = run_all([Run(TEACHER)], store, workers=0, say=said.append)
    assert not again.reused
    assert again.records[Run(TEACHER)].summary == record.summary
    assert len(said) == 1
    assert str(tmp_path / "damaged" / Run(TEACHER).id) in said[0]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="can be written"):
        run_all([Run(TEACHER)], Store(tmp_path / "file"), workers=0)


@pytest.mark.parametrize("workers", ["many", -1, "1.5"])
def test_workers_that_make_no_sense(tmp_path, workers):
    with refuses("bad-workers", str(workers)):
        run_all([Run(TEACHER)], Store(tmp_path), workers=workers)


@pytest.mark.parametrize("workers", [0, 1])
def test_names_arrive_wherever_a_run_is_trained(tmp_path, workers):
    """Names are for people: written into the record, alone or in a stack, and no part of key, recipe or result."""
    teacher = replace(TEACHER, name="the teacher")
    student = replace(STUDENT, teacher=teacher, name="the student")
    other = replace(TEACHER, optim=replace(TEACHER.optim, lr=1e-3), name="größer / <b>")  # trained beside the teacher
    found = run_all([Run(student), Run(other)], Store(tmp_path / "named"), workers=workers).records
    names = {run.id: record.info["name"] for run, record in found.items()}
    assert names == {Run(teacher).id: "the teacher", Run(student).id: "the student", Run(other).id: "größer / <b>"}
    plain = run_all([Run(STUDENT)], Store(tmp_path / "plain"), workers=0).records
    for run, record in plain.items():
        named = found[run]
        assert (record.path.name, record.recipe, record.summary) == (named.path.name, named.recipe, named.summary)
        assert record.info["name"] == ""
        assert (record.path / "weights/last.safetensors").read_bytes() == named.weights().read_bytes()
    again = run_all([Run(STUDENT)], Store(tmp_path / "named"), workers=workers)
    assert again.reused == {Run(STUDENT), Run(TEACHER)}


def test_progress_ends_at_one(tmp_path):
    seen = []
    run_all([Run(STUDENT)], Store(tmp_path), workers=0, progress=seen.append)
    assert seen[-1].share == 1.0
    assert (seen[-1].done, seen[-1].total) == (2, 2)


def test_a_run_that_kills_its_worker_fails_in_the_end(tmp_path):
    """The worker dies inside a run, three times: that run fails with its reason, the other is untouched."""
    factory = tmp_path / "deadly.py"
    factory.write_text("import os, signal\ndef make(shape, classes):\n    os.kill(os.getpid(), signal.SIGKILL)\n")
    deadly = replace(TEACHER, model=ModelSpec(f"{factory}:make"))
    store = Store(tmp_path / "store")
    said = []
    outcome = run_all([Run(deadly), Run(TEACHER)], store, workers=2, say=said.append)
    assert set(outcome.records) == {Run(TEACHER)}
    assert outcome.failed[Run(deadly)].id == "worker-died"
    assert "3 times" in outcome.failed[Run(deadly)].message
    assert outcome.retried == {Run(deadly): 3}
    assert [line.split(";")[1] for line in said] == [" put back, try 2 of 3", " put back, try 3 of 3"]
    assert store.sweep() <= 1
    assert not list((store.root / "tmp").iterdir())


STUDY_OBJECT = Deviation(
    Setup(data="digits-8x8", seeds=(0, 1), steps=60),
    "mlp:16",
    students=("self",),
    temperatures=(1.0, 4.0),
    label_noise=(0.2,),
)

STUDY = """
import sys
from disobey.records.store import Store
from disobey.training.execution.engine import run_all
from tests.training.execution.test_engine import STUDY_OBJECT as study
from pathlib import Path
root = Path(sys.argv[1])
outcome = run_all(study.plan(), Store(root), workers=int(sys.argv[2]))
assert not outcome.failed, [f.message + f.trace for f in outcome.failed.values()]
study.analyze(outcome.records).write(root / "result.json")
"""


def start(root, workers):
    return subprocess.Popen([sys.executable, "-c", STUDY, str(root), str(workers)], start_new_session=True)


def finish(root, workers=1):
    assert start(root, workers).wait(timeout=500) == 0
    return (root / "result.json").read_bytes()


@pytest.mark.slow
def test_twenty_kills_leave_the_same_result(tmp_path):
    """Kills of the whole process group at random moments, then resume: the uninterrupted result, byte for byte."""
    whole = finish(tmp_path / "whole")
    rng = np.random.default_rng(0)
    began = time.monotonic()
    finish(tmp_path / "timed")
    length = time.monotonic() - began
    kills = 0
    for attempt in range(20):
        root = tmp_path / f"killed{attempt % 10}"
        process = start(root, 1)
        time.sleep(float(rng.uniform(0.1, 0.7 if attempt < 10 else 0.5)) * length)  # a resumed study has less to do
        if process.poll() is None:
            kills += 1
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for folder in (root / "runs").glob("*") if (root / "runs").exists() else ():
            assert (folder / "run.json").is_file(), "a half-written run is visible"
    assert kills >= 10
    for i in range(10):
        assert finish(tmp_path / f"killed{i}") == whole
        assert not list((tmp_path / f"killed{i}" / "tmp").iterdir())


@pytest.mark.slow
def test_two_processes_share_a_store(tmp_path):
    whole = finish(tmp_path / "whole", 0)
    processes = [start(tmp_path / "shared", 1) for _ in range(2)]
    assert [p.wait(timeout=600) for p in processes] == [0, 0]
    assert (tmp_path / "shared" / "result.json").read_bytes() == whole
    trained = list((tmp_path / "shared" / "runs").iterdir())
    assert len(trained) == len({p.name for p in trained}) == 10
