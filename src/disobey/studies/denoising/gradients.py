"""The gradients of one student's path against a large sample: what the network part of `denoising` is made from.

At every kept moment of a student that learns from labels, each training signal's gradient on the student's own sample
is compared with the gradient of the true labels on fresh examples. All signals are read at the same weights.

N examples, C classes, τ temperature. Residuals are minus the derivative on the logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from disobey.data.dataset import Dataset, Split
from disobey.data.load import load
from disobey.data.tensors import inputs_tensor
from disobey.measures.gradients import (
    batch_snr,
    by_layer,
    cosine,
    example_gradients,
    parameter_gradients,
)
from disobey.records.runs import RunRecord
from disobey.targets.teacher_free import class_confusion, masked_gradient, relative_strength
from disobey.targets.teachers import cross_fitted
from disobey.training.predict import logits
from disobey.training.recipe import Run
from disobey.training.restore import trained

Signal = tuple[str, int | None, float]  # its name, the teacher's kept step (None: its end), τ
ONE_HOT, KD, CROSS, ZERO_OWN, ZERO_TEACHER = "one-hot", "KD", "cross-fitted KD", "zeroed, own", "zeroed, teacher"
BATCH = 50  # examples, for the SNR of minibatches


@dataclass(frozen=True)
class PairedRuns:
    """The runs that belong together: a student on labels, a teacher of the same sample, and its cross-fitted parts."""

    student: Run
    teacher: Run
    folds: tuple[Run, ...]


@dataclass(frozen=True, eq=False)
class GradientReading:
    """What one student's path says about every signal.

    Attributes:
        cosines: alignment by kept moment and signal.
        layers: alignment of single layers at the first moment.
        batches: SNR of minibatches there.
        flips: share of positive residuals on (confusable, other) classes, by teacher's age and temperature.
        similarity: (C, C), confusion of the cross-fitted final teacher by true class.
    """

    cosines: Mapping[tuple[int | None, Signal], float]
    layers: Mapping[tuple[str, Signal], float]
    batches: Mapping[Signal, float]
    flips: Mapping[tuple[int | None, float], tuple[float, float]]
    similarity: NDArray


def read(
    paired: PairedRuns,
    records: Mapping[Run, RunRecord],
    steps: Sequence[int],
    temperatures: Sequence[float],
    *,
    own_step: int,
    fresh: int,
) -> GradientReading:
    """Everything about one student. steps: kept ones of student and teachers; the end (None) is added.

    own_step: when the student's own confusion is taken. fresh: examples of the large sample, at most.
    Raises `ValueError` where the student's sample is the whole training split, so that nothing fresh is left.
    """
    run = paired.student
    dataset = load(run.recipe.data, run.seed)
    x, told = inputs_tensor(dataset, "train"), torch.from_numpy(dataset.train.observed)
    new_x, new_y = _fresh(run, dataset, fresh)
    moments: list[int | None] = [*steps, None]
    answers = {KD: _own_answers(paired, records, moments), CROSS: _cross_answers(paired, records, moments, dataset, x)}
    last = answers[CROSS][None]
    own = torch.from_numpy(np.array(records[run].log_probs("train", own_step)))
    strengths = {
        ZERO_OWN: relative_strength(class_confusion(own, told)),
        ZERO_TEACHER: relative_strength(class_confusion(last, told)),
    }
    cosines: dict[tuple[int | None, Signal], float] = {}
    layers: dict[tuple[str, Signal], float] = {}
    batches: dict[Signal, float] = {}
    for moment in moments:
        model = trained(run, records[run], dataset, moment)
        signals = _signals(logits(model, x), told, answers, strengths, temperatures)
        truths = _truths(model, new_x, new_y, temperatures)
        parameters, apply = _functional(model)
        gradients = parameter_gradients(apply, parameters, x, torch.stack(list(signals.values())))
        for signal, gradient in zip(signals, gradients, strict=True):
            truth = truths[signal[2]]
            cosines[moment, signal] = float(cosine(gradient, truth))
            if moment == moments[0]:
                true_parts = by_layer(truth[None], parameters)
                for name, part in by_layer(gradient[None], parameters).items():
                    layers[name, signal] = float(cosine(part[0], true_parts[name][0]))
        if moment == moments[0]:
            batches = _batch_readings(apply, parameters, x, signals, truths)
    right = torch.from_numpy(~dataset.train.mislabelled)
    start = logits(trained(run, records[run], dataset, moments[0]), x)
    flips = _flips(start[right], told[right], {m: a[right] for m, a in answers[KD].items()}, last[right], temperatures)
    similarity = class_confusion(last, torch.from_numpy(dataset.train.labels)).numpy()
    return GradientReading(cosines, layers, batches, flips, similarity)


def _fresh(run: Run, dataset: Dataset, most: int) -> tuple[Tensor, Tensor]:
    """Examples of the training split that are not in the student's sample, with their true labels."""
    whole = load(replace(run.recipe.data, train=None, noise=0.0), run.seed)
    rows = np.flatnonzero(~np.isin(whole.train.ids, dataset.train.ids))
    if len(rows) == 0:
        raise ValueError(
            f"expected a training sample smaller than the split ({len(whole.train):,}): the rest is the large sample; "
            "try --train 500"
        )
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64))]
    split: Split = whole.train.take(rows)
    return inputs_tensor(whole, split), torch.from_numpy(split.labels)


