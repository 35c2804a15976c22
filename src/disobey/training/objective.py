"""The schedule at work: from a batch's logits to its loss and the loss's gradient on those logits.

Gradients are written out instead of traced: on digit-sized networks the autograd graph of a distillation loss costs
half a training step. Targets that never change (softened teachers) are computed once for the whole table.
Shapes: N training examples, B batch, C classes, M rows of a teacher's table.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from disobey.errors import refusal
from disobey.targets import teacher_free
from disobey.targets.calibrated import FITTED
from disobey.targets.controls import controlled
from disobey.targets.gradients import (
    SoftTargets,
    kl_with_gradient,
    label_cross_entropy_with_gradient,
    soft_targets,
)
from disobey.targets.losses import label_loss, loss_at
from disobey.targets.schedule import Schedule, Term
from disobey.training.batches import Batch, Mix
from disobey.training.teacher_table import Table, TeacherFn


class ScheduleTerms:
    """The terms of a schedule by step, whose progress is ``step / steps``."""

    def __init__(self, schedule: Schedule, steps: int):
        self.schedule, self.steps = schedule, steps
        self._varies = schedule.time_varying
        self._ends = [phase.until for phase in schedule.phases]
        self._known: dict[int, tuple[Term, ...]] = {}

    def __call__(self, step: int) -> tuple[Term, ...]:
        """The terms that hold at a step."""
        progress = step / self.steps
        if self._varies:
            return self.schedule.at(progress)
        ended = bisect_right(self._ends, progress)  # without variation inside phases, only their ends change anything
        if ended not in self._known:
            self._known[ended] = self.schedule.at(progress)
        return self._known[ended]


class Objective:
    """``objective(step, logits, batch)`` gives the mean loss () and its gradient on the logits (B, C).

    Args:
        schedule: the terms.
        steps: of the whole schedule.
        labels: observed training labels (N,).
        table: the teacher's logits by row.
        teacher: the teacher itself, where there is no table.
        about: which training example each row of the table is about (M,); row i is about example i where not given.
        own: gives the student's logits on its training examples (N, C), for terms that mask what it confuses; called
            once, when such a term is first met.
        seed: of what controls of the teacher draw.
        pool: the teacher's log-probabilities (M, C) and labels (M,) beyond the student's examples, for the control
            that averages over them.
        fitted: the teacher's temperature as fitted on validation examples, for the control that divides by it.
        marked: rows of the table (M,) bool that some controls change, or spare.
        eligible: rows (M,) bool among which those that spare them choose others; all where not given.

    Raises:
        Refusal: ``control-without-table``, for a control of the teacher that cannot be applied once for all steps.
    """

    def __init__(
        self,
        schedule: Schedule,
        steps: int,
        labels: Tensor,
        table: Table | None = None,
        teacher: TeacherFn | None = None,
        *,
        about: Tensor | None = None,
        own: Callable[[], Tensor] | None = None,
        seed: int = 0,
        pool: tuple[Tensor, Tensor] | None = None,
        fitted: float = 0.0,
        marked: Tensor | None = None,
        eligible: Tensor | None = None,
    ):
        for term in schedule.terms:
            if term.source == "teacher" and term.control and (table is None or term.temperature_to is not None):
                raise refusal(
                    "control-without-table",
                    f"a fixed temperature and answers that repeat for control {term.control!r}, applied once to all",
                    "answers that never repeat" if table is None else f"temperature_to={term.temperature_to}",
                    "augment other than 'mixup'" if table is None else "a fixed temperature",
                )
        self.schedule, self.steps, self.labels, self.table, self.teacher = schedule, steps, labels, table, teacher
        self.about, self.own, self.seed, self.pool = about, own, seed, pool
        self.fitted, self.marked, self.eligible = fitted, marked, eligible
        self.terms = ScheduleTerms(schedule, steps)
        self._soft: dict[tuple, SoftTargets] = {}
        self._targets: dict[tuple, tuple[Tensor, Tensor | None]] = {}
        self._strengths: dict[tuple, Tensor] = {}

    def __call__(self, step: int, logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The mean loss () of a batch's logits (B, C), and its gradient (B, C)."""
        value: Tensor | None = None
        gradient: Tensor | None = None
        detached = logits.detach()
        for term in self.terms(step):
            scale = term.weight / len(batch.rows)
            if term.source == "labels":
                v, g = self._from_labels(term, detached, self.labels.index_select(0, batch.rows), batch.mix, scale)
            else:
                v, g = self._from_teacher(term, step, detached, batch, scale)
            v = v.sum() * scale
            value, gradient = (v, g) if value is None or gradient is None else (value + v, gradient + g)
        if value is None or gradient is None:  # every weight is zero: nothing is asked of the student
            return detached.new_zeros(()), torch.zeros_like(detached)
        return value, gradient

    def state(self) -> dict[str, Any]:
        """For a checkpoint within the run: what was measured when a term was first met."""
        return {"strengths": [[*key, value] for key, value in self._strengths.items()]}

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint within the run."""
        self._strengths = {(control, tuple(groups)): value for control, groups, value in state["strengths"]}

    def backward(self, step: int, model: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
        """Forward and backward pass of a batch, for `loop.fit`; the loss, ()."""
        logits = model(batch.inputs)
        loss, gradient = self(step, logits, batch)
        logits.backward(gradient)
        return loss

    def targets_of(self, term: Term) -> tuple[Tensor, Tensor | None]:
        """What a teacher term asks for, by row of the table.

        The term's control is applied to the whole table once, so an example (in its view) has the same target at every
        step.

        Returns:
            Logits (M, C), and weights (M,) where the control has some.
        """
        assert self.table is not None
        if not term.control:
            return self.table.logits, None
        key = (term.control, term.amount, term.temperature)
        if key not in self._targets:
            observed = self.labels if self.about is None else self.labels[self.about]
            generator = torch.Generator().manual_seed(self.seed)
            logits, weights = controlled(
                term.control,
                self.table.logits.cpu(),  # drawn on the CPU, so that every device draws the same
                observed.cpu(),
                generator,
                temperature=term.temperature,
                amount=self.fitted if term.control == FITTED and not term.amount else term.amount,
                pool=self.pool,
                marked=self.marked,
                eligible=self.eligible,
            )
            device = self.labels.device
            self._targets[key] = logits.to(device), None if weights is None else weights.to(device)
        return self._targets[key]

    def _from_labels(
        self, term: Term, logits: Tensor, labels: Tensor, mix: Mix | None, scale: float
    ) -> tuple[Tensor, Tensor]:
        """Values (B,) and ``scale`` times their gradient (B, C)."""
        value, gradient = self._one_label(term, logits, labels, scale)
        if mix is None:
            return value, gradient
        share, other = mix
        value_2, gradient_2 = self._one_label(term, logits, labels[other], scale)
        return share * value + (1 - share) * value_2, share * gradient + (1 - share) * gradient_2

    def _one_label(self, term: Term, logits: Tensor, labels: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        value, gradient = _on_labels(term, logits, labels, scale)
        if term.control:
            gradient = teacher_free.masked_gradient(gradient, labels, self._strength(term, logits), term.amount)
        return value, gradient

    def _strength(self, term: Term, logits: Tensor) -> Tensor:
        """How strongly a label term masks each class, (C, C): measured when such a term is first met, then kept."""
        key = (term.control, term.groups)
        if key not in self._strengths:
            self._strengths[key] = self._measured(term, logits.shape[-1]).to(logits)
        return self._strengths[key]

    def _measured(self, term: Term, classes: int) -> Tensor:
        if term.control == "spare_groups":
            if len(term.groups) != classes:
                raise refusal(
                    "group-of-each-class", f"the group of each of {classes} classes", f"{len(term.groups)} groups"
                )
            return teacher_free.group_strength(term.groups)
        if term.control == "spare_student" and self.own is not None:
            predicted, observed = self.own(), self.labels
        elif term.control == "spare_teacher" and self.table is not None:
            predicted, observed = self.table.logits, self.labels if self.about is None else self.labels[self.about]
        else:
            raise refusal(
                "mask-not-measurable",
                f"a mask of label gradients out of {', '.join(teacher_free.MASKS)}, "
                "the last with a teacher whose answers repeat (no mixup)",
                repr(term.control),
            )
        confusion = teacher_free.class_confusion(predicted.double(), observed)
        return teacher_free.relative_strength(confusion)

    def _from_teacher(self, term: Term, step: int, logits: Tensor, batch: Batch, scale: float) -> tuple[Tensor, Tensor]:
        """Values (B,) and ``scale`` times their gradient (B, C)."""
        if self.table is None:
            assert self.teacher is not None
            with torch.inference_mode():
                target = self.teacher(batch.inputs, batch.rows).clone()
            if term.loss == "kl":
                return kl_with_gradient(logits, soft_targets(target, term.temperature), scale=scale)
            return _traced(loss_at(term.loss, term.temperature), logits, target, scale)
        where = self.table.row(step, batch)
        targets, weights = self.targets_of(term)
        if term.loss == "kl":
            key = (term.control, term.amount, term.temperature)
            if key not in self._soft and self._recurs(term):
                self._soft[key] = soft_targets(targets, term.temperature)
            soft = self._soft[key][where] if key in self._soft else soft_targets(targets[where], term.temperature)
            value, gradient = kl_with_gradient(logits, soft, scale=scale)
        else:
            value, gradient = _traced(loss_at(term.loss, term.temperature), logits, targets[where], scale)
        if weights is None:
            return value, gradient
        return value * weights[where], gradient * weights[where].unsqueeze(-1)

    def _recurs(self, term: Term) -> bool:
        """Whether this temperature comes back at every step, so that softening the whole table pays."""
        return any(t.temperature == term.temperature and t.temperature_to is None for t in self.schedule.terms)


def _on_labels(term: Term, logits: Tensor, labels: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    if term.loss == "cross_entropy":
        return label_cross_entropy_with_gradient(
            logits, labels, smoothing=term.smoothing, temperature=term.temperature, scale=scale
        )
    return _traced(label_loss(term.loss, term.temperature, term.smoothing), logits, labels, scale)


def _traced(
    loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Value (B,) and ``scale`` times the gradient (B, C), by autograd on the logits alone."""
    leaf = logits.detach().requires_grad_(True)
    with torch.enable_grad():
        value = loss(leaf, target)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient * scale
