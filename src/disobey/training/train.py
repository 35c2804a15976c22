"""`train`: one run, from its recipe to its record in the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from disobey.data.augment import Views
from disobey.data.dataset import Dataset
from disobey.data.load import load
from disobey.data.tensors import inputs_tensor
from disobey.models.build import build
from disobey.records.runs import SPLITS, RunRecord
from disobey.records.store import Busy, Store
from disobey.targets.controls import OF_ALL
from disobey.training.batches import Order, order_of, steps_of
from disobey.training.loop import Diverged, Fit, fit
from disobey.training.objective import Objective
from disobey.training.observers import Observer
from disobey.training.predict import log_probabilities, logits
from disobey.training.recipe import Recipe, Run, encode
from disobey.training.record_writer import write_record
from disobey.training.seeds import seeded, stream_seed
from disobey.training.stacked.grouping import stack_key, stream
from disobey.training.stacked.loop import Slice, fit_stack
from disobey.training.teacher_table import asker, table_for

T = TypeVar("T")


def train(
    run: Run, store: Store, *, observers: Sequence[Observer] = (), device: str = "auto", wait: bool = True
) -> RunRecord:
    """The run's record: from the store where it is finished, else trained now (its teachers must be finished).

    One thread on CPU and deterministic kernels: equal runs give equal bits on one machine. Raises `Busy` where another
    process is training the same run and ``wait`` is false.
    """
    recipe = encode(run.recipe)
    found = store.find(run.id, recipe)
    if found is not None:
        return found
    with store.lock(run.id, wait=wait):
        found = store.find(run.id, recipe)
        if found is not None:
            return found
        with store.writing(run.id) as folder:
            if run.recipe.sequence is None:
                clock, shelf = _Clock(), Shelf(store, pick_device(device))
                _train(_prepared(run, shelf, observers), shelf, clock, folder)
            else:
                from disobey.training.tasks.sequences.loop import (
                    train_sequence,  # two seconds of imports: torch's compiler
                )

                train_sequence(run, store, folder, observers, pick_device(device))
    record = store.find(run.id, recipe)
    assert record is not None
    return record


def pick_device(name: str = "auto") -> torch.device:
    """``auto``: the first GPU where there is one. Raises `ValueError` for a GPU that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"expected a device that is there, came {name!r}, but torch sees no GPU; try --device cpu")
    return torch.device(name)


def built(recipe: Recipe, dataset: Dataset, seed: int) -> nn.Module:
    """The recipe's model with its initial weights for this seed, on the CPU."""
    with seeded(seed, "init", recipe.replica):
        return build(
            recipe.model, shape=input_shape(dataset), classes=len(dataset.classes), vocabulary=len(dataset.vocabulary)
        )


def input_shape(dataset: Dataset) -> tuple[int, ...]:
    shape = dataset.test.inputs.shape[1:]
    return (shape[2], shape[0], shape[1]) if dataset.kind == "image" else tuple(shape)


def trained(run: Run, record: RunRecord, dataset: Dataset, step: int | None = None) -> nn.Module:
    """A finished run's model in evaluation mode, with its last or a kept checkpoint's weights."""
    model = built(run.recipe, dataset, run.seed)
    model.load_state_dict(load_file(record.weights(step)))
    return model.eval()


def redraw_head(model: nn.Module, run: Run) -> None:
    """Draws the last linear layer anew, in place: a stream of its own, the same for all students of this teacher."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ValueError("expected a teacher with a linear layer to draw anew (teaching.head='random'); it has none")
    with seeded(run.seed, "control", run.recipe.replica):
        layers[-1].reset_parameters()


def train_stack(
    runs: Sequence[Run],
    store: Store,
    *,
    observers: Callable[[Run], Sequence[Observer]] = lambda run: (),
    device: str = "auto",
) -> list[RunRecord | Exception]:
    """Runs of equal `stack_key` as one batched program: each run's record, or why it has none (`Busy`, `Diverged`, ...).

    The same records as from `train`, one by one. Runs that are finished, or being trained elsewhere, are left out.
    """
    answers: dict[Run, RunRecord | Exception] = {}
    with ExitStack() as locks:
        missing = []
        for run in runs:
            try:
                locks.enter_context(store.lock(run.id, wait=False))
                found = store.find(run.id, encode(run.recipe))
            except (Busy, ValueError) as error:
                answers[run] = error
                continue
            if found is None:
                missing.append(run)
            else:
                answers[run] = found
        _train_together(missing, store, observers, pick_device(device), answers)
    return [answers[run] for run in runs]


def _train_together(
    runs: Sequence[Run],
    store: Store,
    observers: Callable[[Run], Sequence[Observer]],
    device: torch.device,
    answers: dict[Run, RunRecord | Exception],
) -> None:
    """Fills ``answers``: what breaks one run's preparation or record is that run's, what breaks the stack is everybody's."""
    clock, shelf, ready = _Clock(), Shelf(store, device), []
    for run in runs:
        try:
            ready.append(_prepared(run, shelf, observers(run)))
        except Exception as error:
            answers[run] = error
    if not ready:
        return
    together = [one for one in ready if _stacks(one)]
    try:
        with deterministic(device):
            fits = fit_stack(together, validation=_validation(ready[0].dataset, shelf)) if together else []
    except Exception as error:
        answers |= {one.run: error for one in together}
        together, fits = [], []
    for one in ready:
        if not _stacks(one):
            answers[one.run] = _recorded(one, shelf, partial(_train, one, shelf, _Clock()))
    if not together:
        return
    shared = clock.cost() | {"stacked": len(together)}
    share = {name: value / len(together) if name.endswith("seconds") else value for name, value in shared.items()}
    for one, result in zip(together, fits, strict=True):
        if isinstance(result, Diverged):
            answers[one.run] = result
        else:
            answers[one.run] = _recorded(one, shelf, partial(_after, one, result, shelf, _Clock(share)))


