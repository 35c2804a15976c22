"""What a run of a classifier will cost, from a few of its steps: for plans, before anything is trained.

A rough guide (processors change their speed, batches their cost), which is replaced by the time of finished runs as
soon as there are some.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import torch
from torch import nn

from disobey.data.augment import Views
from disobey.data.dataset import Dataset
from disobey.data.load import load
from disobey.records.runs import SPLITS
from disobey.training.accelerated import forward_pass
from disobey.training.batches import steps_of
from disobey.training.devices import on_device
from disobey.training.optim import optimizer
from disobey.training.predict import CHUNK
from disobey.training.recipe import Recipe, Run
from disobey.training.restore import built
from disobey.training.teacher_table import form_of

STEPS, SECONDS = 5, 2.0  # of a measurement: so many repetitions, or fewer once they take so long


def probed(runs: Iterable[Run], device: str = "cpu") -> dict[str, float]:
    """CPU-seconds of runs by the key of their recipes.

    Args:
        runs: any; one of every recipe is measured. Each recipe's network is timed for up to five steps and two passes
            over a chunk, alone, with one thread.
        device: where they will run. On a GPU nothing is measured.

    Returns:
        An entry for every recipe that is a classifier's.
    """
    if device != "cpu":
        return {}
    first = {run.recipe.key(): run for run in runs if run.recipe.task == "classification"}
    threads, timed = torch.get_num_threads(), {}
    torch.set_num_threads(1)
    try:
        return {key: _seconds(run, timed) for key, run in first.items()}
    finally:
        torch.set_num_threads(threads)


def _seconds(run: Run, timed: dict[tuple, tuple[float, float]]) -> float:
    """Loading, steps, evaluation of all splits (at kept steps, too), and the teacher's table."""
    recipe, began = run.recipe, time.process_time()
    dataset = load(recipe.data, run.seed)
    loading = time.process_time() - began
    step, row = _times(recipe, dataset, run.seed, timed)
    evaluated = sum(len(dataset.split(name)) for name in SPLITS) * (1 + len(recipe.keep))
    if recipe.choose == "validation":
        evaluated += 20 * len(dataset.validation)
    asked = 0.0
    if recipe.teacher is not None and recipe.targets.uses_teacher:
        _, answer = _times(recipe.teacher, dataset, run.seed, timed)
        views = {"crop": 81, "crop-flip": 162}.get(recipe.data.augment, 1)
        form = form_of(run, len(dataset.train), views, len(dataset.classes))
        seen = steps_of(run) * recipe.optim.batch
        rows = {"plain": len(dataset.train), "views": len(dataset.train) * views}.get(form, seen)
        asked = answer * rows * len(run.teachers())
    return loading + step * steps_of(run) + row * evaluated + asked


def _times(recipe: Recipe, dataset: Dataset, seed: int, timed: dict[tuple, tuple[float, float]]) -> tuple[float, float]:
    """CPU-seconds of a training step, and of one example without gradients; measured once for equal networks."""
    key = (recipe.model, recipe.data.name, recipe.data.augment, recipe.optim.batch, recipe.optim.name)
    key += (recipe.optim.precision,)
    if key not in timed:
        device = torch.device("cpu")
        model = on_device(built(recipe, dataset, seed), dataset.kind, device)
        augment = "none" if recipe.data.augment == "mixup" else recipe.data.augment
        inputs = Views.of(dataset, augment)
        views = None if inputs.count == 1 else torch.zeros(1, dtype=torch.int64)
        rows = torch.arange(max(recipe.optim.batch, CHUNK)) % len(inputs)
        timed[key] = _step_time(model, recipe, inputs, rows, views), _row_time(model, inputs, rows[:CHUNK], views)
    return timed[key]


def _step_time(
    model: nn.Module, recipe: Recipe, inputs: Views, rows: torch.Tensor, views: torch.Tensor | None
) -> float:
    opt, batch = optimizer(recipe.optim, model.parameters()), recipe.optim.batch
    forward = forward_pass(model, recipe.optim.precision, rows.device)
    model.train()

    def step() -> None:
        x = inputs.take(rows[:batch], None if views is None else views.expand(batch))
        logits = forward(x)
        logits.backward(torch.full_like(logits, 1e-6))
        opt.step()
        opt.zero_grad()

    return _time(step)


def _row_time(model: nn.Module, inputs: Views, rows: torch.Tensor, views: torch.Tensor | None) -> float:
    model.eval()

    @torch.inference_mode()
    def ask() -> None:
        model(inputs.take(rows, None if views is None else views.expand(len(rows))))

    return _time(ask) / len(rows)


def _time(act: Callable[[], None]) -> float:
    """CPU-seconds of one repetition, after a first one that is not counted."""
    act()
    began, done = time.process_time(), 0
    while done < STEPS and time.process_time() - began < SECONDS:
        act()
        done += 1
    return (time.process_time() - began) / done
