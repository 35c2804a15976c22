"""`--workers slurm`, with submitit's local jobs: the same bytes as in this process; a killed job is tried again."""

import sys

import pytest

from disobey.records.store import Store
from disobey.training.execution import engine
from disobey.training.execution.pools import worker_pool
from disobey.training.recipe import OptimSpec, Recipe, Run
from tests.support.refusals import refuses

RUN = Run(Recipe(optim=OptimSpec(steps=3)), 0)


def test_slurm_without_submitit_or_without_slurm_is_refused(tmp_path, monkeypatch):
    for word in ("slurm:0", "slurm:x", "slurmy"):
        with refuses("bad-workers", word):
            worker_pool(word, "cpu")
    monkeypatch.setitem(sys.modules, "submitit", None)
    with refuses("no-submitit", "disobey[slurm]"):
        worker_pool("slurm", "cpu")


@pytest.mark.slow
def test_local_jobs_train_the_same_bytes(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    from disobey.training.execution.slurm import Slurm

    monkeypatch.setattr(engine, "worker_pool", lambda workers, device: Slurm(device, 2, cluster="local"))
    there, here = Store(tmp_path / "there"), Store(tmp_path / "here")
    outcome = engine.run_all([RUN], there)
    assert not outcome.failed, outcome.failed
    monkeypatch.undo()
    engine.run_all([RUN], here, workers=0)
    name = "examples.safetensors"
    (a,), (b,) = there.root.rglob(name), here.root.rglob(name)
    assert a.read_bytes() == b.read_bytes()


def test_a_machine_without_slurm_is_refused(tmp_path):
    pytest.importorskip("submitit")
    from disobey.training.execution.slurm import Slurm

    with refuses("no-slurm", "--workers auto"):
        Slurm("cpu").check(tmp_path)
