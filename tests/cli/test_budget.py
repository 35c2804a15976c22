"""`run --budget`: planned, stopped in time, resumed, and judged on complete seeds."""

import json
import math
import subprocess
import sys

import pytest

from disobey.cli.main import main
from disobey.data.dataset import DataSpec
from disobey.models.spec import ModelSpec
from disobey.records.results import Result
from disobey.records.store import Store
from disobey.training.execution.engine import run_all
from disobey.training.execution.probe import probed
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec

TINY = ["--data", "digits-8x8", "--train", "200", "--steps", "8", "--batch", "16", "--teacher", "mlp:8"]
TINY += ["--students", "self", "--temperatures", "4", "--early", "0", "--label-noise", "0.2", "--seeds", "0", "1", "2"]
SHORT = "0.0000001"  # CPU-minutes: what is begun is finished (small stacks have no checkpoints), and nothing else


def run(out, *words):
    return main(["run", "deviation", *TINY, "--workers", "0", "--quiet", "--out", str(out), *words])


def result_in(out):
    (path,) = (out / "reports").glob("*/result.json")
    return Result.read(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The study without a budget."""
    out = tmp_path_factory.mktemp("whole")
    assert run(out) == 0
    return out


def test_calls_go_on_seed_by_seed_to_the_same_result(whole, tmp_path, capsys):
    out, complete = tmp_path / "out", []
    for _ in range(20):
        assert run(out, "--budget", SHORT) == 0
        said = capsys.readouterr().err
        assert "budget of" in said
        complete.append(int(said.split("CPU-minutes spent; ")[1].split(" of 3 seeds")[0]))
        if 0 < complete[-1] < 3 and list((out / "reports").glob("*/result.json")):
            partial = result_in(out)
            assert partial.summary.startswith(f"Partial: {complete[-1]} of 3 seeds are complete")
            assert partial.settings["seeds"] == tuple(range(complete[-1]))
        if complete[-1] == 3:
            break
    assert complete == sorted(complete)
    assert complete[0] == 0
    assert {1, 2, 3} <= set(complete)
    assert result_in(out).to_json() == result_in(whole).to_json()


def test_a_large_budget_is_the_study_itself(whole, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(out, "--budget", "600") == 0
    assert "seeds 0, 1, 2 are completed now" in capsys.readouterr().err
    assert result_in(out).to_json() == result_in(whole).to_json()


WRITES = """
import sys
from disobey.records.store import Store
log, inner = sys.argv.pop(1), Store.writing
def writing(store, name, *rest, **options):
    with open(log, "a") as file:
        file.write(name + "\\n")
    return inner(store, name, *rest, **options)
Store.writing = writing
from disobey.cli.main import entry
entry()
"""


@pytest.mark.slow
@pytest.mark.parametrize("budget", [SHORT, "600"])
def test_two_calls_at_once_on_one_store_train_nothing_twice(whole, tmp_path, budget):
    out, log = tmp_path / "out", tmp_path / "written"
    words = ["run", "deviation", *TINY, "--workers", "0", "--quiet", "--out", str(out), "--budget", budget]
    command = [sys.executable, "-c", WRITES, str(log), *words]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=500)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert all("seeds are complete" in one for one in said)
    assert run(out, "--budget", "600") == 0
    written = log.read_text().splitlines()
    assert written
    assert len(written) == len(set(written))
    assert set(written) <= {path.name for path in (out / "runs").iterdir()}
    assert result_in(out).to_json() == result_in(whole).to_json()


def test_a_dry_run_shows_the_plan_and_trains_nothing(tmp_path, capsys):
    assert run(tmp_path, "--budget", "600", "--dry-run", "--json") == 0
    budget = json.loads(capsys.readouterr().out)["budget"]
    assert (budget["now"], budget["begun"], budget["later"], budget["without_price"]) == ([0, 1, 2], None, [], 0)
    assert not (tmp_path / "runs").exists()
    assert run(tmp_path, "--budget", "0") == 2


def test_a_long_run_stops_at_a_checkpoint_and_ends_as_one_that_never_stopped(tmp_path):
    recipe = Recipe(
        DataSpec("digits-8x8", train=64), ModelSpec("resnet8", width=4), OptimSpec(steps=4, batch=16), name="teacher"
    )
    one = Run(recipe, 0)
    straight = run_all([one], Store(tmp_path / "a"), workers=0).records[one]
    store, calls = Store(tmp_path / "b"), 0
    assert run_all([one], store, workers=0, limit=0.0).left == (one,)
    while not (outcome := run_all([one], store, workers=0, limit=1e-6)).records:
        assert (outcome.left, outcome.failed) == ((one,), {})
        calls += 1
    assert calls == 3  # a step a call, and the last one ends it
    stopped = outcome.records[one]
    assert (stopped.log_probs("test") == straight.log_probs("test")).all()
    assert stopped.cost["cpu_seconds"] > 0
    assert outcome.left == ()


def test_the_probe_prices_every_classifier():
    teacher = Recipe(DataSpec("digits-8x8", train=64), ModelSpec("mlp", width=8), OptimSpec(steps=10))
    sequence = [run for run in _sequence_runs() if run.recipe.task != "classification"][:1]
    prices = probed([Run(teacher, 0), *sequence])
    assert list(prices) == [teacher.key()]
    assert 0 < prices[teacher.key()] < math.inf


def _sequence_runs():
    from disobey.studies import STUDIES

    return STUDIES["sequence-tasks"].smoke().plan()
