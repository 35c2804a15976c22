"""`KDLoss`: a schedule as a loss for anybody's training loop, out of a batch's logits, with an ordinary gradient.

Shapes: logits (..., C) for C classes, labels (...); natural log. Nothing here knows steps, tables or data sets: what a
loop of its own can do with a schedule is done here, and the rest is refused with what to do instead.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor, nn

from disobey.errors import refusal
from disobey.targets.controls import controlled
from disobey.targets.losses import label_loss, loss_at
from disobey.targets.schedule import Schedule, Term, distill

IGNORED = -100
"""The label of positions that count nowhere (padding, prompts), as in torch and Transformers."""
BY_ROW = frozenset(
    {"argmax", "confidence_only", "labels", "smoothed", "smoothed_to_each_entropy", "teacher", "top_k"}
    | {"virtual_teacher"}
)
"""Controls whose target for an example depends on that example alone, so that a batch is enough."""

Reduction = Literal["mean", "none"]


class KDLoss(nn.Module):
    """A schedule as a module: ``loss(student_logits, labels, teacher_logits, progress=)``.

    Args:
        schedule: the objective; Hinton's mixture at temperature 4 with weight 0.9 on the teacher by default.
        reduction: ``mean`` over the positions that count, or ``none`` for one value a position.

    Reference:
        Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015, section 2.

    Example:
        >>> from disobey import distill, labels, switch
        >>> loss = KDLoss(switch(labels(), distill(4.0), at=0.5))
        >>> student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
        >>> loss(student, torch.tensor([0]), progress=0.1)  # labels: no teacher is asked
        tensor(0.3133)
        >>> loss(student, torch.tensor([0]), teacher, progress=0.9)
        tensor(1.0993)
    """

    def __init__(self, schedule: Schedule | None = None, *, reduction: Reduction = "mean"):
        super().__init__()
        self.schedule = distill(4.0, weight=0.9) if schedule is None else schedule
        self.reduction: Reduction = reduction

    def forward(
        self,
        student_logits: Tensor,
        labels: Tensor,
        teacher_logits: Tensor | None = None,
        *,
        progress: float | None = None,
    ) -> Tensor:
        """The loss of a batch; see `scheduled_loss`."""
        return scheduled_loss(
            self.schedule, student_logits, labels, teacher_logits, progress=progress, reduction=self.reduction
        )

    def extra_repr(self) -> str:
        """The terms, for printing."""
        terms = ", ".join(f"{t.weight:g} {t.loss} to {t.source} (T={t.temperature:g})" for t in self.schedule.terms)
        return f"{terms}; reduction={self.reduction}"


def scheduled_loss(
    schedule: Schedule,
    student_logits: Tensor,
    labels: Tensor,
    teacher_logits: Tensor | None = None,
    *,
    progress: float | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """The loss that a schedule asks for at a given progress; `Schedule.loss` is the same.

    A position whose label is −100 counts in no term, the teacher's included, and not in the mean. No gradient flows
    into the teacher.

    Args:
        schedule: the objective.
        student_logits: (..., C).
        labels: (...), class indices; −100 where a position does not count.
        teacher_logits: logits or log-probabilities (..., C); not needed while the schedule asks for labels only.
        progress: share of training that is done, in [0, 1]; may be left out where the schedule never changes.
        reduction: ``mean`` or ``none``.

    Returns:
        (), or (...) with 0 where a position does not count, in nats.

    Raises:
        Refusal: ``progress-missing``, ``progress-range``, ``teacher-missing``, ``logit-shapes``,
            ``control-needs-table``, ``mask-needs-recipe`` or ``unknown-reduction``.

    Example:
        >>> logits = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
        >>> scheduled_loss(distill(1.0), logits, torch.tensor([0, -100]), torch.tensor([[0.8, 0.2], [1, 0]]).log())
        tensor(0.1927)
    """
    if reduction not in ("mean", "none"):
        raise refusal("unknown-reduction", "mean or none", repr(reduction), where="reduction")
    shape = tuple(student_logits.shape)
    if student_logits.ndim < 1 or tuple(labels.shape) != shape[:-1]:
        raise refusal("logit-shapes", "labels (...) for logits (..., C)", f"{tuple(labels.shape)} for {shape}")
    terms = schedule.at(_progress(schedule, progress))
    rows = student_logits.flatten(0, -2) if student_logits.ndim > 1 else student_logits.unsqueeze(0)
    observed = labels.reshape(-1)
    counts = observed != IGNORED
    known = observed.clamp_min(0)  # any class: what does not count is multiplied away below
    total = torch.zeros(len(rows), dtype=torch.promote_types(rows.dtype, torch.float32), device=rows.device)
    for term in terms:
        if term.source == "labels":
            total = total + term.weight * _from_labels(term, rows, known)
        else:
            total = total + term.weight * _from_teacher(term, rows, known, _teacher(teacher_logits, shape))
    total = torch.where(counts, total, 0.0)
    if reduction == "none":
        return total.view(labels.shape)
    return total.sum() / counts.sum().clamp_min(1)


def _progress(schedule: Schedule, progress: float | None) -> float:
    if progress is None:
        if schedule.time_varying or len(schedule.phases) > 1:
            expected = "progress, the share of training that is done: this schedule changes over training"
            raise refusal("progress-missing", expected, "none", "progress=step / steps", where="progress")
        return 0.0
    if not 0 <= progress <= 1:
        raise refusal("progress-range", "a share of training in [0, 1]", progress, "step / steps", where="progress")
    return progress


def _teacher(logits: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """The teacher's logits (N, C) as a constant."""
    if logits is None:
        raise refusal("teacher-missing", "the teacher's logits, which this schedule asks for now", "none")
    if tuple(logits.shape) != shape:
        got = f"{tuple(logits.shape)} beside {shape}"
        raise refusal("logit-shapes", "a teacher's logits of the student's shape", got, where="teacher_logits")
    return logits.detach().reshape(-1, shape[-1])


def _from_labels(term: Term, rows: Tensor, labels: Tensor) -> Tensor:
    if term.control:
        expected = "label terms without a mask, which is measured on all training examples"
        raise refusal("mask-needs-recipe", expected, repr(term.control), "a Recipe with this schedule")
    return label_loss(term.loss, term.temperature, term.smoothing)(rows, labels)


def _from_teacher(term: Term, rows: Tensor, labels: Tensor, teacher: Tensor) -> Tensor:
    targets = teacher
    if term.control:
        if term.control not in BY_ROW and not (term.control == "margin" and term.amount):
            raise refusal(
                "control-needs-table",
                f"a control that needs one example only ({', '.join(sorted(BY_ROW))})",
                repr(term.control),
                "disobey.controlled(name, cache.all(), labels, generator, temperature=) once, before training, and its "
                "rows as the teacher's logits of a schedule without a control",
            )
        draws = Generator()  # such controls draw nothing
        targets, _ = controlled(term.control, teacher, labels, draws, temperature=term.temperature, amount=term.amount)
    return loss_at(term.loss, term.temperature)(rows, targets)
