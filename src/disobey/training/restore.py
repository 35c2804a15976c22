"""A run's network, from its recipe alone or from its record."""

from __future__ import annotations

from dataclasses import dataclass

from safetensors.torch import load_file
from torch import nn

from disobey.data.dataset import Dataset
from disobey.errors import refusal
from disobey.models.build import build
from disobey.models.spec import ModelSpec
from disobey.records.runs import RunRecord
from disobey.records.store import Store
from disobey.training.recipe import Recipe, Run
from disobey.training.seeds import seeded
from disobey.training.serialize import encode


@dataclass(frozen=True)
class Sizes:
    """What a network must know of its data: the shape of one example, classes C, tokens (0 where it is no text)."""

    shape: tuple[int, ...]
    classes: int
    vocabulary: int

    @classmethod
    def of(cls, dataset: Dataset) -> Sizes:
        """The same for every subset of a data set."""
        return cls(input_shape(dataset), len(dataset.classes), len(dataset.vocabulary))

    def network(self, model: ModelSpec) -> nn.Module:
        """The model for such data, drawn from torch's global generator."""
        return build(model, shape=self.shape, classes=self.classes, vocabulary=self.vocabulary)


def built(recipe: Recipe, dataset: Dataset, seed: int) -> nn.Module:
    """The recipe's model with its initial weights for this seed, on the CPU."""
    with seeded(seed, "init", recipe.replica):
        return Sizes.of(dataset).network(recipe.model)


def input_shape(dataset: Dataset) -> tuple[int, ...]:
    """Of one example, as models take it: (channels, H, W), (L,) or (D,)."""
    shape = dataset.test.inputs.shape[1:]
    return (shape[2], shape[0], shape[1]) if dataset.kind == "image" else tuple(shape)


def trained(run: Run, record: RunRecord, dataset: Dataset, step: int | None = None) -> nn.Module:
    """A finished run's model in evaluation mode, on the CPU.

    Args:
        run: the run.
        record: its record.
        dataset: data of its kind, for the model's sizes.
        step: a kept checkpoint's number of steps; None: the last weights.
    """
    model = built(run.recipe, dataset, run.seed)
    model.load_state_dict(load_file(record.weights(step)))
    return model.eval()


def redraw_head(model: nn.Module, run: Run) -> None:
    """Draws the last linear layer anew, in place, from a stream of its own: the same for all students of this teacher.

    Raises:
        Refusal: ``no-linear-layer``.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise refusal("no-linear-layer", "a teacher with a linear layer to redraw (teaching.head='random')", "none")
    with seeded(run.seed, "control", run.recipe.replica):
        layers[-1].reset_parameters()


def teacher_record(store: Store, teacher: Run) -> RunRecord:
    """The record of a teacher, which must be finished.

    Raises:
        Refusal: ``teacher-not-trained``, or `Damaged`, which the engine mends.
    """
    record = store.found(teacher.id, encode(teacher.recipe))
    if record is None:
        raise refusal(
            "teacher-not-trained", "a finished teacher", f"none in {teacher.id}", "run_all, which trains teachers first"
        )
    return record
