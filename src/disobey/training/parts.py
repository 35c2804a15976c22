"""Training on images whose parts (pixels, cells) are the examples: what segmentation and detection share.

Shapes: M examples that records keep, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from disobey.data.augment import Views
from disobey.data.dataset import Dataset
from disobey.data.load import load
from disobey.data.tensors import inputs_tensor
from disobey.training.accelerated import Forward, forward_pass
from disobey.training.batches import Batch, ExampleBatches, order_of
from disobey.training.context import Clock, Context
from disobey.training.devices import deterministic, on_device
from disobey.training.loop import Fit, fit
from disobey.training.recipe import Run
from disobey.training.row_table import Make
from disobey.training.soundness import check_predictions

Answers = tuple[dict[str, NDArray], dict[str, NDArray]]
"""By split: log-probabilities (M, C) of the examples, and what the task writes down of whole images."""


class PartObjective(Protocol):
    """What a run minimizes, over the parts of a batch of images."""

    def state(self) -> dict[str, Any]:
        """For a checkpoint within the run."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint within the run."""
        ...

    def backward(self, step: int, forward: Forward, batch: Batch, /) -> Tensor:
        """Forward and backward pass of a batch; the loss, ()."""
        ...


@dataclass(frozen=True, eq=False)
class Parts:
    """A kind of learning on parts of images.

    Attributes:
        make: the network with its first weights.
        objective: from the run, its dataset and the training images (N, channels, H, W) on the device.
        score: of a network on the validation split, whose images are given; larger is better.
        read: what a network says of every split.
    """

    make: Make
    objective: Callable[[Run, Context, Dataset, Tensor], PartObjective]
    score: Callable[[nn.Module, Tensor, Dataset], float]
    read: Callable[[nn.Module, Dataset, torch.device], Answers]


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished training. answers: log-probabilities (M, C); images: what the task says of images; both by split."""

    run: Run
    dataset: Dataset
    model: nn.Module
    fit: Fit
    answers: Mapping[str, NDArray]
    images: Mapping[str, NDArray]
    cost: Mapping[str, Any]


def train_parts(run: Run, context: Context, parts: Parts) -> Trained:
    """Trains the network and asks it about every split; its teachers, if it has any, must be finished."""
    clock, device = Clock(), context.device
    dataset, precision = load(run.recipe.data, run.seed), run.recipe.optim.precision
    inputs = inputs_tensor(dataset, "train").to(device)
    validation = inputs_tensor(dataset, "validation").to(device)
    with deterministic(device, precision):
        model = on_device(parts.make(run.recipe, dataset, run.seed), "image", device)
        objective = parts.objective(run, context, dataset, inputs)
        batches = ExampleBatches(run, Views.of(dataset, "none").to(device), order_of(run, len(inputs)).to(device))
        savepoint = context.savepoint(run)
        if savepoint is not None:
            savepoint.keepers = (batches, objective)
        forward = forward_pass(model, precision, device)

        def backward(step: int, _model: nn.Module, batch: Batch) -> Tensor:
            return objective.backward(step, forward, batch)

        def score(network: nn.Module) -> float:
            return parts.score(network, validation, dataset)

        fitted = fit(model, run, batches, backward, score=score, observers=context.observers, savepoint=savepoint)
        answers, images = parts.read(model, dataset, device)
        for step, weights in fitted.kept.items():
            other = on_device(parts.make(run.recipe, dataset, run.seed), "image", device)
            other.load_state_dict(weights)
            answers |= {f"{split}@{step}": array for split, array in parts.read(other, dataset, device)[0].items()}
    check_predictions(answers)
    cost = clock.cost() | {"examples": len(batches) * run.recipe.optim.batch, "device": device.type}
    return Trained(run, dataset, model, fitted, answers, images, cost)
