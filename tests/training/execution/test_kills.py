"""kill -9 at random moments, thirty times, over four kinds of runs: what is resumed ends with the same bytes."""

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
from disobey.targets.schedule import distill
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec, SequenceSpec

DATA = DataSpec("digits-8x8", train=400)
CNN = Recipe(DATA, ModelSpec("cnn", width=8), OptimSpec(steps=400, batch=32))
MLP = Recipe(DATA, ModelSpec("mlp", width=32), OptimSpec(steps=2500, batch=64))
WORD = Recipe(
    DataSpec("sequence:S3"),
    ModelSpec("fixed_point", width=8),
    OptimSpec(steps=150, batch=8),
    sequence=SequenceSpec(inner=8, rank=1, longest=6, lengths=(4,), count=16, powers=6),
)
PLANS = {
    "training": [Run(replace(CNN, targets=distill(2.0), teacher=CNN, replica=1), seed) for seed in (0, 1)],
    "stacked": [Run(replace(MLP, targets=distill(2.0), teacher=MLP, replica=1), seed) for seed in range(6)],
    "sequence": [Run(replace(WORD, targets=distill(2.0), teacher=WORD, replica=1), seed) for seed in (0, 1)],
    "checkpointed": [Run(replace(CNN, optim=replace(CNN.optim, steps=2500), choose="validation"), 0)],
}
KILLS = {"training": 8, "stacked": 7, "sequence": 7, "checkpointed": 8}  # thirty

SCRIPT = """
import sys
from pathlib import Path
from disobey.records.store import Store
from disobey.training.execution.engine import run_all
from tests.training.execution.test_kills import PLANS
kind, root = sys.argv[1], Path(sys.argv[2])
outcome = run_all(PLANS[kind], Store(root), workers=1, checkpoint=0.5 if kind == "checkpointed" else 600.0)
assert not outcome.failed, [f.message + f.trace for f in outcome.failed.values()]
"""


def start(kind, root):
    return subprocess.Popen([sys.executable, "-c", SCRIPT, kind, str(root)], start_new_session=True)


def content(root):
    """Everything that runs left but times and machines: run.json has those."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted((root / "runs").rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLANS)
def test_killed_runs_end_with_the_same_bytes(tmp_path, kind):
    """Each time a while after its work has begun; the long run is killed again and again before it may finish."""
    whole = tmp_path / "whole"
    assert start(kind, whole).wait(timeout=500) == 0
    rng, killed = np.random.default_rng(0), 0
    for attempt in range(10 * KILLS[kind]):
        root = tmp_path / ("killed" if kind == "checkpointed" else f"killed{attempt}")
        process = start(kind, root)
        deadline = time.monotonic() + 120
        while process.poll() is None and not list(root.glob("tmp/*.step")) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(float(rng.uniform(0.0, 1.2)))
        if process.poll() is None:
            killed += 1
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for folder in (root / "runs").glob("*"):
            assert (folder / "run.json").is_file(), "a half-written run is visible"
        if kind != "checkpointed" or killed == KILLS[kind]:
            assert start(kind, root).wait(timeout=500) == 0
            assert content(root) == content(whole)
            assert not list((root / "tmp").iterdir())
            assert not list((root / "locks").iterdir())
            assert not list((root / "resume").glob("*"))
        if killed == KILLS[kind]:
            return
    raise AssertionError(f"{killed} of {KILLS[kind]} kills found a run to kill")
