"""`--log`: what trackers get, offline; a missing one is refused before anything is trained."""

import os
import sys

import pytest

from disobey.cli.log import log_result, metrics, verdicts
from disobey.cli.main import main
from disobey.records.results import Claim, Estimate, Result, Table
from tests.support.refusals import refuses

pytestmark = pytest.mark.filterwarnings("ignore")  # third parties' own deprecations
GAIN = Estimate("gain (points)", 0.02, 0.01, 0.03, 0.95, 5, "runs")
CLAIM = Claim("It pays.", "", "supported", (GAIN,), "above 0", setting="20% noise", id="D1")
TABLE = Table("Gains", ("student", "gain"), (("small", GAIN), ("large", None)))
RESULT = Result("demo", "Does it pay?", (CLAIM, TABLE), settings={"seeds": (0, 1)})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "result.json").write_text("{}")
    return tmp_path


def test_names_are_of_letters_that_trackers_take():
    assert list(metrics(RESULT)) == [
        f"{name}{bound}"
        for name in ("claim/D1/20 noise/gain points", "table/Gains/small/gain")
        for bound in ("", ".low", ".high")
    ]
    assert verdicts(RESULT) == {"D1 20% noise": "supported"}


def test_tensorboard(folder):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_result(RESULT, folder, "tensorboard")
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    assert len(events.Tags()["scalars"]) == 6
    assert events.Scalars("claim/D1/20 noise/gain points")[0].value == pytest.approx(0.02)


def test_mlflow_without_a_server(folder, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (folder / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((folder / "mlruns").as_uri())
    log_result(RESULT, folder, "mlflow")
    run = mlflow.last_active_run()
    assert run.data.metrics["table/Gains/small/gain.high"] == 0.03
    assert run.data.tags["verdict.D1 20 noise"] == "supported"


def test_wandb_offline(folder, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    log_result(RESULT, folder, "wandb")
    assert any(name.endswith(".wandb") for _, _, names in os.walk(folder) for name in names)


def test_a_missing_tracker_is_refused_before_anything_is_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("disobey.packages.find_spec", lambda name: None if name == "mlflow" else name)
    assert main(["run", "deviation", "--smoke", "--log", "mlflow", "--out", str(tmp_path / "runs")]) == 2
    assert "pip install mlflow" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    monkeypatch.setitem(sys.modules, "wandb", None)
    with refuses("no-wandb", "pip install wandb"):
        log_result(RESULT, tmp_path, "wandb")
