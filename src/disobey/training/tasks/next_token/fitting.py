"""One run on running text: `loop.fit`, then what is read off the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors.torch import load_file

from disobey.data.sources.passages import Passages, passages
from disobey.models.language import CausalTransformer
from disobey.training.context import Clock, Context
from disobey.training.devices import deterministic
from disobey.training.loop import fit
from disobey.training.recipe import Run
from disobey.training.record_writer import Content, write_record
from disobey.training.restore import teacher_record
from disobey.training.tasks.next_token.network import LENGTH, Windows, language_model
from disobey.training.tasks.next_token.objective import TokenObjective
from disobey.training.tasks.next_token.readings import readings


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished training. history: arrays by name, as the record has them."""

    run: Run
    text: Passages
    model: CausalTransformer
    history: Mapping[str, NDArray]
    cost: Mapping[str, Any]


def train_next_token(run: Run, context: Context) -> Trained:
    """Trains and reads; its teacher, if it has one, must be finished."""
    clock, text = Clock(), passages(run.recipe.data)
    with deterministic(context.device):
        model = language_model(run.recipe, run.seed).to(context.device)
        teacher = _teacher(run, context)
        objective, savepoint = TokenObjective(run, teacher), context.savepoint(run)
        if savepoint is not None:
            savepoint.keepers = (objective,)
        batches = Windows(run, context.device)
        fitted = fit(model, run, batches, objective.backward, observers=context.observers, savepoint=savepoint)
        temperatures = [term.temperature for term in run.recipe.targets.terms if term.source == "teacher"]
        history = {"loss": fitted.losses.numpy()}
        history |= readings(model.eval(), teacher, text, temperatures[0] if temperatures else 1.0)
    cost = clock.cost() | {"examples": len(batches) * run.recipe.optim.batch * LENGTH, "device": context.device.type}
    return Trained(run, text, model, history, cost)


def write_next_token(folder: Path, trained: Trained) -> None:
    """Weights, history and summary."""
    history, text = trained.history, trained.text
    summary = {name: float(history[name].mean()) for name in history if name not in ("loss", "mass")}
    summary["parameters"] = sum(p.numel() for p in trained.model.parameters())
    summary["pieces"] = len(text.vocabulary)
    data = {"name": text.name, "fingerprint": text.fingerprint, "source": text.source}
    weights = {"last": trained.model.state_dict()}
    write_record(folder, trained.run, Content(weights, history, data, summary, trained.cost))


def _teacher(run: Run, context: Context) -> CausalTransformer | None:
    teachers = run.teachers()
    if not teachers:
        return None
    (one,) = teachers
    model = language_model(one.recipe, one.seed)
    model.load_state_dict(load_file(teacher_record(context.store, one).weights()))
    return model.to(context.device).eval().requires_grad_(False)