def _own_answers(paired: PairedRuns, records: Mapping, moments: Sequence[int | None]) -> dict[int | None, Tensor]:
    """The same-sample teacher's log-probabilities at every age: (N, C)."""
    return {m: torch.from_numpy(np.array(records[paired.teacher].log_probs("train", m))) for m in moments}


def _cross_answers(paired: PairedRuns, records: Mapping, moments: Sequence, dataset: Dataset, x: Tensor) -> dict:
    """What teachers that did not see an example say of it, at every age: (N, C)."""
    saw = torch.from_numpy(
        np.stack([np.isin(dataset.train.ids, records[fold].examples["train.ids"]) for fold in paired.folds])
    )
    return {
        m: cross_fitted(torch.stack([logits(trained(f, records[f], dataset, m), x) for f in paired.folds]), saw).float()
        for m in moments
    }


def _signals(
    z: Tensor, told: Tensor, answers: Mapping, strengths: Mapping[str, Tensor], temperatures: Sequence[float]
) -> dict[Signal, Tensor]:
    """Residuals (N, C) of every signal at the student's logits ``z``."""
    found: dict[Signal, Tensor] = {}
    target = F.one_hot(told, z.shape[1]).float()
    for t in temperatures:
        q = torch.softmax(z / t, 1)
        found[ONE_HOT, None, t] = t * (target - q)
        for name, strength in strengths.items():
            found[name, None, t] = -t * masked_gradient(q - target, told, strength)
        for name, by_age in answers.items():
            for age, answer in by_age.items():
                if age == 0:
                    continue  # an untrained teacher: noise
                found[name, age, t] = t * (torch.softmax(answer / t, 1) - q)
    return found


def _truths(model: nn.Module, x: Tensor, y: Tensor, temperatures: Sequence[float]) -> dict[float, Tensor]:
    """The large sample's gradient of the true labels at every temperature: (P,)."""
    z = logits(model, x)
    target = F.one_hot(y, z.shape[1]).float()
    residuals = torch.stack([t * (target - torch.softmax(z / t, 1)) for t in temperatures])
    parameters, apply = _functional(model)
    return dict(zip(temperatures, parameter_gradients(apply, parameters, x, residuals), strict=True))


def _functional(model: nn.Module):
    """The model as a function of its trained parameters, in evaluation mode."""
    parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    return parameters, lambda p, x: torch.func.functional_call(model, p, (x,))


def _batch_readings(apply, parameters: Mapping, x: Tensor, signals: Mapping[Signal, Tensor], truths: Mapping) -> dict:
    """Minibatch SNR of the labels and of the final teachers."""
    if len(x) < BATCH:
        return {}
    wanted = [s for s in signals if s[0] == ONE_HOT or (s[0] in (KD, CROSS) and s[1] is None)]
    return {s: batch_snr(example_gradients(apply, parameters, x, signals[s]), truths[s[2]], BATCH) for s in wanted}


def _flips(z: Tensor, told: Tensor, by_age: Mapping, honest: Tensor, temperatures: Sequence[float]) -> dict:
    """Share of examples whose KD residual is positive on the class most confused with theirs, and on the others."""
    confusion = class_confusion(honest, told)
    confusion.fill_diagonal_(-torch.inf)
    partner = confusion.argmax(1)[told]
    is_partner = F.one_hot(partner, z.shape[1]).bool()
    other = ~is_partner & ~F.one_hot(told, z.shape[1]).bool()
    found = {}
    for age, answer in by_age.items():
        for t in temperatures:
            positive = torch.softmax(answer / t, 1) > torch.softmax(z / t, 1)
            found[age, t] = (float(positive[is_partner].double().mean()), float(positive[other].double().mean()))
    return found
