"""One run on boxes: `loop.fit`, then what the network says of the true boxes and what it finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from disobey.data.boxes import present
from disobey.data.dataset import Dataset, Split
from disobey.data.tensors import inputs_tensor
from disobey.measures.boxes import Boxes, crowded
from disobey.measures.detection import average_precision
from disobey.models.detector import SIDES
from disobey.records.runs import SPLITS
from disobey.training.context import Context
from disobey.training.objective import Objective
from disobey.training.parts import Answers, Parts, Trained, train_parts
from disobey.training.recipe import Run
from disobey.training.record_writer import Content, write_record
from disobey.training.restore import input_shape
from disobey.training.row_table import flat, maps_of, taught_rows
from disobey.training.seeds import stream_seed
from disobey.training.tasks.detection.cells import NONE, assigned, boxes_at, decoded, grid, own_cells, sides_to
from disobey.training.tasks.detection.network import detection_network
from disobey.training.tasks.detection.objective import CellObjective


def train_detection(run: Run, context: Context) -> Trained:
    """Trains the network and asks it about every split; its teachers, if it has any, must be finished."""
    return train_parts(run, context, Parts(detection_network, _objective, _score, _answers))


def write_detection(folder: Path, trained: Trained) -> None:
    """Weights, predictions, examples, history and summary."""
    dataset, result = trained.dataset, trained.fit
    examples: dict[str, NDArray] = {}
    history = dict(result.history)
    summary: dict[str, float] = {}
    for name in trained.images:
        split, found = dataset.split(name), trained.images[name]
        examples |= box_columns(name, split)
        history |= {f"{name}.found": found, f"{name}.images": split.ids.astype(np.int64)}
        right = trained.answers[name].argmax(axis=1) == examples[f"{name}.labels"]
        summary[f"{name}_accuracy"] = float(right.mean())
        summary[f"{name}_ap"] = precision_of(split, found)
        summary[f"{name}_ap50"] = precision_of(split, found, (0.5,))
    summary["fitted"] = float((trained.answers["train"].argmax(axis=1) == examples["train.given"]).mean())
    summary |= {"parameters": sum(p.numel() for p in trained.model.parameters()), "chosen_step": result.chosen}
    data = {"name": dataset.name, "fingerprint": dataset.fingerprint, "source": dataset.source}
    weights = result.weights(trained.model)
    content = Content(weights, history, data, summary, trained.cost, trained.answers, examples)
    write_record(folder, trained.run, content)


def true_boxes(split: Split) -> Boxes:
    """The M boxes of a split, image by image; their images are rows of the split."""
    images, places = np.nonzero(present(split.labels))
    rows = split.labels[images, places]
    return Boxes(rows[:, :4], rows[:, 4].astype(np.int64), images)


def box_columns(name: str, split: Split) -> dict[str, NDArray]:
    """Classes, observed classes, ids, images (clusters), crowds and places of all true boxes, (M,) each, (M, 4)."""
    images, places = np.nonzero(present(split.labels))
    truth = true_boxes(split)
    return {
        f"{name}.labels": truth.classes,
        f"{name}.given": split.observed[images, places, 4].astype(np.int64),
        f"{name}.ids": split.ids[images].astype(np.int64) * split.labels.shape[1] + places,
        f"{name}.cluster": split.ids[images].astype(np.int64),
        f"{name}.boundary": crowded(truth).astype(np.uint8),
        f"{name}.box": truth.boxes.astype(np.float32),
    }


def precision_of(split: Split, found: NDArray, thresholds: tuple[float, ...] | None = None) -> float:
    """Average precision of what was found (F, 7) in a split: COCO's, or at given overlaps."""
    order = np.argsort(split.ids, kind="stable")
    images = order[np.searchsorted(split.ids, found[:, 0].astype(np.int64), sorter=order)]
    boxes = Boxes(found[:, 1:5], found[:, 5].astype(np.int64), images, found[:, 6])
    options = {} if thresholds is None else {"thresholds": thresholds}
    return average_precision(true_boxes(split), boxes, **options)


@torch.inference_mode()
def read(model: nn.Module, inputs: Tensor, split: Split) -> tuple[NDArray, NDArray]:
    """Log-probabilities (M, C + 1) of the true boxes, each by its own cell, and what is found in all images (F, 7)."""
    answers, found, start = [], [], 0
    for maps in maps_of(model, inputs):
        height, width = maps.shape[-2:]
        rows = flat(maps).double()
        log_probs = torch.log_softmax(rows[:, :-SIDES], -1).float().cpu().numpy().reshape(len(maps), height * width, -1)
        sides = rows[:, -SIDES:].cpu().numpy().reshape(len(maps), height * width, SIDES)
        part = slice(start, start + len(maps))
        labels, ids = split.labels[part], split.ids[part]
        images, places = np.nonzero(present(labels))
        answers.append(log_probs[images, own_cells(labels, height, width)[images, places]])
        images, boxes, classes, scores = decoded(log_probs, boxes_at(sides, height, width))
        found.append(np.column_stack([ids[images], boxes, classes, scores]).astype(np.float32))
        start += len(maps)
    return np.concatenate(answers), np.concatenate(found)


def _score(model: nn.Module, inputs: Tensor, dataset: Dataset) -> float:
    return precision_of(dataset.validation, read(model, inputs, dataset.validation)[1])


def _answers(model: nn.Module, dataset: Dataset, device: torch.device) -> Answers:
    """`read` of every split that has images."""
    names = [name for name in SPLITS if len(dataset.split(name))]
    both = {name: read(model, inputs_tensor(dataset, name).to(device), dataset.split(name)) for name in names}
    return {name: answers for name, (answers, _) in both.items()}, {name: found for name, (_, found) in both.items()}


def _objective(run: Run, context: Context, dataset: Dataset, inputs: Tensor) -> CellObjective:
    labels, (height, width) = dataset.train.observed, grid(input_shape(dataset))
    cells = assigned(labels, height, width)
    kinds = np.where(cells == NONE, 0, np.take_along_axis(labels[..., 4], np.maximum(cells, 0), axis=1))
    held, sides = torch.from_numpy(cells.ravel() != NONE), sides_to(labels, cells, height, width)
    objective = Objective(
        run.recipe.targets,
        run.recipe.optim.steps,
        torch.from_numpy(kinds.astype(np.int64).ravel()).to(context.device),
        taught_rows(run, "cells", detection_network, context, dataset, inputs),
        seed=stream_seed(run.seed, "control"),
        marked=torch.from_numpy(crowded_cells(dataset.train, cells).ravel()),
        eligible=held,
    )
    on = context.device
    return CellObjective(objective, held.to(on), torch.from_numpy(sides).view(-1, SIDES).to(on), height * width)


def crowded_cells(split: Split, cells: NDArray) -> NDArray:
    """Which cells answer for a crowded box, (N, G) bool, from the box of each (see `assigned`)."""
    of_boxes = np.zeros(split.labels.shape[:2], bool)
    of_boxes[present(split.labels)] = crowded(true_boxes(split))
    return (cells != NONE) & np.take_along_axis(of_boxes, np.maximum(cells, 0), axis=1)
