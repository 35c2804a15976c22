"""`diagnose`: somebody's teacher and student in, a `Result` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from disobey.diagnosis.checks import (
    alignment,
    boxes,
    clusters,
    confidence,
    distillation,
    files,
    language,
    numbers,
    outcome,
    tokens,
)
from disobey.diagnosis.checks.findings import not_judged
from disobey.diagnosis.evidence.evidence import Evidence, checkpoints, gather
from disobey.diagnosis.input.join import read_pair
from disobey.diagnosis.input.pair import Pair, pair_from, pair_from_predictions, with_columns
from disobey.diagnosis.report import boxes as of_boxes
from disobey.diagnosis.report import breakdown, charts, knowledge
from disobey.diagnosis.report import language as speech
from disobey.diagnosis.report import maps as of_pixels
from disobey.diagnosis.report import tables as comparisons
from disobey.diagnosis.report.methods import methods
from disobey.diagnosis.report.verdict import verdict
from disobey.errors import refusal
from disobey.records.predictions import Predictions
from disobey.records.results import Chart, Finding, Gallery, Result, Table

Check = Callable[[Evidence], Finding | None]  # None: does not apply

CHECKS: tuple[Check, ...] = (
    tokens.tokenizers,
    boxes.placed_boxes,
    alignment.row_alignment,
    alignment.label_alignment,
    alignment.class_order,
    alignment.label_order,
    alignment.twin_alignment,
    alignment.twin_class_order,
    language.vocabulary,
    numbers.stated_values,
    tokens.own_text,
    confidence.plausible_teacher,
    numbers.identical_models,
    numbers.constant_rows,
    numbers.finite_values,
    numbers.saturated_rows,
    numbers.duplicated_rows,
    distillation.distillation_visible,
    distillation.same_teacher,
    distillation.same_labels,
    confidence.temperature_slip,
    confidence.memorized_teacher,
    outcome.gain,
    outcome.negative_transfer,
    outcome.capacity_gap,
    confidence.calibrated_student,
    outcome.large_enough,
    outcome.ceiling,
    outcome.best_of_many,
    language.truncation,
    files.read_as,
    files.joined_rows,
    clusters.clusters,
    files.unread_arrays,
    files.label_variety,
)

# What must correspond to the teacher, row by row and class by class, for a check to say anything.
NEEDS: dict[Check, set[str]] = {
    alignment.row_alignment: {"tokens"},
    alignment.class_order: {"tokens"},
    alignment.label_alignment: {"tokens"},
    alignment.label_order: {"tokens"},
    tokens.own_text: {"labels"},
    confidence.plausible_teacher: {"labels"},
    distillation.distillation_visible: {"student", "twin"},
    distillation.same_teacher: {"student"},
    distillation.same_labels: {"labels", "student", "twin"},
    confidence.temperature_slip: {"student"},
    outcome.gain: {"labels", "student", "twin"},
    outcome.negative_transfer: {"labels", "student", "twin"},
    outcome.capacity_gap: {"labels", "student"},
    confidence.calibrated_student: {"labels", "student"},
    outcome.large_enough: {"labels", "student", "twin"},
    outcome.ceiling: {"labels", "student", "twin"},
    outcome.best_of_many: {"labels", "student"},
}
CALLED: dict[Check, str] = {outcome.large_enough: "test size"}  # where a check's findings have another name
BREAKS: dict[Check, set[str]] = {
    tokens.tokenizers: {"tokens", "student", "labels"},
    boxes.placed_boxes: {"tokens", "student", "labels", "twin"},
    alignment.row_alignment: {"student"},
    alignment.class_order: {"student"},
    alignment.label_alignment: {"labels"},
    alignment.label_order: {"labels"},
    alignment.twin_alignment: {"twin"},
    alignment.twin_class_order: {"twin"},
}

# Answers for true boxes are made of scores and have a floor, and "nothing" is never right: what is about probabilities,
# or about errors of one kind, says nothing there.
NOT_OF_BOXES: frozenset[Callable] = frozenset(
    (
        numbers.stated_values,
        numbers.constant_rows,
        numbers.saturated_rows,
        numbers.duplicated_rows,
        confidence.plausible_teacher,
        confidence.temperature_slip,
        confidence.memorized_teacher,
        confidence.calibrated_student,
        outcome.negative_transfer,
        tokens.own_text,
        comparisons.calibrations,
        comparisons.temperatures,
        charts.reliability,
    )
)

TABLES: tuple[Callable[[Evidence], Table | None], ...] = (
    comparisons.outcome,
    of_pixels.segmentation,
    of_boxes.detection,
    comparisons.closeness,
    speech.overlap,
    speech.parts,
    speech.memory,
    speech.cache,
    comparisons.deviations,
    comparisons.calibrations,
    comparisons.temperatures,
    knowledge.teacher_information,
    knowledge.representations,
    breakdown.seeds,
    breakdown.per_class,
    breakdown.per_group,
    of_boxes.per_size,
)
FIGURES: tuple[Callable[[Evidence], Chart | Gallery | None], ...] = (
    charts.logits,
    charts.medians,
    charts.reliability,
    charts.class_deviation,
    charts.similarity,
    of_pixels.overlays,
    of_boxes.disagreements,
    charts.most_disobeyed,
)

QUESTION = "How does the student deviate from its teacher, did distillation have an effect, and what should change?"


def diagnose(
    teacher: ArrayLike | Predictions | Pair | Path | str,
    student: ArrayLike | Mapping[str, ArrayLike] | None = None,
    labels: ArrayLike | None = None,
    *,
    twin: ArrayLike | None = None,
    ids: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    images: ArrayLike | None = None,
    values: str = "auto",
    split: str = "test",
    temperature: float = 4.0,
    level: float = 0.95,
    seed: int = 0,
    checks: Sequence[Check] = CHECKS,
) -> Result:
    """How a student deviates from its teacher: findings, tables with intervals, charts and a verdict.

    Args:
        teacher: (N, C), (sequences, tokens, C), or of pixels (images, C, H, W) or (images, H, W, C), of logits,
            log-probabilities or probabilities, as anything numpy can read, tensors included; or a single path,
            `Predictions` or `Pair` that holds teacher and student.
        student: the same of the student; several students as a mapping from their names (``student/seed0``, …).
        labels: (N,) true classes, integers from 0; of pixels (images, H, W), 255 or −1 where there is none.
        twin: (N, C) of the control: the same student trained without the teacher.
        ids: (N,) who an example is.
        groups: (N,) any names to report by.
        cluster: (N,) which text, prompt or image an example belongs to: intervals are then over these.
        class_names: C names.
        texts: N texts, to be shown for the most disobeyed examples.
        images: N images, likewise; of pixels, the images that the maps are of.
        values: ``logits``, ``log-probabilities`` or ``probabilities``; detected and stated where ``auto``.
        split: which examples these are; predictions on ``train`` are judged as such.
        temperature: the T at which divergences are given beside T = 1, above 0.
        level: of the intervals, from 0.5 to 1.
        seed: of resamples, and of the sample of a large pair.
        checks: what is checked, in this order.

    Returns:
        Findings, then tables and charts, then the methods; no path, time or machine. What a pair lacks (labels, a twin)
        may be given beside it.

    Raises:
        Refusal: unusable input, with what was expected, what was got and what to try.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> teacher = 3 * rng.normal(size=(400, 5))
        >>> student = 0.8 * teacher + 0.5 * rng.normal(size=(400, 5))
        >>> result = diagnose(teacher, student, teacher.argmax(axis=1))
        >>> [finding.id for finding in result.blocks[:2]]
        ['row-alignment', 'label-alignment']
    """
    if not np.isfinite(temperature) or temperature <= 0:
        raise refusal("temperature-range", "a number above 0", temperature, where="temperature")
    if not 0.5 <= level < 1:
        raise refusal("level-range", "a number from 0.5 to 1", level, "0.95", where="level")
    more = {"twin": twin, "ids": ids, "groups": groups, "cluster": cluster}
    more |= {"class_names": class_names, "texts": texts, "images": images}
    pair = _pair(teacher, student, labels, more, values, split)
    return report(gather(pair, temperature=temperature, level=level, seed=seed), checks)


def judged(evidence: Evidence, checks: Sequence[Check] = CHECKS) -> tuple[Finding, ...]:
    """What the checks that apply have found, in their order; those that need what is out of order are not asked.

    With rows or classes that do not correspond, a student looks weak and over-confident for that reason alone: nothing
    about them is said until they are mended.
    """
    found: list[Finding] = []
    withheld: list[str] = []
    broken: set[str] = set()
    for check in fitting(evidence, checks):
        about = NEEDS.get(check, set())
        if about & broken:
            if _asks_nothing(check, evidence):
                continue
            withheld.append(CALLED.get(check, check.__name__.replace("_", " ")))
        elif (finding := check(evidence)) is not None:
            found.append(finding)
            if finding.invalidates:
                broken |= BREAKS.get(check, set())
    if withheld:
        found.append(not_judged(withheld))
    return tuple(found)


def fitting(evidence: Evidence, makers: Sequence[Callable]) -> list[Callable]:
    """The checks, tables or figures that mean something for this kind of pair."""
    boxed = "boxes" in evidence.pair.facts
    return [make for make in makers if not (boxed and make in NOT_OF_BOXES)]


def _asks_nothing(check: Check, evidence: Evidence) -> bool:
    """Whether a check would not apply to this pair, so that nobody misses it."""
    lacks = evidence.labels is None and "labels" in NEEDS[check]
    if evidence.sample.twin is None and check in (outcome.gain, outcome.negative_transfer, distillation.same_labels):
        return True
    if check is distillation.same_labels:
        return lacks or evidence.pair.mislabelled is None
    if check is distillation.same_teacher:
        return len(evidence.students) < 3
    return lacks or (check is outcome.best_of_many and not checkpoints(evidence.students))


def report(
    evidence: Evidence, checks: Sequence[Check] = CHECKS, *, tell: Callable[[str], None] = lambda _: None
) -> Result:
    """Findings first, then tables and charts, then the methods; ``tell`` hears what is being computed."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):  # differences of infinite log-odds are unknown
        tell(f"{len(checks)} checks")
        findings = judged(evidence, checks)
        shown, figures = [], []
        for made, makers, what in ((shown, TABLES, "table"), (figures, FIGURES, "figure")):
            for number, make in enumerate(fitting(evidence, makers), 1):
                tell(f"{what} {number} of {len(makers)}")
                made.append(make(evidence))
        tables = [table for table in shown if table is not None and table.rows]
        figures = [figure for figure in figures if figure is not None]
        blocks = (*findings, *figures[:1], *tables, *figures[1:], methods(evidence))
    settings: dict[str, Any] = {
        "examples": evidence.n,
        "classes": None if evidence.sparse is not None else evidence.pair.shape[1],
        "sampled": len(evidence.rows),
        **({} if evidence.codes is None else {"clusters": int(evidence.codes.max()) + 1}),
        "split": evidence.pair.split,
        "temperature": evidence.temperature,
        "level": evidence.level,
        "seed": evidence.seed,
        "values": dict(evidence.pair.values),
    }
    return Result("diagnose", QUESTION, blocks, verdict(findings), settings=settings)


