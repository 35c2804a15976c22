"""Lost machines cost no study: dead workers and nodes are replaced, silent ones named, unreachable ones refused."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import pytest

from disobey.data.dataset import DataSpec
from disobey.models.spec import ModelSpec
from disobey.records.store import Store
from disobey.training.execution.engine import run_all
from disobey.training.execution.vitals import Vitals
from disobey.training.execution.workers import heartbeat
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec
from tests.support.refusals import refuses

DATA = DataSpec("digits-8x8", train=100)
TEACHER = Recipe(DATA, ModelSpec("mlp", width=8), OptimSpec(steps=5, batch=16))

ONCE = """
import os, signal
from pathlib import Path
from torch import nn
def make(shape, classes):
    marker = Path({marker!r})
    if not marker.exists():
        marker.write_text("dead")
        {deed}
    size = 1
    for n in shape:
        size *= n
    return nn.Sequential(nn.Flatten(), nn.Linear(size, classes))
"""


def once(tmp_path, deed):
    """A recipe whose model does something dreadful the first time that it is built."""
    path = tmp_path / "once.py"
    path.write_text(ONCE.format(marker=str(tmp_path / "marker"), deed=deed))
    return replace(TEACHER, model=ModelSpec(f"{path}:make"), name="unlucky")


def test_a_run_whose_worker_was_killed_is_tried_again(tmp_path):
    """It failed, and needed a second command."""
    unlucky = once(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    said = []
    outcome = run_all([Run(unlucky), Run(TEACHER)], Store(tmp_path / "store"), workers=2, say=said.append)
    assert not outcome.failed
    assert outcome.retried == {Run(unlucky): 1}
    assert len(said) == 1
    assert "unlucky, seed 0: its worker or node ended" in said[0]
    assert not list((tmp_path / "store" / "tmp").iterdir())


def test_a_runs_own_exception_is_not_tried_again(tmp_path):
    unlucky = once(tmp_path, "raise RuntimeError('mine')")
    outcome = run_all([Run(unlucky)], Store(tmp_path / "store"), workers=1)
    assert "RuntimeError: mine" in outcome.failed[Run(unlucky)].message
    assert not outcome.retried


@pytest.mark.slow
def test_a_silent_run_is_ended_where_that_is_asked(tmp_path):
    asleep = once(tmp_path, "import time; time.sleep(10_000)")
    began = time.monotonic()
    outcome = run_all([Run(asleep), Run(TEACHER)], Store(tmp_path / "store"), workers=2, stall=40.0)
    assert set(outcome.records) == {Run(TEACHER)}
    assert outcome.failed[Run(asleep)].id == "stalled"
    assert "--stall-timeout" in outcome.failed[Run(asleep)].message
    assert time.monotonic() - began < 200
    assert not list((tmp_path / "store" / "tmp").iterdir())


def test_a_run_ten_times_slower_than_itself_is_named_once(tmp_path):
    now, said = [0.0], []
    vitals = Vitals(tmp_path, said.append, clock=lambda: now[0])
    run = Run(replace(TEACHER, name="slow"))
    beat = heartbeat(tmp_path, run.id)
    beat.parent.mkdir()
    vitals.began(0, [run])
    for step in range(1, 6):
        now[0] += 20.0
        beat.write_text(str(step))
        assert vitals.silent(0) == ""
    now[0] += 199.0
    assert (vitals.silent(0), said) == ("", [])
    now[0] += 2.0
    assert vitals.silent(0) == ""
    assert len(said) == 1
    assert "slow, seed 0: no sign of life for 201 s after step 5, 20.0 s as a rule" in said[0]
    now[0] += 1000.0
    vitals.silent(0)
    assert len(said) == 1
    beat.write_text("6")
    vitals.silent(0)
    now[0] += 2000.0
    vitals.silent(0)
    assert len(said) == 2


SLOW = ["run", "deviation", "--smoke", "--workers", "1", "--steps", "200000"]


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_signals_end_everything_in_one_line(tmp_path, number, status, word):
    """SIGTERM killed the command without a word and left its workers' folders behind."""
    command = [sys.executable, "-c", "from disobey.cli.main import entry; entry()", *SLOW, "--out", str(tmp_path)]
    # A parent in the background (nohup, some CI) ignores SIGINT, and its children would too.
    heard = partial(signal.signal, number, signal.SIG_DFL)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heard)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("tmp/*.step")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(tmp_path.glob("tmp/*.step")), "no worker began"
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert [line for line in said.splitlines() if line] == [
        f"disobey: {word}; finished runs are kept, the same command continues from here"
    ]
    assert not list((tmp_path / "tmp").iterdir())
    assert not list((tmp_path / "locks").iterdir())
    for _ in range(50):
        if not _alive(process.pid):
            break
        time.sleep(0.1)
    assert not _alive(process.pid), "a worker goes on"


