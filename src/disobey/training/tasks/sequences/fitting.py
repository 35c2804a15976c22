"""One run on sequences: `loop.fit`, then what the trained network can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors.torch import load_file

from disobey.models.recurrent.sequence import SequenceModel
from disobey.training.context import Clock, Context
from disobey.training.loop import Fit, fit
from disobey.training.observers import Observer
from disobey.training.recipe import Run, sequence_spec
from disobey.training.record_writer import Content, write_record
from disobey.training.restore import teacher_record
from disobey.training.savepoint import Savepoint
from disobey.training.tasks.sequences.batches import SequenceBatches
from disobey.training.tasks.sequences.evaluation import evaluation
from disobey.training.tasks.sequences.model import check_sequence, sequence_net
from disobey.training.tasks.sequences.objective import SequenceObjective
from disobey.training.tasks.sequences.states import StateLesson


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished training. history: arrays by name, as the record has them."""

    run: Run
    model: SequenceModel
    history: Mapping[str, NDArray]
    cost: Mapping[str, Any]


def train_sequence(run: Run, context: Context) -> Trained:
    """Trains, evaluates and probes; its teacher, if it has one, must be finished."""
    clock, spec, device = Clock(), sequence_spec(run.recipe), context.device
    check_sequence(run)
    model = sequence_net(run.recipe, run.seed).to(device)
    teacher = _teacher(run, context)
    lesson = None
    if teacher is not None:
        if spec.start == "teacher":
            model.load_state_dict(teacher.state_dict())
        if spec.states is not None:
            lesson = StateLesson(run, model, teacher)
    fitted = fit_sequences(
        model, run, teacher, lesson=lesson, observers=context.observers, savepoint=context.savepoint(run)
    )
    losses = fitted.losses
    history = {"loss": losses.numpy(), **evaluation(model.eval(), run.recipe)}
    if lesson is not None:
        history["unexplained"] = lesson.unexplained[: len(losses)].cpu().numpy()
    if spec.probe:
        from disobey.training.tasks.sequences.probe import probed  # brings scikit-learn, which other runs need not load

        history |= probed(model, run)
    cost = clock.cost() | {"examples": len(losses) * run.recipe.optim.batch, "device": device.type}
    return Trained(run, model, history, cost)


def fit_sequences(
    model: SequenceModel,
    run: Run,
    teacher: SequenceModel | None = None,
    *,
    lesson: StateLesson | None = None,
    observers: Sequence[Observer] = (),
    savepoint: Savepoint | None = None,
) -> Fit:
    """The one loop on sequences. Trains ``model`` in place, and with it the maps of a lesson on states.

    Raises:
        Diverged: a loss was no finite number.
    """
    batches = SequenceBatches(run, model.head.weight.device)
    objective = SequenceObjective(run, teacher, lesson)
    maps = () if lesson is None else lesson.ties.parameters()
    if savepoint is not None:
        savepoint.keepers = (objective,)
    return fit(model, run, batches, objective.backward, besides=maps, observers=observers, savepoint=savepoint)


def _teacher(run: Run, context: Context) -> SequenceModel | None:
    teachers = run.teachers()
    if not teachers:
        return None
    (teacher,) = teachers
    model = sequence_net(teacher.recipe, teacher.seed)
    model.load_state_dict(load_file(teacher_record(context.store, teacher).weights()))
    return model.to(context.device)


def write_sequence(folder: Path, trained: Trained) -> None:
    """Weights, history and summary."""
    run, model, history = trained.run, trained.model, trained.history
    last, lengths = history["eval_last"][0], history["eval_lengths"]
    summary = {f"last_token_accuracy_at_{n}": float(a) for n, a in zip(lengths, last, strict=True)}
    summary["parameters"] = sum(p.numel() for p in model.parameters())
    if len(history["loss"]):  # stop=0: untrained
        summary["final_loss"] = float(history["loss"][-50:].mean())
    data = {"name": run.recipe.data.name, "fingerprint": "", "source": "generated from its seed"}
    weights = {"last": model.state_dict()}
    write_record(folder, run, Content(weights, history, data, summary, trained.cost))
