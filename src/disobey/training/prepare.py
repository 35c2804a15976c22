"""From a run to everything that its training needs: data, batches, network, objective and teachers.

Shapes: N examples, M a teacher's training examples, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from disobey.data.augment import Views
from disobey.data.dataset import Dataset
from disobey.data.formats.answers import read_answers
from disobey.data.load import load
from disobey.data.tensors import inputs_tensor
from disobey.errors import refusal
from disobey.records.runs import RunRecord
from disobey.records.store import Store
from disobey.targets.calibrated import FITTED, best_temperature
from disobey.targets.controls import OF_ALL
from disobey.targets.teachers import averaged
from disobey.training.batches import ExampleBatches, Order, order_of, steps_of
from disobey.training.devices import on_device
from disobey.training.objective import Objective
from disobey.training.observers import Observer
from disobey.training.predict import logits
from disobey.training.recipe import Run
from disobey.training.restore import built, redraw_head, teacher_record, trained
from disobey.training.seeds import stream_seed
from disobey.training.soundness import check_network
from disobey.training.teacher_table import Table, table_for, teacher_fn

T = TypeVar("T")


class SharedInputs:
    """What runs that are trained together share (data, orders, teachers): made once, for as long as they train."""

    def __init__(self, store: Store, device: torch.device):
        self.store, self.device = store, device
        self._made: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` made when this key was first asked for."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def dataset(self, run: Run) -> Dataset:
        """The run's data."""
        return self.get(("dataset", run.recipe.data, run.seed), lambda: load(run.recipe.data, run.seed))

    def fingerprint(self, run: Run) -> str:
        """Of the run's data: hashing all inputs takes longer than a small training."""
        return self.get(("fingerprint", run.recipe.data, run.seed), lambda: self.dataset(run).fingerprint)

    def views(self, run: Run) -> Views:
        """The training inputs, on the device; runs that differ in planted noise alone share them."""
        data = replace(run.recipe.data, noise=0.0, noise_kind="symmetric")
        return self.get(("views", data, run.seed), lambda: Views.of(self.dataset(run), data.augment).to(self.device))

    def order(self, run: Run) -> Order:
        """Which examples every step sees, on the device."""
        views = self.views(run)
        key = ("order", run.seed, run.recipe.replica, steps_of(run), run.recipe.optim.batch, len(views), views.count)
        return self.get(key, lambda: order_of(run, len(views), views.count).to(self.device))

    def labels(self, run: Run) -> Tensor:
        """The observed training labels (N,), on the device."""
        observed = self.dataset(run).train.observed
        return self.get(("labels", run.recipe.data, run.seed), lambda: _tensor(observed, self.device))

    def validation(self, run: Run) -> tuple[Tensor, Tensor]:
        """Inputs and labels (N,) of the validation split, on the device: the same for every run on one data set."""
        dataset = self.dataset(run)

        def make() -> tuple[Tensor, Tensor]:
            inputs = inputs_tensor(dataset, "validation").to(self.device)
            return inputs, _tensor(dataset.validation.labels, self.device)

        return self.get(("validation", run.recipe.data.name, run.recipe.data.fingerprint), make)


@dataclass(eq=False)
class Prepared:
    """A run that is ready to be trained, alone or as a slice of a stack."""

    run: Run
    dataset: Dataset
    model: nn.Module
    inputs: Views
    order: Order
    objective: Objective
    observers: Sequence[Observer] = ()

    @property
    def batches(self) -> ExampleBatches:
        """The batches of the sequential loop, from the first on."""
        return ExampleBatches(self.run, self.inputs, self.order)


def prepared(run: Run, shared: SharedInputs, observers: Sequence[Observer] = ()) -> Prepared:
    """The run with its data, initialized network and objective; its teachers must be finished."""
    dataset, inputs, order = shared.dataset(run), shared.views(run), shared.order(run)
    model = on_device(built(run.recipe, dataset, run.seed), dataset.kind, shared.device)
    few = inputs.take(order.rows[:1].flatten()[:2], None if order.views is None else order.views[:1].flatten()[:2])
    if len(few):
        check_network(run, model, few, len(dataset.classes), lambda: built(run.recipe, dataset, run.seed))
    return Prepared(run, dataset, model, inputs, order, _objective(run, shared, model), observers)