def _alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_cluster_that_does_not_answer_is_said_within_seconds(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    began = time.monotonic()
    with refuses("no-cluster", "127.0.0.1:9"):
        run_all([Run(TEACHER)], Store(tmp_path), workers="ray")
    assert time.monotonic() - began < 30


RAY = """
import sys, time, threading
from dataclasses import replace
from functools import partial
from pathlib import Path
import warnings
warnings.simplefilter("ignore")
import ray
from ray.cluster_utils import Cluster
from disobey.records.store import Store
from disobey.training.execution import cluster
from disobey.training.execution.engine import run_all
from tests.training.execution.test_engine import STUDY_OBJECT as study

root, mode = Path(sys.argv[1]), sys.argv[2]
nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
second = nodes.add_node(num_cpus=1)
import os
os.environ["RAY_ADDRESS"] = nodes.address
if mode == "opened":
    ray.init(address=nodes.address, log_to_driver=False)
if mode == "private":
    cluster._sees = lambda probe, token: False

def lose():
    deadline = time.monotonic() + 100
    while len(list(root.glob("tmp/*.step"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    nodes.remove_node(second, allow_graceful=False)

if mode == "lost":
    threading.Thread(target=lose, daemon=True).start()
try:
    outcome = run_all(study.plan(), Store(root), workers="ray", say=lambda line: print("said:", line, flush=True))
    assert not outcome.failed, outcome.failed
    print("retried:", sum(outcome.retried.values()), flush=True)
    study.analyze(outcome.records).write(root / "result.json")
except ValueError as error:
    print("refused:", error.id, flush=True)
print("open:", ray.is_initialized(), flush=True)
ray.shutdown()
nodes.shutdown()
"""


def ray_run(root, mode):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), os.getcwd()])}
    run = subprocess.run(
        [sys.executable, "-c", RAY, str(root), mode], capture_output=True, text=True, timeout=900, env=environment
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return run.stdout


@pytest.mark.slow
def test_ray_with_a_node_removed_finishes_without_a_second_command(tmp_path):
    """Two local nodes, one of them removed (its raylet killed) while both work: the same bytes as on one machine."""
    pytest.importorskip("ray")
    from tests.training.execution.test_engine import finish

    whole = finish(tmp_path / "whole")
    said = ray_run(tmp_path / "lost", "lost")
    assert (tmp_path / "lost" / "result.json").read_bytes() == whole
    assert "put back, try 2 of 3" in said
    assert "retried: 0" not in said
    assert "open: False" in said
    assert "raylet" not in said, "Ray's own noise"


@pytest.mark.slow
def test_a_ray_session_that_was_open_stays_open(tmp_path):
    pytest.importorskip("ray")
    assert "open: True" in ray_run(tmp_path, "opened")


@pytest.mark.slow
def test_a_store_that_nodes_do_not_share_is_said_at_the_start(tmp_path):
    pytest.importorskip("ray")
    assert "refused: store-not-shared" in ray_run(tmp_path, "private")
    assert not list((tmp_path / "runs").iterdir())
