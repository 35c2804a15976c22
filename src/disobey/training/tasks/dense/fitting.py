"""One run on masks: `loop.fit`, then what the network says of the pixels that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from disobey.data.augment import Views
from disobey.data.dataset import Dataset, Split
from disobey.data.load import load
from disobey.data.tensors import inputs_tensor
from disobey.records.pixels import boundary, chosen
from disobey.records.runs import SPLITS
from disobey.training.accelerated import forward_pass
from disobey.training.batches import Batch, ExampleBatches, order_of
from disobey.training.context import Clock, Context
from disobey.training.devices import deterministic, on_device
from disobey.training.loop import Fit, fit
from disobey.training.objective import Objective
from disobey.training.recipe import Run
from disobey.training.record_writer import Content, write_record
from disobey.training.row_table import flat, maps_of, taught_rows
from disobey.training.seeds import stream_seed
from disobey.training.soundness import check_predictions
from disobey.training.tasks.dense.network import dense_network
from disobey.training.tasks.dense.objective import PixelObjective, marked


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished training. answers: log-probabilities (M, C) of the kept pixels; confusions: (N, C, C) by split."""

    run: Run
    dataset: Dataset
    model: nn.Module
    fit: Fit
    answers: Mapping[str, NDArray]
    confusions: Mapping[str, NDArray]
    cost: Mapping[str, Any]


def train_dense(run: Run, context: Context) -> Trained:
    """Trains the network and asks it about every split; its teachers, if it has any, must be finished."""
    clock, device = Clock(), context.device
    dataset = load(run.recipe.data, run.seed)
    inputs = inputs_tensor(dataset, "train").to(device)
    validation = inputs_tensor(dataset, "validation").to(device)
    precision = run.recipe.optim.precision
    with deterministic(device, precision):
        model = on_device(dense_network(run.recipe, dataset, run.seed), "image", device)
        objective = _objective(run, context, dataset, inputs)
        batches = ExampleBatches(run, Views.of(dataset, "none").to(device), order_of(run, len(inputs)).to(device))
        savepoint = context.savepoint(run)
        if savepoint is not None:
            savepoint.keepers = (batches, objective)

        forward = forward_pass(model, precision, device)

        def backward(step: int, _model: nn.Module, batch: Batch) -> Tensor:
            return objective.backward(step, forward, batch)

        def score(network: nn.Module) -> float:
            return share_right(confusions(network, validation, dataset.validation, len(dataset.classes)))

        fitted = fit(model, run, batches, backward, score=score, observers=context.observers, savepoint=savepoint)
        answers, confused = _answers(model, dataset, device)
        for step, weights in fitted.kept.items():
            other = on_device(dense_network(run.recipe, dataset, run.seed), "image", device)
            other.load_state_dict(weights)
            answers |= {f"{split}@{step}": array for split, array in _answers(other, dataset, device)[0].items()}
    check_predictions(answers)
    cost = clock.cost() | {"examples": len(batches) * run.recipe.optim.batch, "device": device.type}
    return Trained(run, dataset, model, fitted, answers, confused, cost)


def write_dense(folder: Path, trained: Trained) -> None:
    """Weights, predictions, examples, history and summary."""
    dataset, result = trained.dataset, trained.fit
    history = result.history | {f"{split}.confusion": counts for split, counts in trained.confusions.items()}
    examples: dict[str, NDArray] = {}
    for name in SPLITS:
        examples |= pixel_columns(name, dataset.split(name))
    given = examples["train.given"]
    summary = {f"{name}_accuracy": share_right(counts) for name, counts in trained.confusions.items()}
    summary["fitted"] = float((trained.answers["train"].argmax(-1) == given).mean())
    summary |= {"parameters": sum(p.numel() for p in trained.model.parameters()), "chosen_step": result.chosen}
    data = {"name": dataset.name, "fingerprint": dataset.fingerprint, "source": dataset.source}
    content = Content(result.weights(trained.model), history, data, summary, trained.cost, trained.answers, examples)
    write_record(folder, trained.run, content)


def kept(split: Split) -> NDArray:
    """Places (M,), in N·H·W, of the pixels of a split that records keep."""
    return chosen(split.labels >= 0, split.ids)


def pixel_columns(name: str, split: Split) -> dict[str, NDArray]:
    """Labels, observed labels, ids, images (clusters) and boundaries of the kept pixels, (M,) each."""
    places, size = kept(split), int(np.prod(split.labels.shape[1:]))
    images = split.ids[places // size]
    return {
        f"{name}.labels": split.labels.ravel()[places].astype(np.int64),
        f"{name}.given": split.observed.ravel()[places].astype(np.int64),
        f"{name}.ids": images * size + places % size,
        f"{name}.cluster": images.astype(np.int64),
        f"{name}.boundary": boundary(split.labels).ravel()[places].astype(np.uint8),
    }


def share_right(counts: NDArray) -> float:
    """Share of all pixels on the diagonals of confusions (N, C, C)."""
    return float(np.trace(counts, axis1=1, axis2=2).sum() / max(counts.sum(), 1))


@torch.inference_mode()
def confusions(model: nn.Module, inputs: Tensor, split: Split, classes: int) -> NDArray:
    """Pixels of each image by true and by predicted class, (N, C, C) int32; void pixels are left out."""
    predicted = torch.cat([maps.argmax(1).to(torch.int16).cpu() for maps in maps_of(model, inputs)]).numpy()
    return confusion_of(split.labels, predicted, classes)


def confusion_of(labels: NDArray, predicted: NDArray, classes: int) -> NDArray:
    """Pixels of each image by true and by predicted class, (N, C, C) int32, from maps (N, H, W)."""
    valid = labels >= 0
    image = np.broadcast_to(np.arange(len(labels))[:, None, None], labels.shape)[valid]
    cells = (image * classes + labels[valid]) * classes + predicted[valid]
    return np.bincount(cells, minlength=len(labels) * classes**2).reshape(-1, classes, classes).astype(np.int32)


@torch.inference_mode()
def _answers(model: nn.Module, dataset: Dataset, device: torch.device) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """Log-probabilities (M, C) of the kept pixels and confusions (N, C, C) of all, a chunk of images at a time."""
    answers, confused = {}, {}
    for name in SPLITS:
        split = dataset.split(name)
        if not len(split):
            continue
        places, size = kept(split), int(np.prod(split.labels.shape[1:]))
        parts, predicted, start = [], [], 0
        for maps in maps_of(model, inputs_tensor(dataset, name).to(device)):
            own = places[(places >= start * size) & (places < (start + len(maps)) * size)] - start * size
            rows = flat(maps)[torch.from_numpy(own).to(device)]
            parts.append(torch.log_softmax(rows.double(), -1).float().cpu())
            predicted.append(maps.argmax(1).to(torch.int16).cpu())
            start += len(maps)
        answers[name] = torch.cat(parts).numpy()
        confused[name] = confusion_of(split.labels, torch.cat(predicted).numpy(), len(dataset.classes))
    return answers, confused


def _objective(run: Run, context: Context, dataset: Dataset, inputs: Tensor) -> PixelObjective:
    recipe, device = run.recipe, context.device
    masks = torch.from_numpy(dataset.train.observed.astype(np.int64)).to(device)
    table = taught_rows(run, "pixels", dense_network, context, dataset, inputs)
    objective = Objective(
        recipe.targets,
        recipe.optim.steps,
        masks.flatten(),
        table,
        seed=stream_seed(run.seed, "control"),
        marked=marked(dataset.train.observed),
    )
    return PixelObjective(objective, masks)
