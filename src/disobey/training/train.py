"""`train`: one run, from its recipe to its record in the store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

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
from disobey.records.store import Store
from disobey.targets.controls import OF_ALL
from disobey.training.batches import Order, order_of
from disobey.training.loop import fit
from disobey.training.objective import Objective
from disobey.training.observers import Observer
from disobey.training.predict import log_probabilities, logits
from disobey.training.recipe import Recipe, Run, encode
from disobey.training.seeds import seeded, stream_seed
from disobey.training.teaching import asker, table_for
from disobey.training.write import write_record


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
                _train(run, store, folder, observers, pick_device(device))
            else:
                from disobey.training.sequence_loop import train_sequence  # two seconds of imports: torch's compiler

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


def _train(run: Run, store: Store, folder: Path, observers: Sequence[Observer], device: torch.device) -> None:
    started, cpu = time.perf_counter(), time.process_time()
    dataset = load(run.recipe.data, run.seed)
    model = on_device(built(run.recipe, dataset, run.seed), dataset, device)
    inputs = Views.of(dataset, run.recipe.data.augment).to(device)
    order = order_of(run, len(inputs), inputs.count).to(device)
    objective = _objective(run, store, dataset, model, inputs, order, device)
    validation = (inputs_tensor(dataset, "validation").to(device), _labels(dataset.validation.labels, device))
    with seeded(run.seed, "dropout", run.recipe.replica), deterministic(device):
        result = fit(
            model, run, inputs, order, objective, validation=validation, observers=observers
        )  # fmt: skip
        answers = predictions(model, dataset, device)
        for step, weights in result.kept.items():
            other = on_device(built(run.recipe, dataset, run.seed), dataset, device)
            other.load_state_dict(weights)
            answers |= {f"{split}@{step}": a for split, a in predictions(other, dataset, device).items()}
    cost = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "examples": len(order) * run.recipe.optim.batch,
        "device": device.type,
    }
    write_record(folder, run, dataset, model, result, answers, cost)


def _objective(
    run: Run, store: Store, dataset: Dataset, student: nn.Module, inputs: Views, order: Order, device: torch.device
) -> Objective:
    recipe = run.recipe
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
            model = trained(teacher, record, dataset, recipe.teaching.step)
            if recipe.teaching.head == "random":
                redraw_head(model, teacher)
            models.append(on_device(model, dataset, device).eval().requires_grad_(False))
        ask = asker(run, models, records, dataset)
        table = table_for(run, ask, inputs, order, store, len(dataset.classes))
        about = None if table is None else table.examples(order, len(inputs)).to(device)
    given = _labels(dataset.train.given, device)
    pool = pool_of(records) if any(t.control == OF_ALL for t in recipe.targets.terms) else None

    def own() -> Tensor:
        return logits(student, inputs_tensor(dataset, "train").to(device))

    seed = stream_seed(run.seed, "control")
    return Objective(recipe.targets, recipe.optim.steps, given, table, ask, about=about, own=own, seed=seed, pool=pool)


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
