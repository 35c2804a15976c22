"""The rule of every claim: which word it says at which number, and that no rule can change unnoticed.

An axis is written as words and the numbers between them, from low to high: what a narrow interval there is worth.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

import pytest

from disobey.records.results import Estimate
from disobey.studies import (
    STUDIES,
    sequence_distillation,
    sequence_tasks,
    state_distillation,
)
from disobey.studies.data_size import claims as data_size
from disobey.studies.denoising import claims as denoising
from disobey.studies.denoising import theory as simulated
from disobey.studies.deviation import claims as deviation
from disobey.studies.eigenspace import claims as eigenspace
from disobey.studies.eigenspace import theory as exact
from disobey.studies.forced_deviation import claims as forced_deviation
from disobey.studies.kit.declared import claim_specs
from disobey.studies.kit.verdicts import AllOf, BeyondControl, Effect, Equivalence, OneSide, decide
from disobey.studies.loss_switching import claims as loss_switching
from disobey.studies.state_tracking import claims as state_tracking
from disobey.studies.teacher_free import claims as teacher_free
from disobey.studies.top_k import claims as top_k

CONTRADICTED, NEGLIGIBLE, SUPPORTED, UNDECIDED = "contradicted", "negligible", "supported", "undecided"


def rises(margin):
    return (CONTRADICTED, -margin, NEGLIGIBLE, margin, SUPPORTED)


def can_rise(margin):
    return (UNDECIDED, -margin, NEGLIGIBLE, margin, SUPPORTED)


def falls(margin):
    return (SUPPORTED, -margin, NEGLIGIBLE, margin, CONTRADICTED)


def above(border):
    return (CONTRADICTED, border, SUPPORTED)


def below(border):
    return (SUPPORTED, border, CONTRADICTED)


def between(supported_to, contradicted_from):
    return (SUPPORTED, supported_to, UNDECIDED, contradicted_from, CONTRADICTED)


def within(low, high):
    return (CONTRADICTED, low, SUPPORTED, high, CONTRADICTED)


POINTS = rises(0.005)  # half a point of accuracy
SEQUENCES = rises(0.02)
STEEPER = (CONTRADICTED, 0.95, NEGLIGIBLE, 1.05, SUPPORTED)
SAME_SIGN = "one side, half a point"
QUESTIONS = sequence_distillation.SequenceDistillation()

# (claim, the axes of its parts in the order of its rule; of two lines the literal one first)
RULES = [
    *((spec, (falls(0.05), falls(0.05))) for spec in deviation.CLAIMS[:2]),
    *((spec, (STEEPER, rises(0.05))) for spec in deviation.CLAIMS[2:4]),
    (deviation.CLAIMS[4], (POINTS,)),
    (deviation.ASSOCIATION, (above(0),)),
    *zip(
        (*loss_switching.CLAIMS, loss_switching.AGE, loss_switching.NOISE),
        ((POINTS,), (above(0.5),), (can_rise(0.005),), (within(-0.005, 0.005),), (POINTS,), (falls(0.005),)),
        strict=True,
    ),
    *zip(
        forced_deviation.CLAIMS,
        (
            (below(0.05),),
            (within(-0.005, 0.005),),
            (rises(0.05),),
            (falls(0.05),),
            (POINTS,),
            (POINTS,),
            (falls(0.01),),
            (falls(0.005),),
            (POINTS,),
            (falls(0.005),),
            (POINTS,),
        ),
        strict=True,
    ),
    *((spec, (POINTS,)) for spec in (*teacher_free.CLAIMS[:5], teacher_free.SIMILARITY)),
    (teacher_free.CLAIMS[5], (above(0.5),)),
    *zip(
        (spec for _, spec in data_size.CLAIMS),
        (
            (below(0),),
            ((CONTRADICTED, 1.2, UNDECIDED, 1.5, SUPPORTED),),
            (between(0.1, 0.5),),
            (below(0.005), below(0.5), below(0.8)),
            (between(0.2, 0.8), falls(0.005)),
            (POINTS, within(-0.005, 0.005), above(-0.005)),
            (SAME_SIGN,),
            (above(0),),
            (within(0.3, 0.7), (SUPPORTED, 0, UNDECIDED)),
            (POINTS, below(0.005)),
            (below(0.05), POINTS, below(0.005)),
            ((UNDECIDED, 0.8, SUPPORTED), below(0.8)),
            (POINTS,),
        ),
        strict=True,
    ),
    *((spec, (rises(0.01),)) for spec in (*denoising.TEACHER_CLAIMS[:2], *denoising.CASE_CLAIMS)),
    (denoising.TEACHER_CLAIMS[2], (rises(0.05),)),
    *((spec, (above(0),)) for spec in (simulated.CONTROL, simulated.MECHANISM)),
    *((spec, (rises(0.05),)) for spec in (eigenspace.FIRST_LAYER, eigenspace.DEPTH, eigenspace.AGE)),
    (exact.THEOREM, ((SUPPORTED, 0.001, CONTRADICTED), (UNDECIDED, 0, SUPPORTED))),
    *(
        (spec, (above(0) if spec.id == "T2" else SEQUENCES,))
        for spec in (
            *state_tracking.CLAIMS,
            state_tracking.SIGNS_SUFFICE,
            state_tracking.SIGNS_DO_NOT,
            state_tracking.CONSTANT,
            *state_tracking.DETAIL_CLAIMS,
        )
    ),
    *(
        (spec, (above(0.5) if spec.id == "F3" else SEQUENCES,))
        for spec in dict.fromkeys((*sequence_tasks.CLAIMS, *chain.from_iterable(sequence_tasks.TASK_CLAIMS.values())))
    ),
    *((spec, (SEQUENCES,)) for spec in (*state_distillation.STATE_CLAIMS, *state_distillation.RANDOM_CLAIMS)),
    *((spec, (SEQUENCES,)) for spec in QUESTIONS.sweep_claims()),
    *((spec, (within(-0.02, 0.02),)) for spec in QUESTIONS.gap_claims()),
    *zip(
        (*top_k.TEACHER_CLAIMS, *top_k.CUT_CLAIMS, *top_k.MIXED_CLAIMS),
        (
            (falls(0.02),),
            (rises(0.02),),
            (rises(0.01),),
            (within(-0.02, 0.02),),
            (within(-0.02, 0.02),),
            (falls(0.02),),
            (falls(0.02),),
            (falls(0.02),),
            (within(-0.02, 0.02),),
        ),
        strict=True,
    ),
]

# The same by study and claim, where a study declares them.
WIDE = (SEQUENCES,)
DECLARED = {
    "random-teacher": {
        "R0": (above(0.02),),
        **dict.fromkeys(("R1a", "R1b", "R1c", "R1e", "R2b", "R2d", "R3a", "R3b"), (POINTS,)),
        "R1d": (POINTS,) * 4,
        "R2a": (above(0),),
        "R2c": (falls(0.005),),
        **dict.fromkeys(("R3c", "R4b"), (within(-0.01, 0.01),)),
        **dict.fromkeys(("R4a", "R4c"), (within(-0.005, 0.005),)),
    },
    "kinship": {
        "U0": (above(0.5), rises(0.02)),
        "U1a": WIDE,
        "U1b": (within(-0.05, 0.05),),
        **dict.fromkeys(("U1c", "U4b", "U4c", "U6", "U7"), (falls(0.02),)),
        "U2a": (below(0),),
        "U2b": (within(-0.02, 0.02),),
        "U2c": (above(0),),
        **dict.fromkeys(("U3a", "U3b"), (within(-0.01, 0.01),)),
        "U3c": (POINTS,),
        "U4a": WIDE,
        "U5": (above(0.5),),
    },
    "connectivity": {
        "L0": (above(0.02),),
        **dict.fromkeys(("L1", "L2"), (above(0.5),)),
        **dict.fromkeys(("L3", "L4"), (falls(0.02),)),
    },
    "lottery": {
        "T0": (above(0.02), below(0.02)),
        "T1": (POINTS, POINTS),
        "T2": (within(-0.01, 0.01),),
        **dict.fromkeys(("T3", "T4", "T5"), (POINTS,)),
    },
    "teacher-choice": {
        **dict.fromkeys(("W0", "W1", "W7", "W8", "W9"), (POINTS,)),
        "W2": (falls(0.005),),
        "W3": (falls(0.005), within(-0.005, 0.005)),
        "W4": (above(0.5),),
        "W5": (rises(0.05),),
        "W6": (rises(0.05),) * 7,
        **dict.fromkeys((f"P{i}" for i in range(1, 9)), (above(0),)),
    },
    "dense-prediction": {
        **dict.fromkeys(("D1 train", "D1 test", "D3"), (falls(0.05), falls(0.05))),
        **dict.fromkeys(("D2 train", "D2 test"), (STEEPER, rises(0.05))),
        **dict.fromkeys(("D4", "D6"), (POINTS,)),
        "D5": (above(0.5),),
        **dict.fromkeys(("P1", "P2"), (falls(0.05),)),
    },
    "dataset-dependency": {
        "D0": (above(0.0), below(0.0)),
        **dict.fromkeys(("D1", "D2", "D3", "D4"), (rises(0.0025),)),
        **dict.fromkeys(("D5", "D6"), (rises(0.001),)),
        "D7": (falls(0.05),),
    },
    "state-tracking": {
        "F1a": (above(0.95),),
        "F1b": (above(-0.05),) * 4,
        **dict.fromkeys(("F1c", "F1d"), (below(0.2),)),
        "F1e": (above(0.9),),
        "F2a": (above(0),),
        "F2b": (above(0.5),),
        **dict.fromkeys(("G1", "G2", "G3", "G4", "G5"), WIDE),
    },
    "sequence-tasks": {"F5": WIDE},
    "sequence-distillation": {**dict.fromkeys(("W1", "W2", "W3"), (within(-0.02, 0.02),)), "W4": WIDE},
}
RULES += [
    (spec, DECLARED[name][spec.id])
    for name in DECLARED
    for spec in claim_specs(STUDIES[name]())
    if spec.id in DECLARED[name]
]


def test_no_claim_of_any_study_is_left_out():
    covered = {(spec.id, spec.text) for spec, _ in RULES}
    declared = [(name, spec) for name, study in STUDIES.items() for spec in claim_specs(study())]
    assert [(name, spec.id) for name, spec in declared if (spec.id, spec.text) not in covered] == []


def tight(value, width=1e-5):
    return Estimate("x", value, value - width, value + width, 0.95, 5, "runs")


def planted(axis) -> Iterator[tuple[Estimate, str]]:
    """Narrow intervals just below and just above every border, with the word expected there; and one over them all."""
    for place in range(1, len(axis), 2):
        yield tight(axis[place] - 1e-4), axis[place - 1]
        yield tight(axis[place] + 1e-4), axis[place + 1]
    middle = (axis[1] + axis[-2]) / 2
    yield tight(middle, axis[-2] - middle + 0.002), UNDECIDED


def holds(axis) -> float:
    """A number at which a part is supported."""
    place = axis.index(SUPPORTED)
    if place == 0:
        return axis[1] - 1
    return axis[-2] + 1 if place == len(axis) - 1 else (axis[place - 1] + axis[place + 1]) / 2


def mistakes(rule, axes) -> list[str]:
    """Where a rule says another word than the axes do."""
    if axes == (SAME_SIGN,):
        cases = [((v, w), word) for v, w, word in SIGNS]
        return [f"{at}" for at, word in cases if decide(rule, [[tight(v) for v in at]]).word != word]
    found = []
    sure = [holds(axis) for axis in axes]
    for part, axis in enumerate(axes):
        for estimate, word in planted(axis):
            row = [*map(tight, sure[:part]), estimate, *map(tight, sure[part + 1 :])]
            decision = decide(rule, [[e] for e in row] if isinstance(rule, AllOf) else [row])
            literal = isinstance(rule, BeyondControl) and part == 0
            if (decision.literal if literal else decision.word) != word:
                found.append(f"part {part} at {estimate}: {decision}")
    return found


SIGNS = (
    (0.0051, 0.0052, SUPPORTED),
    (-0.0051, -0.0052, SUPPORTED),
    (0.0051, -0.0051, CONTRADICTED),
    (0.0049, -0.0049, NEGLIGIBLE),
)


@pytest.mark.parametrize(("spec", "axes"), RULES, ids=lambda value: getattr(value, "id", ""))
def test_every_claim_says_the_expected_word_at_every_number(spec, axes):
    assert mistakes(spec.rule, axes) == []


def changed(rule) -> Iterator:
    """Rules that differ in one value: a side, a border, a margin, what is claimed at all."""
    match rule:
        case Effect():
            yield replace(rule, direction=-rule.direction)
            yield replace(rule, border=rule.border + 0.003)
            yield replace(rule, border=rule.border - 0.003)
            yield replace(rule, margin=rule.margin + 0.002)
            yield replace(rule, existence=not rule.existence)
            if rule.margin:
                yield replace(rule, margin=0.0)
                yield replace(rule, margin=rule.margin - 0.002)
            if rule.wrong is not None:
                yield replace(rule, wrong=rule.wrong + 0.003)
                yield replace(rule, wrong=rule.wrong - 0.003)
        case Equivalence():
            yield replace(rule, margin=rule.margin + 0.002)
            yield replace(rule, margin=rule.margin - 0.002)
            yield replace(rule, center=rule.center + 0.003)
            yield Effect(margin=rule.margin)
        case OneSide():
            yield replace(rule, margin=rule.margin + 0.002)
            yield replace(rule, margin=rule.margin - 0.002)
            yield replace(rule, margin=0.0)
        case BeyondControl(literal, beyond):
            yield from (replace(rule, literal=new) for new in changed(literal))
            yield from (replace(rule, beyond=new) for new in changed(beyond))
        case AllOf(parts):
            for i, (name, part) in enumerate(parts):
                yield from (replace(rule, parts=(*parts[:i], (name, new), *parts[i + 1 :])) for new in changed(part))


@pytest.mark.parametrize(("spec", "axes"), RULES, ids=lambda value: getattr(value, "id", ""))
def test_no_rule_can_change_unnoticed(spec, axes):
    mutants = list(changed(spec.rule))
    assert mutants
    assert [mutant for mutant in mutants if not mistakes(mutant, axes)] == []
