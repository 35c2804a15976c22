"""One run on imitation: `loop.fit`, then what is read off the student."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from disobey.data.dataset import Dataset
from disobey.data.load import load
from disobey.data.tensors import inputs_tensor
from disobey.models.heads import TwoHeads
from disobey.records.runs import SPLITS
from disobey.training.batches import steps_of
from disobey.training.context import Clock, Context
from disobey.training.devices import deterministic
from disobey.training.loop import Fit, fit
from disobey.training.recipe import Run, imitation_spec
from disobey.training.record_writer import Content, write_record
from disobey.training.restore import teacher_record
from disobey.training.seeds import seeded
from disobey.training.tasks.imitation.inputs import ShownBatches, repeating
from disobey.training.tasks.imitation.network import PRECISIONS, fresh, root, start
from disobey.training.tasks.imitation.objective import ImitationObjective, class_logits
from disobey.training.tasks.imitation.readings import Subject, readings
from disobey.training.tasks.imitation.rounds import fit_rounds

CURVE_ROWS = 500  # test examples on which the class head is read during training


@dataclass(frozen=True, eq=False)
class Imitated:
    """A finished training. answers: log-probabilities (N, C) by split and by ``split@step``."""

    run: Run
    dataset: Dataset
    model: nn.Module
    fit: Fit
    answers: Mapping[str, NDArray]
    curve: Mapping[str, NDArray]
    summary: Mapping[str, float]
    cost: Mapping[str, Any]


def train_imitation(run: Run, context: Context) -> Imitated:
    """Trains and reads; its teacher, if it has one, must be finished. On the CPU: such networks are small."""
    clock, dataset = Clock(), load(run.recipe.data, run.seed)
    with seeded(run.seed, "dropout", run.recipe.replica), deterministic(torch.device("cpu")):
        teacher, model = _teacher(run, dataset, context), start(run, dataset, context.store)
        begin = {name: value.detach().clone() for name, value in model.state_dict().items()}
        _freeze(model, imitation_spec(run.recipe).trains)
        inputs = repeating(run, dataset)
        shape = tuple(inputs_tensor(dataset, "test").shape[1:])
        labels = torch.from_numpy(np.array(dataset.train.observed))
        lesson = None if imitation_spec(run.recipe).learns == "labels" else teacher
        objective = ImitationObjective(run, model, lesson, labels, inputs)
        curve = _Curve(run, dataset)
        batches = ShownBatches(run, shape, inputs)
        observers = (*context.observers, *([curve] if curve.every else []))
        savepoint = context.savepoint(run)
        if savepoint is not None:
            savepoint.keepers = (curve,)
        found: dict[str, float] = {}
        prune = imitation_spec(run.recipe).prune
        if prune is None:
            fitted = fit(model, run, batches, objective.backward, observers=observers, savepoint=savepoint)
        else:
            fitted, found = fit_rounds(run, model, dataset, batches, objective.backward, context)
        model.eval().requires_grad_(True)
        answers = _answers(model, dataset)
        for step, weights in fitted.kept.items():
            other = fresh(run.recipe, dataset, run.seed).to(next(model.parameters()).dtype)
            other.load_state_dict(weights)
            answers |= {f"{split}@{step}": rows for split, rows in _answers(other.eval(), dataset).items()}
        first = root(run)  # features are read on all of its data, however few of them the student saw
        subject = Subject(run, load(first.recipe.data, first.seed), model, teacher, begin)
        summary = _accuracies(answers, dataset) | readings(subject) | found
    if len(fitted.losses):
        summary["loss"] = float(fitted.losses[-20:].double().mean())
    summary["parameters"] = sum(p.numel() for p in model.parameters())
    trainings = 1 if prune is None else prune.trainings
    cost = clock.cost() | {"examples": trainings * steps_of(run) * run.recipe.optim.batch, "device": "cpu"}
    return Imitated(run, dataset, model, fitted, answers, curve.history(), summary, cost)


def write_imitation(folder: Path, trained: Imitated) -> None:
    """Weights, predictions, examples, history and summary."""
    dataset = trained.dataset
    examples = {}
    for name in SPLITS:
        split = dataset.split(name)
        examples |= {f"{name}.labels": split.labels, f"{name}.given": split.observed, f"{name}.ids": split.ids}
    content = Content(
        weights={"last": trained.model.state_dict(), **{str(step): kept for step, kept in trained.fit.kept.items()}},
        history={"loss": trained.fit.losses.numpy(), **trained.curve},
        data={"name": dataset.name, "fingerprint": dataset.fingerprint, "source": dataset.source},
        summary=trained.summary,
        cost=trained.cost,
        predictions=trained.answers,
        examples=examples,
    )
    write_record(folder, trained.run, content)


@dataclass(eq=False)
class _Curve:
    """Reads the class head and the loss during training; an `Observer`."""

    run: Run
    dataset: Dataset
    every: int = field(init=False)
    found: list[tuple[int, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        times = imitation_spec(self.run.recipe).curve
        self.every = max(steps_of(self.run) // times, 1) if times else 0
        self.x = inputs_tensor(self.dataset, "test")[:CURVE_ROWS]
        self.labels = torch.from_numpy(np.array(self.dataset.test.labels[:CURVE_ROWS]))

    def record(self, step: int, model: nn.Module, losses: Tensor) -> None:
        """Accuracy of the class head, and the mean loss of the last steps."""
        assert isinstance(model, TwoHeads)
        right = (class_logits(model, self.x).argmax(-1) == self.labels).double().mean()
        self.found.append((step, float(losses[max(step - self.every, 0) : step].double().mean()), float(right)))

    def state(self) -> dict[str, Any]:
        """For a checkpoint within the run."""
        return {"found": [list(row) for row in self.found]}

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint within the run."""
        self.found = [(int(step), loss, accuracy) for step, loss, accuracy in state["found"]]

    def history(self) -> dict[str, NDArray]:
        """``curve_step``, ``curve_loss``, ``curve_accuracy``, a number each time."""
        if not self.found:
            return {}
        step, loss, accuracy = (np.array(column) for column in zip(*self.found, strict=True))
        return {"curve_step": step, "curve_loss": loss, "curve_accuracy": accuracy}


def _teacher(run: Run, dataset: Dataset, context: Context) -> TwoHeads | None:
    teachers = run.teachers()
    if not teachers:
        return None
    (one,) = teachers
    model = fresh(one.recipe, dataset, one.seed).to(PRECISIONS[imitation_spec(one.recipe).precision])
    model.load_state_dict(load_file(teacher_record(context.store, one).weights(run.recipe.teaching.step)))
    return model.to(PRECISIONS[imitation_spec(run.recipe).precision]).eval().requires_grad_(False)


def _freeze(model: TwoHeads, trains: str) -> None:
    model.encoder.requires_grad_(trains != "heads")
    model.classes.requires_grad_(trains != "encoder")
    model.auxiliary.requires_grad_(trains != "encoder")


def _answers(model: TwoHeads, dataset: Dataset) -> dict[str, NDArray]:
    logits = {split: class_logits(model, inputs_tensor(dataset, split)) for split in SPLITS}
    return {split: rows.double().log_softmax(-1).float().numpy() for split, rows in logits.items()}


def _accuracies(answers: Mapping[str, NDArray], dataset: Dataset) -> dict[str, float]:
    found = {}
    for name, rows in answers.items():
        split, _, step = name.partition("@")
        key = f"{split}_accuracy" + (f"@{step}" if step else "")
        found[key] = float((rows.argmax(-1) == dataset.split(split).labels).mean())
    return found
