"""From a recipe on masks to its network, and what of such a recipe cannot run."""

from __future__ import annotations

from torch import nn

from disobey.data.dataset import Dataset
from disobey.data.load import load
from disobey.errors import refusal
from disobey.models.unet import GROUPS, UNet
from disobey.targets.controls import OF_ALL
from disobey.training.recipe import Recipe, Run
from disobey.training.restore import input_shape
from disobey.training.seeds import seeded
from disobey.training.specs import Teaching
from disobey.training.teacher_table import MAX_TABLE_BYTES

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
    teaching = recipe.teaching
    if teaching != Teaching(step=teaching.step, members=teaching.members, seed=teaching.seed):
        raise refusal("dense-teaching", "teachers as they are, one or an ensemble", teaching)
    if recipe.teacher is not None and recipe.teacher.task != recipe.task:
        raise refusal("dense-teaching", "a teacher of classes of pixels", recipe.teacher.data.name)
    for term in recipe.targets.terms:
        if term.control == OF_ALL or term.control.startswith("spare"):
            raise refusal("dense-target", "targets that are made pixel by pixel", repr(term.control))
    size = 4 * dataset.train.labels.size * len(dataset.classes)
    if recipe.targets.uses_teacher and size > MAX_TABLE_BYTES:
        got, attempt = f"{size / 2**30:.1f} GiB", "fewer training images, or smaller ones (#size=64)"
        raise refusal("dense-table", f"a teacher's table of at most {MAX_TABLE_BYTES >> 30} GiB", got, attempt)
