"""From a finished training to the files of its record (see `records.runs` for what is in them)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from torch import Tensor

from disobey.records.provenance import environment
from disobey.records.registration import now
from disobey.training.recipe import Run
from disobey.training.serialize import encode


@dataclass(frozen=True)
class Content:
    """What a record holds besides the run.

    Attributes:
        weights: state dictionaries by the name of their file: ``last``, or the step of a kept checkpoint.
        history: arrays by name: losses by step, and what the task measured.
        data: name, fingerprint and source of the data.
        summary: the numbers that people read first.
        cost: seconds, examples, device.
        predictions: log-probabilities (N, C) by split, and by ``split@step`` for kept checkpoints; empty where the task
            has no splits.
        examples: labels, observed labels and ids by split; empty likewise.
    """

    weights: Mapping[str, Mapping[str, Tensor]]
    history: Mapping[str, NDArray]
    data: Mapping[str, str]
    summary: Mapping[str, float]
    cost: Mapping[str, float | str]
    predictions: Mapping[str, NDArray] = field(default_factory=dict)
    examples: Mapping[str, NDArray] = field(default_factory=dict)


def write_record(folder: Path, run: Run, content: Content) -> None:
    """Fills an empty folder with the record of a run; ``run.json`` comes last."""
    (folder / "weights").mkdir()
    for name, weights in content.weights.items():
        save_file(_apart(weights), folder / "weights" / f"{name}.safetensors")
    if content.predictions:
        (folder / "predictions").mkdir()
    for name, array in content.predictions.items():
        np.save(folder / "predictions" / f"{name}.npy", array)
    for name, arrays in (("examples", content.examples), ("history", content.history)):
        if arrays:
            contiguous = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
            save_arrays(contiguous, folder / f"{name}.safetensors")
    info = {
        "recipe": encode(run.recipe),
        "name": run.recipe.name,
        "seed": run.seed,
        "data": content.data,
        "summary": content.summary,
        "cost": {**content.cost, "finished": now()},
        "environment": environment(),
    }
    (folder / "run.json").write_text(json.dumps(info, indent=1, allow_nan=False), encoding="utf-8")


def _apart(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, none in another's memory: tied weights are written twice, which is how they are read back."""
    apart: dict[str, Tensor] = {}
    seen: set[int] = set()
    for key, value in weights.items():
        value = value.detach().cpu().contiguous()
        place = value.untyped_storage().data_ptr()
        apart[key] = value.clone() if place in seen else value
        seen.add(place)
    return apart
