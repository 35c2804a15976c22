"""The schedule at work: from a batch's logits to its loss and the loss's gradient on those logits.

Gradients are written out instead of traced: on digit-sized networks the autograd graph of a distillation loss costs
half a training step. Targets that never change (softened teachers) are computed once for the whole table.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

import torch
from torch import Tensor

from disobey.targets import teacher_free
from disobey.targets.controls import controlled
from disobey.targets.losses import (
    SoftTargets,
    kl_with_gradient,
    label_cross_entropy_with_gradient,
    label_loss,
    loss_at,
    soft_targets,
)
from disobey.targets.schedule import Schedule, Term
from disobey.training.teacher_table import Ask, Table

Mix = tuple[Tensor, Tensor]  # mixup: share of the example itself (), and who the other one is (B,)


class Objective:
    """``objective(step, logits, rows, views, inputs, mix)`` gives the mean loss () and its gradient (B, C).

    given: (N,) training labels. table: the teacher's answers by row, about the examples ``about`` (M,) (its rows, where
    not given); ``ask``: the teacher itself, where there is no table. steps: of the whole schedule, whose progress is
    step / steps. own: the student's logits (N, C) on its training examples at this moment, for terms that spare
    what it confuses: asked once, when such a term is first met. seed: of what controls of the teacher draw. pool: the
    teacher's answers (M, C) and labels (M,) beyond the student's examples, for the control that means over them.
    """

    def __init__(
        self,
        schedule: Schedule,
        steps: int,
        given: Tensor,
        table: Table | None = None,
        ask: Ask | None = None,
        *,
        about: Tensor | None = None,
        own: Callable[[], Tensor] | None = None,
        seed: int = 0,
        pool: tuple[Tensor, Tensor] | None = None,
    ):
        for term in (term for phase in schedule.phases for term in phase.terms):
            if term.source == "teacher" and term.control and (table is None or term.temperature_to is not None):
                raise ValueError(
                    f"control {term.control!r} reshapes a table of the teacher's answers once: expected a fixed temperature "
                    "and answers that repeat (no mixup)"
                )
        self.schedule, self.steps, self.given, self.table, self.ask = schedule, steps, given, table, ask
        self.about, self.own, self.seed, self.pool = about, own, seed, pool
        self._soft: dict[tuple, SoftTargets] = {}
        self._controlled: dict[tuple, tuple[Tensor, Tensor | None]] = {}
        self._strengths: dict[tuple, Tensor] = {}
        self._ends = [phase.until for phase in schedule.phases]
        self._held: dict[int, tuple[Term, ...]] = {}

    def __call__(
        self, step: int, logits: Tensor, rows: Tensor, views: Tensor | None, inputs: Tensor, mix: Mix | None = None
    ) -> tuple[Tensor, Tensor]:
        value: Tensor | None = None
        gradient: Tensor | None = None
        detached = logits.detach()
        for term in self.terms(step):
            scale = term.weight / len(rows)
            if term.source == "labels":
                v, g = self._from_labels(term, detached, self.given.index_select(0, rows), mix, scale)
            else:
                v, g = self._from_teacher(term, step, detached, rows, views, inputs, scale)
            v = v.sum() * scale
            value, gradient = (v, g) if value is None or gradient is None else (value + v, gradient + g)
        if value is None or gradient is None:  # every weight is zero: nothing is asked of the student
            return detached.new_zeros(()), torch.zeros_like(detached)
        return value, gradient

    def terms(self, step: int) -> tuple[Term, ...]:
        progress = step / self.steps
        if self.schedule.moves:
            return self.schedule.at(progress)
        ended = bisect_right(self._ends, progress)  # a schedule that does not move changes with its phases only
        if ended not in self._held:
            self._held[ended] = self.schedule.at(progress)
        return self._held[ended]

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
            gradient = teacher_free.spared_gradient(gradient, labels, self._strength(term, logits), term.amount)
        return value, gradient

    def _strength(self, term: Term, logits: Tensor) -> Tensor:
        """Which classes a label term spares, (C, C): measured when such a term is first met, then kept."""
        key = (term.control, term.groups)
        if key not in self._strengths:
            self._strengths[key] = self._measured(term, logits.shape[-1]).to(logits)
        return self._strengths[key]

    def _measured(self, term: Term, classes: int) -> Tensor:
        if term.control == "spare_groups":
            if len(term.groups) != classes:
                raise ValueError(f"expected the group of each of {classes} classes, came {len(term.groups)} groups")
            return teacher_free.group_strength(term.groups)
        if term.control == "spare_student" and self.own is not None:
            answers, told = self.own(), self.given
        elif term.control == "spare_teacher" and self.table is not None:
            answers, told = self.table.logits, self.given if self.about is None else self.given[self.about]
        else:
            raise ValueError(
                f"control {term.control!r} of a label term cannot be measured here: expected one of "
                f"{', '.join(teacher_free.CONTROLS)}, the last with a teacher whose answers repeat (no mixup)"
            )
        confusion = teacher_free.class_confusion(answers.double(), told)
        return teacher_free.relative_strength(confusion)

    def _from_teacher(
        self, term: Term, step: int, logits: Tensor, rows: Tensor, views: Tensor | None, inputs: Tensor, scale: float
    ) -> tuple[Tensor, Tensor]:
        """Values (B,) and ``scale`` times their gradient (B, C)."""
        if self.table is None:
            assert self.ask is not None
            with torch.inference_mode():
                target = self.ask(inputs, rows).clone()
            if term.loss == "kl":
                return kl_with_gradient(logits, soft_targets(target, term.temperature), scale=scale)
            return _traced(loss_at(term.loss, term.temperature), logits, target, scale)
        where = self.table.row(step, rows, views)
        answers, weights = self._answers(term)
        if term.loss == "kl":
            key = (term.control, term.amount, term.temperature)
            if key not in self._soft and self._steady(term):
                self._soft[key] = soft_targets(answers, term.temperature)
            soft = self._soft[key][where] if key in self._soft else soft_targets(answers[where], term.temperature)
            value, gradient = kl_with_gradient(logits, soft, scale=scale)
        else:
            value, gradient = _traced(loss_at(term.loss, term.temperature), logits, answers[where], scale)
        if weights is None:
            return value, gradient
        return value * weights[where], gradient * weights[where].unsqueeze(-1)

    def _answers(self, term: Term) -> tuple[Tensor, Tensor | None]:
        """The teacher's table (M, C), reshaped by the term's control once, and weights (M,) where the control has some.

        A control is drawn for the whole table, so an example (in its view) gets the same target at every step.
        """
        assert self.table is not None
        if not term.control:
            return self.table.logits, None
        key = (term.control, term.amount, term.temperature)
        if key not in self._controlled:
            told = self.given if self.about is None else self.given[self.about]
            generator = torch.Generator().manual_seed(self.seed)
            answers, weights = controlled(
                term.control,
                self.table.logits.cpu(),  # drawn on the CPU, so that every device draws the same
                told.cpu(),
                generator,
                temperature=term.temperature,
                amount=term.amount,
                pool=self.pool,
            )
            device = self.given.device
            self._controlled[key] = answers.to(device), None if weights is None else weights.to(device)
        return self._controlled[key]

    def _steady(self, term: Term) -> bool:
        """Whether this temperature comes back at every step, so that softening the whole table pays."""
        return any(
            t.temperature == term.temperature and t.temperature_to is None
            for phase in self.schedule.phases
            for t in phase.terms
        )


def _on_labels(term: Term, logits: Tensor, labels: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    if term.loss == "cross_entropy":
        return label_cross_entropy_with_gradient(
            logits, labels, smoothing=term.smoothing, temperature=term.temperature, scale=scale
        )
    return _traced(label_loss(term.loss, term.temperature, term.smoothing), logits, labels, scale)


def _traced(loss, logits: Tensor, target: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Value (B,) and ``scale`` times the gradient (B, C), by autograd on the logits alone."""
    leaf = logits.detach().requires_grad_(True)
    with torch.enable_grad():
        value = loss(leaf, target)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient * scale
