"""The training objective as a value: which targets, which loss, which weight, and when.

Progress runs from 0 (first step) to 1 (after the last step). It counts steps, not epochs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from disobey.errors import refusal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Term:
    """One summand of the objective: ``weight * loss(student logits, target)``.

    Attributes:
        source: where the target comes from, ``labels`` or ``teacher``.
        loss: a key of `disobey.targets.losses.LOSSES`.
        weight: factor of the loss.
        temperature: T of the loss.
        smoothing: label smoothing, for ``labels``.
        control: for ``teacher``, a key of `disobey.targets.controls.CONTROLS` that changes the teacher's predictions
            before the loss sees them; for ``labels``, one of `disobey.targets.teacher_free.MASKS`, which shrinks the
            gradient on confusable classes.
        amount: strength of the control.
        weight_to: if given, the weight moves linearly from ``weight`` to this value over the phase.
        temperature_to: the same for the temperature.
        groups: the group of every class, if the confusable classes come from a hierarchy.
    """

    source: str = "labels"
    loss: str = "cross_entropy"
    weight: float = 1.0
    temperature: float = 1.0
    smoothing: float = 0.0
    control: str = ""
    amount: float = 0.0
    weight_to: float | None = None
    temperature_to: float | None = None
    groups: tuple[int, ...] = ()

    def at(self, share: float) -> Term:
        """The term after this share of its phase, as a term that no longer varies."""

        def between(start: float, end: float | None) -> float:
            return start if end is None else start + share * (end - start)

        return replace(
            self,
            weight=between(self.weight, self.weight_to),
            temperature=between(self.temperature, self.temperature_to),
            weight_to=None,
            temperature_to=None,
        )


@dataclass(frozen=True)
class Phase:
    """Terms that hold until a given share of training and then give way to the next phase.

    Attributes:
        terms: the summands of the objective.
        until: share of training at which the phase ends, in [0, 1].
        over: width of the window in which it fades into the next phase, as a share of training; 0 switches at once.
    """

    terms: tuple[Term, ...]
    until: float = 1.0
    over: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """The objective of a training run: one or more phases, the last of which ends at 1.

    Raises:
        Refusal: ``phase-order`` or ``fade-window``.
    """

    phases: tuple[Phase, ...] = (Phase((Term(),)),)

    def __post_init__(self) -> None:
        ends = [phase.until for phase in self.phases]
        if not ends or ends[-1] != 1.0 or sorted(ends) != ends or ends[0] < 0:
            raise refusal("phase-order", "phases that end in rising order, the last at 1.0", f"ends {ends}")
        for phase in self.phases:
            if not 0 <= phase.over <= 1:
                raise refusal("fade-window", "a window in [0, 1]", f"over={phase.over}")

    def at(self, progress: float) -> tuple[Term, ...]:
        """The terms that hold at a given progress, with the weights of fading phases applied.

        A window of width ``over`` is centred on the end of its phase and cut at 0 and 1. Inside the window both phases
        hold, with weights that add up to one.

        Args:
            progress: share of training that is done, in [0, 1).

        Returns:
            Terms whose weight and temperature no longer vary.

        Example:
            >>> [(t.source, round(t.weight, 2)) for t in switch(distill(4.0), labels(), at=0.5, over=0.2).at(0.45)]
            [('teacher', 0.75), ('labels', 0.25)]
        """
        starts = (0.0, *(phase.until for phase in self.phases))
        passed = [1.0, *(_passed(phase, progress) for phase in self.phases[:-1]), 0.0]
        return tuple(
            replace(term, weight=share * term.weight)
            for index, phase in enumerate(self.phases)
            if (share := passed[index] - passed[index + 1]) > 0  # the shares add up to one
            for term in _terms_at(phase, starts[index], progress)
            if term.weight != 0
        )

    def loss(
        self,
        student_logits: Tensor,
        labels: Tensor,
        teacher_logits: Tensor | None = None,
        *,
        progress: float | None = None,
        reduction: Literal["mean", "none"] = "mean",
    ) -> Tensor:
        """The loss of a batch in any training loop: `kd_loss.scheduled_loss`, which needs PyTorch.

        Args:
            student_logits: (..., C).
            labels: (...), class indices; −100 where a position does not count.
            teacher_logits: logits or log-probabilities (..., C); not needed while only labels are asked for.
            progress: share of training that is done, in [0, 1]; may be left out where nothing changes over training.
            reduction: ``mean`` over the positions that count, or ``none``.

        Returns:
            () or (...), in nats.

        Example:
            >>> import torch
            >>> distill(4.0).loss(torch.tensor([[4.0, 0.0]]), torch.tensor([0]), torch.tensor([[0.0, 0.0]]))
            tensor(1.9218)
        """
        from disobey.targets.kd_loss import scheduled_loss

        return scheduled_loss(self, student_logits, labels, teacher_logits, progress=progress, reduction=reduction)

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms of all phases, in order."""
        return tuple(term for phase in self.phases for term in phase.terms)

    @property
    def uses_teacher(self) -> bool:
        """Whether any term needs the teacher's predictions."""
        return any(term.source == "teacher" or term.control == "spare_teacher" for term in self.terms)

    @property
    def time_varying(self) -> bool:
        """Whether any weight or temperature changes within a phase or in a window between phases."""
        fades = any(phase.over > 0 for phase in self.phases)
        return fades or any(t.weight_to is not None or t.temperature_to is not None for t in self.terms)

    @property
    def listens(self) -> bool:
        """Old name of `uses_teacher`, kept for one release."""
        return self.uses_teacher

    @property
    def moves(self) -> bool:
        """Old name of `time_varying`, kept for one release."""
        return self.time_varying


