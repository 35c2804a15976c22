"""One run on masks: `loop.fit`, then what the network says of the pixels that are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from disobey.data.dataset import Dataset, Split
from disobey.data.tensors import inputs_tensor
from disobey.records.pixels import boundary, chosen
from disobey.records.runs import SPLITS
from disobey.training.context import Context
from disobey.training.objective import Objective
from disobey.training.parts import Answers, Parts, Trained, train_parts
from disobey.training.recipe import Run
from disobey.training.record_writer import Content, write_record
from disobey.training.row_table import flat, maps_of, taught_rows
from disobey.training.seeds import stream_seed
from disobey.training.tasks.dense.network import dense_network
from disobey.training.tasks.dense.objective import PixelObjective, marked


def train_dense(run: Run, context: Context) -> Trained:
    """Trains the network and asks it about every split; its teachers, if it has any, must be finished."""
    return train_parts(run, context, Parts(dense_network, _objective, _score, _answers))


def write_dense(folder: Path, trained: Trained) -> None:
    """Weights, predictions, examples, history and summary."""
    dataset, result = trained.dataset, trained.fit
    history = result.history | {f"{split}.confusion": counts for split, counts in trained.images.items()}
    examples: dict[str, NDArray] = {}
    for name in SPLITS:
        examples |= pixel_columns(name, dataset.split(name))
    given = examples["train.given"]
    summary = {f"{name}_accuracy": share_right(counts) for name, counts in trained.images.items()}
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


def _score(model: nn.Module, inputs: Tensor, dataset: Dataset) -> float:
    return share_right(confusions(model, inputs, dataset.validation, len(dataset.classes)))


@torch.inference_mode()
def _answers(model: nn.Module, dataset: Dataset, device: torch.device) -> Answers:
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