def _recorded(one: _Prepared, shelf: Shelf, fill: Callable[[Path], None]) -> RunRecord | Exception:
    """The run's record, whose folder ``fill`` fills, or what went wrong."""
    try:
        with shelf.store.writing(one.run.id) as folder:
            fill(folder)
        record = shelf.store.find(one.run.id, encode(one.run.recipe))
        assert record is not None
        return record
    except Exception as error:
        return error


class Shelf:
    """What runs that are trained together share (data, orders, teachers): made once, for as long as they train."""

    def __init__(self, store: Store, device: torch.device):
        self.store, self.device = store, device
        self._made: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def dataset(self, run: Run) -> Dataset:
        return self.once(("dataset", run.recipe.data, run.seed), lambda: load(run.recipe.data, run.seed))

    def fingerprint(self, run: Run) -> str:
        return self.once(("fingerprint", run.recipe.data, run.seed), lambda: self.dataset(run).fingerprint)

    def views(self, run: Run) -> Views:
        data = replace(run.recipe.data, noise=0.0, noise_kind="symmetric")  # the inputs do not depend on it

        def make() -> Views:
            return Views.of(self.dataset(run), data.augment).to(self.device)

        return self.once(("views", data, run.seed), make)

    def order(self, run: Run) -> Order:
        views = self.views(run)
        key = ("order", run.seed, run.recipe.replica, steps_of(run), run.recipe.optim.batch, len(views), views.count)
        return self.once(key, lambda: order_of(run, len(views), views.count).to(self.device))

    def given(self, run: Run) -> Tensor:
        labels = self.dataset(run).train.given
        return self.once(("given", run.recipe.data, run.seed), lambda: _labels(labels, self.device))


@dataclass(eq=False)
class _Prepared(Slice):
    """A run ready to be trained."""

    dataset: Dataset = field(kw_only=True)


def _prepared(run: Run, shelf: Shelf, observers: Sequence[Observer]) -> _Prepared:
    dataset, inputs, order = shelf.dataset(run), shelf.views(run), shelf.order(run)
    model = on_device(built(run.recipe, dataset, run.seed), dataset, shelf.device)
    objective = _objective(run, shelf, dataset, model, inputs, order)
    classes = len(dataset.classes)
    return _Prepared(run, model, inputs, order, objective, stream(run), classes, observers, dataset=dataset)


def _train(one: _Prepared, shelf: Shelf, clock: _Clock, folder: Path) -> None:
    run, validation = one.run, _validation(one.dataset, shelf)
    with seeded(run.seed, "dropout", run.recipe.replica), deterministic(shelf.device):
        if _stacks(one):
            (result,) = fit_stack([one], validation=validation)
            if isinstance(result, Diverged):
                raise result
        else:
            result = fit(
                one.model, run, one.inputs, one.order, one.objective, validation=validation, observers=one.observers
            )  # fmt: skip
        _after(one, result, shelf, clock, folder)


def _after(one: _Prepared, result: Fit, shelf: Shelf, clock: _Clock, folder: Path) -> None:
    """From weights to the record."""
    run, dataset, device = one.run, one.dataset, shelf.device
    answers = predictions(one.model, dataset, device)
    for step, weights in result.kept.items():
        other = on_device(built(run.recipe, dataset, run.seed), dataset, device)
        other.load_state_dict(weights)
        answers |= {f"{split}@{step}": a for split, a in predictions(other, dataset, device).items()}
    cost = clock.cost() | {"examples": len(one.order) * run.recipe.optim.batch, "device": device.type}
    write_record(folder, run, dataset, one.model, result, answers, cost, fingerprint=shelf.fingerprint(run))


