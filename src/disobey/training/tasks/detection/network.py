"""From a recipe on boxes to its network, and what of such a recipe cannot run."""

from __future__ import annotations

import math

from torch import nn

from disobey.data.dataset import Dataset
from disobey.data.load import load
from disobey.errors import refusal
from disobey.models.detector import Detector
from disobey.models.unet import GROUPS
from disobey.training.recipe import Recipe, Run
from disobey.training.restore import input_shape
from disobey.training.row_table import check_rows
from disobey.training.seeds import seeded
from disobey.training.tasks.detection.cells import grid

NETWORK = "detector"
SMALLEST = 8  # pixels of an image's side


def detection_network(recipe: Recipe, dataset: Dataset, seed: int) -> nn.Module:
    """The recipe's network with its initial weights for this seed, on the CPU."""
    with seeded(seed, "init", recipe.replica):
        return Detector(input_shape(dataset), len(dataset.classes), recipe.model.width or 8)


def check_detection(run: Run) -> None:
    """Refuses what cannot run; trains nothing.

    Raises:
        Refusal: ``detection-network``, ``detection-labels``, ``detection-teaching``, ``detection-target``,
            ``detection-table``, or what the data refuse.
    """
    recipe, model = run.recipe, run.recipe.model
    odd = model.depth is not None or model.dropout or (model.width or GROUPS) % GROUPS
    if model.name != NETWORK or odd:
        expected = f"{NETWORK} of a width that {GROUPS} divides, without dropout, for classes of boxes"
        raise refusal("detection-network", expected, model, f"{NETWORK}:8")
    dataset = load(recipe.data, run.seed)
    shape = input_shape(dataset)
    if not dataset.boxed or dataset.kind != "image" or min(shape[1:]) < SMALLEST:
        got = f"{dataset.kind} of shape {shape}, {'with' if dataset.boxed else 'without'} boxes"
        raise refusal("detection-labels", f"images of {SMALLEST} pixels a side or more with boxes", got)
    check_rows(run, "detection", "boxes", dataset, len(dataset.train) * math.prod(grid(shape)))
