"""`run --until-settled`, `register` and the dry run's forecast, as a user meets them."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest

from disobey.cli.forecast import spread_of
from disobey.cli.main import main
from disobey.measures.inference.comparisons import smallest_effect
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Chart, Claim, Result, Table

TINY = ["--data", "digits-8x8", "--train", "200", "--steps", "8", "--batch", "16", "--teacher", "mlp:8"]
TINY += ["--students", "self", "--temperatures", "4", "--early", "0", "--label-noise", "0.2"]
MORE = ["--until-settled", "--max-seeds", "6", "--block", "1", "--seeds", "0", "1", "2", "3"]


def result_in(out):
    (path,) = (out / "reports").glob("*/result.json")
    return Result.read(path)


def runs_in(out):
    return sorted(path.name for path in (out / "runs").iterdir()) if (out / "runs").is_dir() else []


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    """A tiny study until the largest number of seeds."""
    out = tmp_path_factory.mktemp("settled")
    assert main(["run", "deviation", *TINY, *MORE, "--workers", "0", "--quiet", "--out", str(out)]) == 0
    return out


def test_the_report_has_the_path_of_every_claim(settled):
    result = result_in(settled)
    paths = [chart for chart in result.of(Chart) if chart.name.startswith("path-")]
    assert {chart.title.split()[0] for chart in paths} == {"C1", "C2", "C3", "C4"}
    assert set(paths[0].data["seeds"]) <= {4, 5, 6}
    assert all(claim.evidence[claim.deciding].n in (4, 5, 6) for claim in result.of(Claim))
    assert any(table.title == "How many seeds every claim took" for table in result.of(Table))
    folder = next((settled / "reports").iterdir())
    assert folder.name.endswith("-settled")
    assert list((folder / "figures").glob("path-*.svg"))


def test_runs_are_shared_with_the_study_of_so_many_seeds(settled, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(settled, out)
    n = len(runs_in(out))
    seeds = [str(seed) for seed in range(max(int(name.rpartition("-s")[2]) for name in runs_in(out)) + 1)]
    assert main(["run", "deviation", *TINY, "--seeds", *seeds, "--out", str(out), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert f"{n} runs, {n} there already, 0 to train" in said
    assert "CPU time: none" in said
    assert "seeds see with chance 0.8, by the spread of" in said


def test_a_driver_that_is_killed_between_blocks_goes_on_with_the_same_bytes(settled, tmp_path):
    out = tmp_path / "out"
    words = ["run", "deviation", *TINY, *MORE, "--workers", "0", "--quiet", "--out", str(out)]
    code = "from disobey.cli.main import entry; entry()"
    with subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True) as driver:
        assert driver.stderr is not None
        for line in driver.stderr:
            if " claims open" in line:  # after the first look, before or in the second block
                driver.send_signal(signal.SIGKILL)
                break
    before = {name: (out / "runs" / name / "run.json").read_bytes() for name in runs_in(out)}
    assert len(before) >= 12  # three runs of four seeds
    assert main(words) == 0
    assert all((out / "runs" / name / "run.json").read_bytes() == text for name, text in before.items())
    assert result_in(out).to_json() == result_in(settled).to_json()


def test_registered_then_run_says_so(tmp_path, capsys):
    said, out = tmp_path / "said.json", tmp_path / "out"
    study = ["deviation", *TINY, "--seeds", "0", "1"]
    assert main(["register", *study, "--file", str(said)]) == 0
    sha = json.loads(said.read_text())["sha256"]
    assert sha in capsys.readouterr().out
    time.sleep(1.1)  # the date has whole seconds
    run = ["run", *study, "--workers", "0", "--quiet", "--out", str(out), "--registered", str(said)]
    assert main(run) == 0
    told = capsys.readouterr().err
    assert sha in told
    assert "nothing differs" in told
    assert {claim.said for claim in result_in(out).of(Claim)} == {
        f"registered {json.loads(said.read_text())['date']}, sha256 {sha[:12]}"
    }
    other = [word if word != "8" else "9" for word in run]
    assert main([*other, "--dry-run"]) == 0
    assert "differs from what was registered: setting steps: 8 registered, 9 now" in capsys.readouterr().err
    assert main(["register", *study, "--file", str(said)]) == 2
    assert "not overwritten" in capsys.readouterr().err
    said.write_text(said.read_text().replace('"steps": 8', '"steps": 7'))
    assert main(run) == 2
    assert "changed" in capsys.readouterr().err


def test_without_runs_the_forecast_is_the_published_spread(tmp_path, capsys):
    assert main(["run", "deviation", *TINY, "--out", str(tmp_path), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "2026-11-22-deviation-mnist" in said
    assert "CPU time: unknown" in said
    assert main(["run", "denoising", "--smoke", "--out", str(tmp_path), "--dry-run"]) == 0
    assert "unknown, as no spread" in capsys.readouterr().out


def test_more_seeds_see_less():
    assert smallest_effect(0.01, 5) > smallest_effect(0.01, 20)
    assert smallest_effect(0.01, 1) == float("inf")
    values = [0.01, 0.03, 0.02, 0.05]
    assert spread_of(mean_over_runs(values, "gain")) == pytest.approx(0.017078, abs=1e-5)
