"""The objective as a value: which targets, by which loss, how strongly, when.

Progress runs from 0 (first step) to 1 (after the last); steps, not epochs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Term:
    """One summand of the objective: ``weight * loss(student logits, target of source)``.

    source: ``labels`` or ``teacher``. loss: a key of `targets.losses.LOSSES`. smoothing: label smoothing of the
    labels. control: a key of `targets.controls.CONTROLS` that reshapes the teacher's answer first, with ``amount``; for
    ``labels`` one of `targets.teacher_free.CONTROLS`, which spares confusable classes by ``amount``, with ``groups`` (the
    group of every class) where they come from a hierarchy.
    ``weight_to`` and ``temperature_to``: where given, the value moves there linearly over the phase.
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
        """This term after ``share`` of its phase, with nothing left to move."""

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
    """Terms that hold until a share of training, then fade into the next phase over ``over`` of it (0: abruptly)."""

    terms: tuple[Term, ...]
    until: float = 1.0
    over: float = 0.0


@dataclass(frozen=True)
class Schedule:
    phases: tuple[Phase, ...] = (Phase((Term(),)),)

    def __post_init__(self):
        ends = [phase.until for phase in self.phases]
        if not ends or ends[-1] != 1.0 or sorted(ends) != ends or ends[0] < 0:
            raise ValueError(f"expected phases that end in rising order, the last at 1.0; came ends {ends}")
        for phase in self.phases:
            if not 0 <= phase.over <= 1:
                raise ValueError(f"expected a window in [0, 1], came over={phase.over}")

    def at(self, progress: float) -> tuple[Term, ...]:
        """The terms that hold at ``progress`` in [0, 1), weights applied; a pure function.

        A window of width ``over`` is centred on the end of its phase (cut at 0 and 1); inside it both phases hold,
        with weights that add up to one.

        >>> [(t.source, round(t.weight, 2)) for t in switch(distill(4.0), labels(), at=0.5, over=0.2).at(0.45)]
        [('teacher', 0.75), ('labels', 0.25)]
        """
        starts = (0.0, *(phase.until for phase in self.phases))
        passed = [1.0, *(_passed(phase, progress) for phase in self.phases[:-1]), 0.0]
        return tuple(
            replace(term, weight=share * term.weight)
            for index, phase in enumerate(self.phases)
            if (share := passed[index] - passed[index + 1]) > 0  # the shares add up to one
            for term in _moved(phase, starts[index], progress)
            if term.weight != 0
        )

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms of all phases, in order."""
        return tuple(term for phase in self.phases for term in phase.terms)

    @property
    def listens(self) -> bool:
        """Whether any term asks the teacher, for its answers or for its confusion."""
        return any(term.source == "teacher" or term.control == "spare_teacher" for term in self.terms)

    @property
    def moves(self) -> bool:
        """Whether any weight or temperature changes within a phase or a window."""
        fades = any(phase.over > 0 for phase in self.phases)
        return fades or any(t.weight_to is not None or t.temperature_to is not None for t in self.terms)


def _passed(phase: Phase, progress: float) -> float:
    """How much of the hand-over at the end of ``phase`` has happened: 0 before, 1 after."""
    if phase.over == 0:
        return float(progress >= phase.until)
    return min(max((progress - phase.until) / phase.over + 0.5, 0.0), 1.0)


def _moved(phase: Phase, start: float, progress: float) -> tuple[Term, ...]:
    length = phase.until - start
    share = min(max((progress - start) / length, 0.0), 1.0) if length > 0 else 1.0
    return tuple(term.at(share) for term in phase.terms)


def labels(smoothing: float = 0.0) -> Schedule:
    """Cross-entropy on the labels, smoothed by ``smoothing`` towards uniform over all classes."""
    return Schedule((Phase((Term(smoothing=smoothing),)),))


def smooth(smoothing: float) -> Schedule:
    """Label smoothing: weight 1 - smoothing on the label, the rest uniform over all classes."""
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
    """``weight`` of distillation and ``1 - weight`` of cross-entropy on the labels (Hinton et al. 2015).

    >>> [(t.source, t.weight) for t in distill(4.0, weight=0.9).at(0.0)]
    [('teacher', 0.9), ('labels', 0.09999999999999998)]
    """
    teacher = Term("teacher", loss, weight, temperature, control=control, amount=amount, temperature_to=temperature_to)
    rest = (Term(weight=1.0 - weight),) if weight != 1.0 else ()
    return Schedule((Phase((teacher, *rest)),))


def match(loss: str = "mse", *, weight: float = 1.0) -> Schedule:
    """Regression on the teacher's logits: ``mse`` (raw) or ``mse_centred`` (row means removed)."""
    return distill(1.0, weight=weight, loss=loss)


def switch(first: Schedule, then: Schedule, *, at: float, over: float = 0.0) -> Schedule:
    """``first`` until ``at`` of training, ``then`` afterwards; fading over a window of width ``over`` around it.

    ``at=0`` is ``then`` alone and ``at=1`` is ``first`` alone, as equal values: they are the same run.

    >>> switch(labels(), distill(4.0), at=0.0) == distill(4.0)
    True
    """
    if not 0 <= at <= 1:
        raise ValueError(f"expected the share of training at which to switch in [0, 1], came at={at}")
    if at == 0:
        return then
    if at == 1:
        return first
    if len(first.phases) != 1 or len(then.phases) != 1:
        raise ValueError(
            "expected schedules of one phase each; build longer ones from phases: Schedule((Phase(...), ...))"
        )
    return Schedule((Phase(first.phases[0].terms, at, over), Phase(then.phases[0].terms)))
