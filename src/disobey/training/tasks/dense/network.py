"""From a recipe on masks to its network, and what of such a recipe cannot run."""

from __future__ import annotations

from torch import nn

from disobey.data.dataset import Dataset
from disobey.data.load import load
from disobey.errors import refusal
from disobey.models.unet import GROUPS, UNet
from disobey.training.recipe import Recipe, Run
from disobey.training.restore import input_shape
from disobey.training.row_table import check_rows
from disobey.training.seeds import seeded

NETWORK = "unet"


def dense_network(recipe: Recipe, dataset: Dataset, seed: int) -> nn.Module:
    """The recipe's network with its initial weights for this seed, on the CPU."""
    with seeded(seed, "init", recipe.replica):
        return UNet(input_shape(dataset), len(dataset.classes), recipe.model.width or 8)


def check_dense(run: Run) -> None:
    """Refuses what cannot run; trains nothing.

    Raises:
        Refusal: ``dense-network``, ``dense-labels``, ``dense-teaching``, ``dense-target``, ``dense-table``, or what the
            data refuse.
    """
    recipe, model = run.recipe, run.recipe.model
    odd = model.depth is not None or model.dropout or (model.width or GROUPS) % GROUPS
    if model.name != NETWORK or odd:
        expected = f"{NETWORK} of a width that {GROUPS} divides, without dropout, for classes of pixels"
        raise refusal("dense-network", expected, model, f"{NETWORK}:8")
    dataset = load(recipe.data, run.seed)
    if not dataset.dense or dataset.kind != "image":
        raise refusal("dense-labels", "images with masks", "one label an image", where=recipe.data.name)
    check_rows(run, "dense", "pixels", dataset, dataset.train.labels.size)
