"""From a finished training to the folder of its record (see `records.runs` for what is in it)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from torch import Tensor, nn

from disobey.data.dataset import Dataset
from disobey.records.provenance import environment
from disobey.records.runs import SPLITS
from disobey.training.loop import Fit
from disobey.training.recipe import Run, encode


def write_record(
    folder: Path,
    run: Run,
    dataset: Dataset,
    model: nn.Module,
    fit: Fit,
    answers: Mapping[str, NDArray],
    cost: Mapping[str, float | str],
    *,
    fingerprint: str = "",
) -> None:
    """answers: log-probabilities (N, C) float32 by split, and by ``split@step`` for kept checkpoints.

    fingerprint: the data set's, where it is known already: hashing all inputs takes longer than a small training.
    """
    write_weights(folder, {"last": model.state_dict(), **fit.kept})
    (folder / "predictions").mkdir()
    for name, array in answers.items():
        np.save(folder / "predictions" / f"{name}.npy", array)
    save_arrays(_examples(dataset), folder / "examples.safetensors")
    save_arrays(_history(fit), folder / "history.safetensors")
    data = {"name": dataset.name, "fingerprint": fingerprint or dataset.fingerprint, "source": dataset.source}
    write_info(folder, run, data, _summary(dataset, model, fit, answers), cost)


def write_weights(folder: Path, states: Mapping[str | int, Mapping[str, Tensor]]) -> None:
    """A file for each state dictionary, under its name."""
    (folder / "weights").mkdir()
    for name, weights in states.items():
        on_cpu = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
        save_file(on_cpu, folder / "weights" / f"{name}.safetensors")


def write_info(
    folder: Path,
    run: Run,
    data: Mapping[str, str],
    summary: Mapping[str, float],
    cost: Mapping[str, float | str],
) -> None:
    """``run.json``. data: name, fingerprint and source of what the run was trained on."""
    info = {
        "recipe": encode(run.recipe),
        "name": run.recipe.name,
        "seed": run.seed,
        "data": data,
        "summary": summary,
        "cost": cost,
        "environment": environment(),
    }
    (folder / "run.json").write_text(json.dumps(info, indent=1, allow_nan=False), encoding="utf-8")


def _examples(dataset: Dataset) -> dict[str, NDArray]:
    arrays = {}
    for name in SPLITS:
        split = dataset.split(name)
        arrays |= {f"{name}.labels": split.labels, f"{name}.given": split.given, f"{name}.ids": split.ids}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _history(fit: Fit) -> dict[str, NDArray]:
    history = {"loss": fit.losses.numpy()}
    if fit.checks:
        history["check_step"] = np.array(list(fit.checks))
        history["check_accuracy"] = np.array(list(fit.checks.values()))
    return history


def _summary(dataset: Dataset, model: nn.Module, fit: Fit, answers: Mapping[str, NDArray]) -> dict[str, float]:
    """Accuracies are against the true labels; ``fitted`` is the share of the *given* training labels repeated."""
    numbers = {f"{name}_accuracy": _share(answers[name], dataset.split(name).labels) for name in SPLITS}
    return numbers | {
        "fitted": _share(answers["train"], dataset.train.given),
        "parameters": sum(p.numel() for p in model.parameters()),
        "chosen_step": fit.chosen,
    }


def _share(log_probs: NDArray, labels: NDArray) -> float:
    return float((log_probs.argmax(-1) == labels).mean())