def _objective(run: Run, shared: SharedInputs, student: nn.Module) -> Objective:
    recipe, dataset, inputs, order = run.recipe, shared.dataset(run), shared.views(run), shared.order(run)
    table = teacher = about = None
    records: list[RunRecord] = []
    if recipe.targets.uses_teacher and recipe.teaching.saved:
        table = shared.get(
            ("saved", recipe.teaching, recipe.data, run.seed), partial(saved_table, run, dataset, shared)
        )
    elif recipe.targets.uses_teacher:
        records = [teacher_record(shared.store, one) for one in run.teachers()]
        models = [
            shared.get(("teacher", one, recipe.teaching), partial(_teacher, run, one, record, shared))
            for one, record in zip(run.teachers(), records, strict=True)
        ]
        ask = teacher = teacher_fn(run, models, records, dataset)
        key = ("table", recipe.teacher, recipe.teaching, recipe.data, run.seed, recipe.replica, recipe.optim)
        table = shared.get(key, lambda: table_for(run, ask, inputs, order, shared.store, len(dataset.classes)))
        about = None if table is None else table.examples(order, len(inputs)).to(shared.device)

    def own() -> Tensor:
        return logits(student, inputs_tensor(dataset, "train").to(shared.device))

    controls = {term.control for term in recipe.targets.terms}
    return Objective(
        recipe.targets,
        recipe.optim.steps,
        shared.labels(run),
        table,
        teacher,
        about=about,
        own=own,
        seed=stream_seed(run.seed, "control"),
        pool=pool_of(records) if OF_ALL in controls else None,
        fitted=fitted_to(records, run, dataset) if FITTED in controls else 0.0,
    )


def saved_table(run: Run, dataset: Dataset, shared: SharedInputs) -> Table:
    """The saved answers of a teacher on the run's training examples, which may be some of the data set's."""
    whole, teaching = load(replace(run.recipe.data, train=None, noise=0.0, fold=None), run.seed), run.recipe.teaching
    answers = read_answers(teaching.saved, whole, teaching.saved_content)["train"]
    place = np.argsort(whole.train.ids, kind="stable")
    rows = place[np.searchsorted(whole.train.ids, dataset.train.ids, sorter=place)]
    return Table(torch.from_numpy(answers[rows]).to(shared.device), "plain")


def _teacher(run: Run, teacher: Run, record: RunRecord, shared: SharedInputs) -> nn.Module:
    dataset, teaching = shared.dataset(run), run.recipe.teaching
    model = trained(teacher, record, dataset, teaching.step)
    if teaching.head == "random":
        redraw_head(model, teacher)
    return on_device(model, dataset.kind, shared.device).eval().requires_grad_(False)


def pool_of(records: Sequence[RunRecord]) -> tuple[Tensor, Tensor]:
    """One teacher's log-probabilities (M, C) on all its training examples, and the labels it observed (M,).

    Raises:
        Refusal: ``one-teacher``, for an ensemble or cross-fitting.
    """
    if len(records) != 1:
        raise refusal("one-teacher", f"one teacher for control {OF_ALL!r}", len(records), "teaching of one member")
    log_probs, labels = records[0].log_probs("train"), records[0].examples["train.given"]
    return torch.from_numpy(np.array(log_probs)), torch.from_numpy(np.array(labels))


def fitted_to(records: Sequence[RunRecord], run: Run, dataset: Dataset) -> float:
    """The temperature that fits the teachers' answers on validation examples to the labels there.

    Of an ensemble that of its mean; of cross-fitted teachers, which answer one by one, a common one.
    """
    teaching, labels = run.recipe.teaching, torch.from_numpy(np.ascontiguousarray(dataset.validation.labels))
    if teaching.saved:
        whole = load(replace(run.recipe.data, train=None, noise=0.0, fold=None), run.seed)
        found = read_answers(teaching.saved, whole, teaching.saved_content)["validation"]
        return best_temperature(torch.from_numpy(found), labels)
    answers = torch.stack([torch.from_numpy(np.array(r.log_probs("validation", teaching.step))) for r in records])
    if teaching.folds:
        return best_temperature(answers.flatten(0, 1), labels.repeat(len(answers)))
    return best_temperature(averaged(answers), labels)


def _tensor(labels: NDArray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(labels)).to(device)
