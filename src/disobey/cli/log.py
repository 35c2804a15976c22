# pyright: reportMissingImports=false
"""`--log`: a finished result in somebody's tracker. Where and how (a server, offline) is the tracker's own business.

Metrics are the values of all estimates with their bounds, once each: nothing here is a curve over steps.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from disobey.packages import missing
from disobey.records.results import Claim, Estimate, Result, Table

PROJECT = "disobey"
FILES = ("report.html", "result.json", "provenance.json")


def log_result(result: Result, folder: Path, tracker: str) -> None:
    """Sends a result and the files of its report to a tracker.

    Args:
        result: the result.
        folder: of its report.
        tracker: ``wandb``, ``mlflow`` or ``tensorboard``.

    Raises:
        MissingPackage: the tracker is not installed.
    """
    try:
        TRACKERS[tracker](result, folder)
    except ModuleNotFoundError as error:
        raise missing(tracker, f"--log {tracker}") from error


def metrics(result: Result) -> dict[str, float]:
    """Every estimate of claims and tables as NAME, NAME.low and NAME.high; names of the letters that all trackers take.

    >>> effect = Estimate("gain", 0.02, 0.01, 0.03, 0.95, 5, "runs")
    >>> claim = Claim("It pays.", "", "supported", (effect,), "above 0", id="D1")
    >>> metrics(Result("demo", "Does it pay?", (claim,)))
    {'claim/D1/gain': 0.02, 'claim/D1/gain.low': 0.01, 'claim/D1/gain.high': 0.03}
    """
    found: dict[str, float] = {}
    for claim in result.of(Claim):
        for estimate in claim.evidence:
            _add(found, ("claim", claim.id or claim.name, claim.setting, estimate.name), estimate)
    for table in result.of(Table):
        for row in table.rows:
            words = [str(cell) for cell in row if isinstance(cell, str)]
            for column, cell in zip(table.columns, row, strict=True):
                if isinstance(cell, Estimate):
                    _add(found, ("table", table.title, *words, column), cell)
    return found


def _add(found: dict[str, float], parts: tuple[str, ...], estimate: Estimate) -> None:
    name = "/".join(_plain(part)[:60] for part in parts if part)[:240]
    if name not in found:
        values = {name: estimate.value, f"{name}.low": estimate.low, f"{name}.high": estimate.high}
        found |= {key: value for key, value in values.items() if math.isfinite(value)}  # databases refuse others


def verdicts(result: Result) -> dict[str, str]:
    """Claim (and setting) -> its word."""
    return {" ".join(filter(None, (c.id or c.name, c.setting))): c.verdict for c in result.of(Claim)}


def _wandb(result: Result, folder: Path) -> None:
    import wandb

    settings = {name: str(value) for name, value in result.settings.items()}
    with wandb.init(project=PROJECT, name=result.study, config=settings, dir=folder) as run:
        run.summary.update(metrics(result) | {f"verdict/{name}": word for name, word in verdicts(result).items()})
        artifact = wandb.Artifact(f"{result.study}-report", type="report")
        for name in _written(folder):
            artifact.add_file(str(folder / name))
        run.log_artifact(artifact)


def _mlflow(result: Result, folder: Path) -> None:
    import mlflow

    mlflow.set_experiment(PROJECT)
    with mlflow.start_run(run_name=result.study):
        mlflow.log_params({name: str(value)[:500] for name, value in result.settings.items()})
        mlflow.log_metrics(metrics(result))
        mlflow.set_tags({f"verdict.{_plain(name)}": word for name, word in verdicts(result).items()})
        for name in _written(folder):
            mlflow.log_artifact(str(folder / name))


def _tensorboard(result: Result, folder: Path) -> None:
    import tensorboard  # noqa: F401  # torch's writer says less clearly that it is missing
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard")) as writer:
        for name, value in metrics(result).items():
            writer.add_scalar(name, value)
        words = "\n".join(f"- {name}: {word}" for name, word in verdicts(result).items())
        writer.add_text(result.study, f"{result.question}\n\n{words}")


def _written(folder: Path) -> list[str]:
    return [name for name in FILES if (folder / name).is_file()]


def _plain(name: str) -> str:
    return " ".join(re.sub(r"[^\w.\- ]+", " ", name).split())[:200]


TRACKERS: dict[str, Callable[[Result, Path], Any]] = {"wandb": _wandb, "mlflow": _mlflow, "tensorboard": _tensorboard}
