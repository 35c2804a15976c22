"""`diagnose`: somebody's teacher and student in, a `Result` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from disobey.diagnosis.checks import alignment, confidence, files, language, numbers, outcome
from disobey.diagnosis.evidence.evidence import Evidence, gather
from disobey.diagnosis.evidence.representations import representations
from disobey.diagnosis.input.join import read_pair
from disobey.diagnosis.input.pair import Pair, pair_from, pair_from_predictions, with_columns
from disobey.diagnosis.report import charts, tables
from disobey.diagnosis.report.verdict import methods, verdict
from disobey.errors import refusal
from disobey.records.predictions import Predictions
from disobey.records.results import Finding, Result

Check = Callable[[Evidence], Finding | None]  # None: does not apply

CHECKS: tuple[Check, ...] = (
    alignment.row_alignment,
    alignment.label_alignment,
    alignment.class_order,
    alignment.label_order,
    alignment.twin_alignment,
    alignment.twin_class_order,
    language.vocabulary,
    numbers.stated_values,
    confidence.plausible_teacher,
    numbers.identical_models,
    numbers.constant_rows,
    numbers.finite_values,
    numbers.saturated_rows,
    numbers.duplicated_rows,
    outcome.distillation_visible,
    outcome.same_teacher,
    outcome.same_labels,
    confidence.temperature_slip,
    confidence.memorized_teacher,
    outcome.negative_transfer,
    outcome.capacity_gap,
    confidence.calibrated_student,
    outcome.large_enough,
    outcome.ceiling,
    outcome.best_of_many,
    language.truncation,
    files.joined_rows,
    files.unread_arrays,
    files.label_variety,
)

QUESTION = "How does the student deviate from its teacher, did distillation do anything, and what should change?"


def diagnose(
    teacher: ArrayLike | Predictions | Pair | Path | str,
    student: ArrayLike | Mapping[str, ArrayLike] | None = None,
    labels: ArrayLike | None = None,
    *,
    twin: ArrayLike | None = None,
    ids: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    values: str = "auto",
    split: str = "test",
    temperature: float = 4.0,
    level: float = 0.95,
    seed: int = 0,
    checks: Sequence[Check] = CHECKS,
) -> Result:
    """What the student made of its teacher: findings, tables with intervals, charts and a verdict.

    teacher, student: (N, C) logits, log-probabilities or probabilities (``values``: detected by default) as anything
    numpy can read, tensors included; or a single path, `Predictions` or `Pair` that holds both. Several students: a
    mapping from seed to array. labels: (N,) integers. twin: the same student trained without the teacher. What a pair
    lacks (twin, labels, …) may be given beside it. temperature:
    the T at which divergences are given beside T = 1. The `Result` holds no path, time or machine.

    Raises `ValueError` with what was expected, what came and what to try.

    >>> rng = np.random.default_rng(0)
    >>> teacher = 3 * rng.normal(size=(400, 5))
    >>> student = 0.8 * teacher + 0.5 * rng.normal(size=(400, 5))
    >>> result = diagnose(teacher, student, teacher.argmax(axis=1))
    >>> [finding.name for finding in result.blocks[:2]]
    ['row alignment', 'label alignment']
    """
    if not np.isfinite(temperature) or temperature <= 0:
        raise refusal("temperature-range", "a number above 0", temperature, where="temperature")
    if not 0.5 <= level < 1:
        raise refusal("level-range", "a number from .5 to 1", level, "0.95", where="level")
    more = {"twin": twin, "ids": ids, "groups": groups, "class_names": class_names, "texts": texts}
    pair = _pair(teacher, student, labels, more, values, split)
    return report(gather(pair, temperature=temperature, level=level, seed=seed), checks)


def judged(evidence: Evidence, checks: Sequence[Check] = CHECKS) -> tuple[Finding, ...]:
    """What the checks that apply have found, in their order."""
    return tuple(found for check in checks if (found := check(evidence)) is not None)


def report(evidence: Evidence, checks: Sequence[Check] = CHECKS) -> Result:
    """Findings first, then tables and charts, then the methods."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):  # infinite log-odds differ by nothing known
        return _report(evidence, checks)


def _report(evidence: Evidence, checks: Sequence[Check]) -> Result:
    findings = judged(evidence, checks)
    made = (
        tables.outcome(evidence) if evidence.pair.labels is not None else None,
        tables.closeness(evidence),
        tables.deviations(evidence),
        tables.calibrations(evidence),
        tables.temperatures(evidence),
        tables.teacher_information(evidence),
        representations(evidence),
        tables.seeds(evidence),
        tables.per_class(evidence),
        tables.per_group(evidence),
    )
    shown = tuple(table for table in made if table is not None and table.rows)
    drawn = (
        charts.logits(evidence),
        charts.medians(evidence),
        charts.reliability(evidence),
        charts.class_deviation(evidence),
        charts.similarity(evidence),
        charts.most_disobeyed(evidence),
    )
    figures = tuple(chart for chart in drawn if chart is not None)
    settings: dict[str, Any] = {
        "examples": evidence.n,
        "classes": None if evidence.sparse is not None else evidence.pair.shape[1],
        "sampled": len(evidence.rows),
        "split": evidence.pair.split,
        "temperature": evidence.temperature,
        "level": evidence.level,
        "seed": evidence.seed,
        "values": dict(evidence.pair.values),
    }
    blocks = (*findings, *figures[:1], *shown, *figures[1:], methods(evidence))
    return Result("diagnose", QUESTION, blocks, verdict(evidence, findings, shown), settings=settings)


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