def _passed(phase: Phase, progress: float) -> float:
    """How much of the transition at the end of a phase is done: 0 before it, 1 after it."""
    if phase.over == 0:
        return float(progress >= phase.until)
    return min(max((progress - phase.until) / phase.over + 0.5, 0.0), 1.0)


def _terms_at(phase: Phase, start: float, progress: float) -> tuple[Term, ...]:
    """The terms of a phase that began at ``start``, with linear changes of weight and temperature applied."""
    length = phase.until - start
    share = min(max((progress - start) / length, 0.0), 1.0) if length > 0 else 1.0
    return tuple(term.at(share) for term in phase.terms)


def labels(smoothing: float = 0.0) -> Schedule:
    """Cross-entropy on the labels.

    Args:
        smoothing: label smoothing towards uniform over all classes, in [0, 1].

    Returns:
        A schedule of one phase.
    """
    return Schedule((Phase((Term(smoothing=smoothing),)),))


def smooth(smoothing: float) -> Schedule:
    """Label smoothing: weight ``1 - smoothing`` on the label, the rest uniform over all classes.

    Args:
        smoothing: in [0, 1].

    Returns:
        A schedule of one phase.
    """
    return labels(smoothing)


def distill(
    temperature: float = 1.0,
    *,
    weight: float = 1.0,
    loss: str = "kl",
    temperature_to: float | None = None,
    control: str = "",
    amount: float = 0.0,
) -> Schedule:
    """Knowledge distillation: ``weight`` times the teacher's loss and ``1 - weight`` times cross-entropy on the labels.

    Args:
        temperature: T of the teacher's loss.
        weight: share of the teacher's loss.
        loss: a key of `disobey.targets.losses.LOSSES`.
        temperature_to: if given, the temperature moves linearly to this value over training.
        control: a key of `disobey.targets.controls.CONTROLS` that changes the teacher's predictions first.
        amount: strength of the control.

    Returns:
        A schedule of one phase.

    Reference:
        Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015.

    Example:
            >>> [(t.source, t.weight) for t in distill(4.0, weight=0.9).at(0.0)]
            [('teacher', 0.9), ('labels', 0.09999999999999998)]
    """
    teacher = Term("teacher", loss, weight, temperature, control=control, amount=amount, temperature_to=temperature_to)
    rest = (Term(weight=1.0 - weight),) if weight != 1.0 else ()
    return Schedule((Phase((teacher, *rest)),))


def match(loss: str = "mse", *, weight: float = 1.0) -> Schedule:
    """Regression on the teacher's logits.

    Args:
        loss: ``mse`` (raw logits) or ``mse_centred`` (row means removed).
        weight: share of the regression; the rest is cross-entropy on the labels.

    Returns:
        A schedule of one phase.
    """
    return distill(1.0, weight=weight, loss=loss)


def switch(first: Schedule, then: Schedule, *, at: float, over: float = 0.0) -> Schedule:
    """One objective until a given share of training, another one afterwards.

    ``at=0`` equals ``then`` and ``at=1`` equals ``first``, so such runs are shared with runs without a switch.

    Args:
        first: the objective at the beginning, a schedule of one phase.
        then: the objective at the end, a schedule of one phase.
        at: share of training at which to switch, in [0, 1].
        over: width of the window around ``at`` in which one fades into the other, as a share of training.

    Returns:
        A schedule of two phases.

    Raises:
        Refusal: ``switch-point`` or ``several-phases``.

    Example:
        >>> switch(labels(), distill(4.0), at=0.0) == distill(4.0)
        True
    """
    if not 0 <= at <= 1:
        raise refusal("switch-point", "the share of training at which to switch, in [0, 1]", f"at={at}")
    if at == 0:
        return then
    if at == 1:
        return first
    if len(first.phases) != 1 or len(then.phases) != 1:
        got = f"{len(first.phases)} and {len(then.phases)} phases"
        raise refusal("several-phases", "schedules of one phase each", got, "Schedule((Phase(...), Phase(...), ...))")
    return Schedule((Phase(first.phases[0].terms, at, over), Phase(then.phases[0].terms)))
