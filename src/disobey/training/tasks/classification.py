"""Classification of examples that have splits: images, texts and features. Shapes: N examples, C classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from disobey.data.dataset import Dataset
from disobey.data.load import load
from disobey.data.tensors import inputs_tensor
from disobey.models.build import resolve
from disobey.models.spec import HUGGING_FACE, TIMM, is_file
from disobey.records.runs import SPLITS
from disobey.training.accelerated import Step, step_of
from disobey.training.acceleration import PLAIN, Acceleration
from disobey.training.context import Clock, Context
from disobey.training.devices import deterministic, on_device
from disobey.training.facts import Facts, NetworkFacts
from disobey.training.loop import Diverged, Fit, accuracy, fit
from disobey.training.predict import log_probabilities
from disobey.training.prepare import Prepared, SharedInputs, prepared
from disobey.training.recipe import Run
from disobey.training.record_writer import Content, write_record
from disobey.training.restore import Sizes, built
from disobey.training.savepoint import Savepoint
from disobey.training.seeds import seeded
from disobey.training.soundness import check_predictions
from disobey.training.stacked.grouping import stack_key
from disobey.training.stacked.loop import fit_stack


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished training. predictions: log-probabilities (N, C) by split, ``split@step`` for kept checkpoints."""

    run: Run
    dataset: Dataset
    fingerprint: str
    model: nn.Module
    fit: Fit
    predictions: Mapping[str, NDArray]
    cost: Mapping[str, Any]


def check(run: Run, facts: Facts) -> None:
    """Refuses data that is not there, options that do not fit it, and a model that cannot take it.

    Every data set is loaded once and every model built once for all runs that share it. Users' own factories and
    downloaded models are only looked for, not built: building them may take long.
    """
    data, model = run.recipe.data, run.recipe.model
    place = data.name, data.fingerprint
    if facts.is_new(data):
        facts.sizes[place] = Sizes.of(load(data, run.seed))
    if not facts.is_new((model, *place)):
        return
    if model.name.startswith((HUGGING_FACE, TIMM)) or is_file(model.name):
        resolve(model)
    else:
        facts.networks[(model, *place)] = NetworkFacts.of(facts.sizes[place].network(model))


def train(run: Run, context: Context) -> Trained:
    """Trains the run, with the bits that it also has as a slice of any stack."""
    clock, shared = Clock(), SharedInputs(context.store, context.device)
    one = prepared(run, shared, context.observers)
    return train_prepared(one, shared, clock, context.savepoint(run), context.acceleration)


def train_prepared(
    one: Prepared,
    shared: SharedInputs,
    clock: Clock,
    savepoint: Savepoint | None = None,
    acceleration: Acceleration = PLAIN,
) -> Trained:
    """Trains one prepared run alone: as a stack of one, never accelerated, where such runs are stacked."""
    validation, precision = shared.validation(one.run), one.run.recipe.optim.precision
    with seeded(one.run.seed, "dropout", one.run.recipe.replica), deterministic(shared.device, precision):
        if is_stacked(one):
            (result,) = fit_stack([one], validation=validation)
            if isinstance(result, Diverged):
                raise result
        else:
            step = step_of(one, acceleration)
            result = fit_sequentially(one, validation, savepoint, step)
            clock.before |= (savepoint.before if savepoint is not None else {}) | step.notes()
        return finished(one, result, shared, clock)


def fit_sequentially(
    one: Prepared, validation: tuple[Tensor, Tensor], savepoint: Savepoint | None = None, step: Step | None = None
) -> Fit:
    """The one loop on a prepared run; validation: inputs (N, ...) and labels (N,)."""
    step = step_of(one) if step is None else step
    score = partial(accuracy, inputs=validation[0], labels=validation[1])
    batches = one.batches
    if savepoint is not None:
        savepoint.keepers, savepoint.how = (batches, one.objective), step.how
    return fit(one.model, one.run, batches, step.backward, score=score, observers=one.observers, savepoint=savepoint)


def is_stacked(one: Prepared) -> bool:
    """Whether this run is trained as (part of) a stack: decided by its recipe alone, whoever is trained with it.

    All targets must be known beforehand: a table of the teacher's logits, or no teacher.
    """
    key = stack_key(one.run, NetworkFacts.of(one.model), one.order.rows.device.type)
    return key is not None and (one.objective.teacher is None or one.objective.table is not None)


def finished(one: Prepared, result: Fit, shared: SharedInputs, clock: Clock) -> Trained:
    """What the trained network predicts, and what it cost."""
    run, dataset, device = one.run, one.dataset, shared.device
    answers = predictions(one.model, dataset, device)
    for step, weights in result.kept.items():
        other = on_device(built(run.recipe, dataset, run.seed), dataset.kind, device)
        other.load_state_dict(weights)
        answers |= {f"{split}@{step}": array for split, array in predictions(other, dataset, device).items()}
    check_predictions(answers)
    cost = clock.cost() | {"examples": len(one.order) * run.recipe.optim.batch, "device": device.type}
    return Trained(run, dataset, shared.fingerprint(run), one.model, result, answers, cost)


def predictions(model: nn.Module, dataset: Dataset, device: torch.device) -> dict[str, NDArray]:
    """(N, C) float32 log-probabilities of every split, inputs as they are (no augmentation)."""
    return {split: log_probabilities(model, inputs_tensor(dataset, split).to(device)).cpu().numpy() for split in SPLITS}


def write(folder: Path, trained: Trained) -> None:
    """Weights, predictions, examples, history and summary."""
    dataset = trained.dataset
    content = Content(
        weights=trained.fit.weights(trained.model),
        history=trained.fit.history,
        data={"name": dataset.name, "fingerprint": trained.fingerprint, "source": dataset.source},
        summary=_summary(trained),
        cost=trained.cost,
        predictions=trained.predictions,
        examples=_examples(dataset),
    )
    write_record(folder, trained.run, content)


def _examples(dataset: Dataset) -> dict[str, NDArray]:
    arrays = {}
    for name in SPLITS:
        split = dataset.split(name)
        arrays |= {f"{name}.labels": split.labels, f"{name}.given": split.observed, f"{name}.ids": split.ids}
    return arrays


def _summary(trained: Trained) -> dict[str, float]:
    """Accuracies on the true labels; ``fitted`` is the share of the *observed* training labels that are predicted."""
    dataset, answers = trained.dataset, trained.predictions
    numbers = {f"{name}_accuracy": _share(answers[name], dataset.split(name).labels) for name in SPLITS}
    return numbers | {
        "fitted": _share(answers["train"], dataset.train.observed),
        "parameters": sum(p.numel() for p in trained.model.parameters()),
        "chosen_step": trained.fit.chosen,
    }


def _share(log_probs: NDArray, labels: NDArray) -> float:
    return float((log_probs.argmax(-1) == labels).mean())
