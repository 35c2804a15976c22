"""One run on sequences, from its recipe to its record.

The record has weights, the summary and in ``history``: ``loss`` (steps,), ``eval_*`` (see `sequence_evaluation`,
`sequence_probe`) and ``unexplained`` (steps,) with state distillation (see `sequence_states`); no predictions and no examples,
as the words are made from their seeds. Shapes: B batch, T time, C classes, M answers asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file
from torch import Tensor, nn

from disobey.data.sources.sequences import IGNORED
from disobey.models.recurrent.sequence import SequenceModel
from disobey.records.store import Store
from disobey.targets.controls import controlled
from disobey.targets.losses import label_loss, loss_at
from disobey.targets.schedule import Term
from disobey.training.loop import Diverged
from disobey.training.observers import Observer
from disobey.training.optim import learning_rates, optimizer
from disobey.training.recipe import Run, encode
from disobey.training.record_writer import write_info, write_weights
from disobey.training.seeds import torch_stream
from disobey.training.tasks.sequences.evaluation import evaluation
from disobey.training.tasks.sequences.model import check_sequence, sequence_net
from disobey.training.tasks.sequences.states import StateLesson
from disobey.training.tasks.sequences.words import Stream


def train_sequence(run: Run, store: Store, folder: Path, observers: Sequence[Observer], device: torch.device) -> None:
    """Trains the run and fills ``folder`` with its record. Its teacher, if it has one, must be finished."""
    started, cpu = time.perf_counter(), time.process_time()
    check_sequence(run)
    spec = run.recipe.sequence
    assert spec is not None
    model = sequence_net(run.recipe, run.seed).to(device)
    teacher = _teacher(run, store, device)
    if spec.start == "teacher":
        assert teacher is not None
        model.load_state_dict(teacher.state_dict())
    lesson = None
    if spec.states is not None:
        assert teacher is not None
        lesson = StateLesson(run, model, teacher)
    losses = fit_words(model, run, teacher, observers, lesson)
    history = {"loss": losses.numpy(), **evaluation(model.eval(), run.recipe)}
    if lesson is not None:
        history["unexplained"] = lesson.unexplained[: len(losses)].cpu().numpy()
    if spec.probe:
        from disobey.training.tasks.sequences.probe import probed  # brings scikit-learn, which other runs need not load

        history |= probed(model, run)
    cost = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "examples": len(losses) * run.recipe.optim.batch,
        "device": device.type,
    }
    _write(folder, run, model, history, cost)


def fit_words(
    model: SequenceModel,
    run: Run,
    teacher: SequenceModel | None = None,
    observers: Sequence[Observer] = (),
    lesson: StateLesson | None = None,
) -> Tensor:
    """Trains ``model`` in place; the loss of every step (steps,). Raises `Diverged` where one is no finite number.

    The loss is that of the answers; what a lesson on states adds to it is in the lesson.
    """
    optim, device = run.recipe.optim, next(model.parameters()).device
    ties = () if lesson is None else tuple(lesson.ties.parameters())
    stream, rates, opt = Stream(run), learning_rates(optim), optimizer(optim, (*model.parameters(), *ties))
    ask = None if teacher is None else teacher.eval().requires_grad_(False)
    control = torch_stream(run.seed, "control", run.recipe.replica)
    steps = optim.steps if optim.stop is None else min(optim.stop, optim.steps)
    losses = torch.zeros(steps, device=device)
    model.train()
    for step in range(steps):
        words = stream(step)
        inputs = torch.as_tensor(words.inputs, device=device)
        targets = torch.as_tensor(words.targets, device=device)
        asked = targets != IGNORED
        terms = run.recipe.targets.at(step / optim.steps)
        logits, extra = (model(inputs), 0.0) if lesson is None else lesson(model, inputs, step)
        loss = word_loss(terms, logits[asked], targets[asked], _asker(ask, inputs, asked), control)
        opt.zero_grad(set_to_none=True)
        (loss + extra).backward()
        if optim.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), optim.clip)
        for group in opt.param_groups:
            group["lr"] = rates[step]
        opt.step()
        losses[step] = loss.detach()
        for observer in observers:
            if (step + 1) % observer.every == 0 or step + 1 == steps:
                observer.look(step + 1, model, losses)
    finite = torch.isfinite(losses).cpu()
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0]) + 1
        raise Diverged(f"the loss is no finite number from step {first} of {steps}; try a lower learning rate or scale")
    return losses.cpu()


def word_loss(
    terms: Sequence[Term], logits: Tensor, labels: Tensor, ask: Callable[[], Tensor], generator: torch.Generator
) -> Tensor:
    """The objective on the answers of a batch: logits (M, C), labels (M,) to (). ``ask`` gives the teacher's logits (M, C).

    Raises `ValueError` for controls that need a whole data set (those of label terms).
    """
    total = logits.new_zeros(())
    for term in terms:
        if term.source == "labels":
            if term.control:
                raise ValueError(f"expected label terms without a control for sequences, came {term.control!r}")
            value = label_loss(term.loss, term.temperature, term.smoothing)(logits, labels)
        else:
            target, weights = ask(), None
            if term.control:
                target, weights = controlled(
                    term.control, target, labels, generator, temperature=term.temperature, amount=term.amount
                )
            value = loss_at(term.loss, term.temperature)(logits, target)
            value = value if weights is None else value * weights
        total = total + term.weight * value.mean()
    return total


def _asker(teacher: SequenceModel | None, inputs: Tensor, asked: Tensor) -> Callable[[], Tensor]:
    def ask() -> Tensor:
        assert teacher is not None
        with torch.no_grad():
            return teacher(inputs)[asked]

    return ask


def _teacher(run: Run, store: Store, device: torch.device) -> SequenceModel | None:
    teachers = run.teachers()
    if not teachers:
        return None
    (teacher,) = teachers
    record = store.find(teacher.id, encode(teacher.recipe))
    if record is None:
        raise ValueError(f"the teacher {teacher.id} is not trained yet; use run_all, which trains teachers first")
    model = sequence_net(teacher.recipe, teacher.seed)
    model.load_state_dict(load_file(record.weights()))
    return model.to(device)


def _write(
    folder: Path, run: Run, model: SequenceModel, history: Mapping[str, NDArray], cost: Mapping[str, float | str]
) -> None:
    write_weights(folder, {"last": model.state_dict()})
    save_arrays({name: np.ascontiguousarray(a) for name, a in history.items()}, folder / "history.safetensors")
    last, lengths = history["eval_last"][0], history["eval_lengths"]
    summary = {f"last_token_accuracy_at_{n}": float(a) for n, a in zip(lengths, last, strict=True)}
    summary["parameters"] = sum(p.numel() for p in model.parameters())
    if len(history["loss"]):  # stop=0: untrained
        summary["final_loss"] = float(history["loss"][-50:].mean())
    data = {"name": run.recipe.data.name, "fingerprint": "", "source": "generated from its seed"}
    write_info(folder, run, data, summary, cost)