class _Clock:
    """Seconds since now, on top of what was spent ``before``, which is kept as it is otherwise."""

    def __init__(self, before: Mapping[str, float] | None = None) -> None:
        self.before = {"seconds": 0.0, "cpu_seconds": 0.0, **(before or {})}
        self.started, self.cpu = time.perf_counter(), time.process_time()

    def cost(self) -> dict[str, Any]:
        seconds, cpu = time.perf_counter() - self.started, time.process_time() - self.cpu
        before = self.before
        return {**before, "seconds": before["seconds"] + seconds, "cpu_seconds": before["cpu_seconds"] + cpu}


def _stacks(one: Slice) -> bool:
    """Whether this run is trained as (part of) a stack: decided by its recipe alone, whoever is trained with it.

    All targets must be known beforehand: a table of the teacher's answers, or no teacher.
    """
    key = stack_key(one.run, one.order.rows.device.type)
    return key is not None and (one.objective.ask is None or one.objective.table is not None)


def _validation(dataset: Dataset, shelf: Shelf) -> tuple[Tensor, Tensor]:
    def make() -> tuple[Tensor, Tensor]:
        inputs = inputs_tensor(dataset, "validation").to(shelf.device)
        return inputs, _labels(dataset.validation.labels, shelf.device)

    return shelf.once("validation", make)


def _objective(run: Run, shelf: Shelf, dataset: Dataset, student: nn.Module, inputs: Views, order: Order) -> Objective:
    recipe, store, device = run.recipe, shelf.store, shelf.device
    table = ask = about = None
    records: list[RunRecord] = []
    if recipe.targets.listens:
        assert recipe.teacher is not None
        models = []
        for teacher in run.teachers():
            record = store.find(teacher.id, encode(teacher.recipe))
            if record is None:
                raise ValueError(
                    f"the teacher {teacher.id} is not trained yet; use run_all, which trains teachers first"
                )
            records.append(record)
            models.append(
                shelf.once(("teacher", teacher, recipe.teaching), partial(_teacher, run, teacher, record, shelf))
            )
        ask = asker(run, models, records, dataset)
        key = ("table", recipe.teacher, recipe.teaching, recipe.data, run.seed, recipe.replica, recipe.optim)
        table = shelf.once(key, lambda: table_for(run, ask, inputs, order, store, len(dataset.classes)))
        about = None if table is None else table.examples(order, len(inputs)).to(device)
    given = shelf.given(run)
    pool = pool_of(records) if any(t.control == OF_ALL for t in recipe.targets.terms) else None

    def own() -> Tensor:
        return logits(student, inputs_tensor(dataset, "train").to(device))

    seed = stream_seed(run.seed, "control")
    return Objective(recipe.targets, recipe.optim.steps, given, table, ask, about=about, own=own, seed=seed, pool=pool)


def _teacher(run: Run, teacher: Run, record: RunRecord, shelf: Shelf) -> nn.Module:
    dataset, teaching = shelf.dataset(run), run.recipe.teaching
    model = trained(teacher, record, dataset, teaching.step)
    if teaching.head == "random":
        redraw_head(model, teacher)
    return on_device(model, dataset, shelf.device).eval().requires_grad_(False)


def pool_of(records: Sequence[RunRecord]) -> tuple[Tensor, Tensor]:
    """What one teacher says of all its training examples, and their labels as it was told: (M, C), (M,)."""
    if len(records) != 1:
        raise ValueError(f"expected one teacher for control {OF_ALL!r}, came {len(records)}")
    log_probs, labels = records[0].log_probs("train"), records[0].examples["train.given"]
    return torch.from_numpy(np.array(log_probs)), torch.from_numpy(np.array(labels))


def on_device(model: nn.Module, dataset: Dataset, device: torch.device) -> nn.Module:
    if dataset.kind == "image":
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return model.to(device)


def predictions(model: nn.Module, dataset: Dataset, device: torch.device) -> dict[str, NDArray]:
    """(N, C) float32 log-probabilities of every split, inputs as they are (no augmentation)."""
    return {split: log_probabilities(model, inputs_tensor(dataset, split).to(device)).cpu().numpy() for split in SPLITS}


class deterministic:
    """Deterministic cuDNN inside the block; on CPU with one thread everything is already."""

    def __init__(self, device: torch.device):
        self.cuda = device.type == "cuda"

    def __enter__(self):
        self.before = (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark)
        if self.cuda:
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False

    def __exit__(self, *error):
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = self.before


def _labels(labels, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(labels)).to(device)