def _pair(teacher, student, labels, more: Mapping[str, Any], values: str, split: str) -> Pair:
    if isinstance(teacher, Predictions):
        teacher = pair_from_predictions(teacher)
    elif isinstance(teacher, str | Path):
        teacher = read_pair(teacher, values=values, split=split)
    if isinstance(teacher, Pair):
        if student is not None:
            raise refusal(
                "pair-and-student",
                "nothing beside a whole pair",
                "a student as well",
                "diagnose(pair)",
                where="student",
            )
        given = {"labels": labels, **more}
        whole_pair = with_columns(teacher, {n: as_array(v, n) for n, v in given.items() if v is not None}, values)
        return replace(whole_pair, split=teacher.split if split == "test" else split)
    if student is None:
        raise refusal(
            "missing-student", "the student's scores", "none", "diagnose(teacher, student, labels)", where="student"
        )
    students = student if isinstance(student, Mapping) else None
    arrays = {"teacher": as_array(teacher, "teacher")}
    if students is None:
        arrays["student"] = as_array(student, "student")
    else:
        arrays |= {f"student/{name}": as_array(array, f"student {name}") for name, array in students.items()}
    arrays |= {name: as_array(value, name) for name, value in {"labels": labels, **more}.items() if value is not None}
    return pair_from(arrays, values=values, split=split)


def as_array(value: Any, name: str) -> np.ndarray:
    """An array of numbers or text from arrays, nested lists or tensors (moved to the CPU). No objects."""
    if hasattr(value, "detach"):
        value = value.detach()
        value = value.float() if "bfloat16" in str(value.dtype) else value
        value = value.cpu().numpy()
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise refusal("ragged-array", "an array with rows of equal length", error, where=name) from error
    if array.dtype.kind not in "biufUS":
        raise refusal("array-type", "numbers or text", f"type {array.dtype}", "np.asarray(…, dtype=float)", where=name)
    return array
