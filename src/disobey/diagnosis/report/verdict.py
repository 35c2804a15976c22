"""The verdict that a manager understands, and the paragraph that goes into a paper."""

from __future__ import annotations

from disobey.diagnosis.checks.outcome import FURTHER, LUCK, TINY
from disobey.diagnosis.evidence.evidence import Evidence
from disobey.errors import printable
from disobey.records.results import Estimate, Finding, Table, Text

GRAVE = (
    "row alignment",
    "label alignment",
    "class order",
    "label order",
    "vocabulary",
    "identical models",
    "stated values",
    "plausible teacher",
    "constant rows",
    "same labels",
    "twin alignment",
    "twin class order",
)


def verdict(evidence: Evidence, findings: tuple[Finding, ...], tables: tuple[Table, ...]) -> str:
    """Two sentences: can these numbers be trusted and did distillation do something; then what to do next."""
    warnings = [f for f in findings if f.status == "warning"]
    grave = [f for f in warnings if f.name in GRAVE]
    if grave:
        first = f"These predictions cannot be taken at face value: {_lowered(grave[0].message)}"
        return f"{_one(first)} {_next(grave[0])}"
    visible = next((f for f in findings if f.name == "distillation visible"), None)
    agree = _cell(tables, "agreement")
    share = (
        None
        if agree is None
        else (f"agree on {agree.value:.1%}, {100 * agree.level:g} % interval {agree.low:.1%} to {agree.high:.1%}")
    )
    shown = "" if share is None else f" (they {share})"
    if visible is not None and visible.status == "note" and evidence.sample.twin is not None:
        first = _conditional(visible) + shown
    elif visible is None or visible.status == "note":
        met = "were compared" if share is None else share
        first = f"Student and teacher {met}, but without a twin nobody can say whether the teacher caused it"
    elif visible.status == "ok":
        first = f"Distillation left its mark: the student is closer to its teacher than an undistilled twin{shown}"
    elif any(e.high < 0 and e.value <= -FURTHER for e in visible.evidence):
        first = f"The student is further from this teacher than a twin that never saw it{shown}"
    else:
        first = f"This teacher left no visible mark: an undistilled twin is as close to it as the student{shown}"
    gap = _cell(tables, "accuracy_gap")
    if gap is not None and gap.known:
        points, side = f"{100 * abs(gap.value):.1f}", "more" if gap.value > 0 else "less"
        than = "as accurate as" if points == "0.0" else f"{points} points {side} accurate than"
        first += f"; it is {than} the teacher" + ("" if gap.low * gap.high > 0 else ", within chance")
    if warnings:
        return f"{_one(first)} {_next(warnings[0])}"
    if visible is not None and visible.status == "note" and visible.advice:  # what would settle the first sentence
        return f"{_one(first)} {_next(visible)}"
    return f"{_one(first)} No check found a reason to change anything."


def _conditional(visible: Finding) -> str:
    """What a mark with a proviso comes down to, or what too few examples do."""
    if not any(e.low > 0 for e in visible.evidence):
        return "These examples are too few to see whether the teacher left a mark"
    if any(e.over == "runs" and e.low <= 0 for e in visible.evidence):
        return "The student is closer to its teacher than an undistilled twin, but other seeds could show nothing"
    if max(e.value for e in visible.evidence) < LUCK and all(e.over == "examples" for e in visible.evidence):
        return "The student is closer to its teacher than its twin, but one training of each cannot tell that from luck"
    if max(e.value for e in visible.evidence) < TINY:
        return "Distillation left a mark, but a tiny one: the student is hardly closer to its teacher than its twin"
    return (
        "If the twin was trained on the same labels, their errors included, distillation left its mark: the student is "
        "closer to its teacher than the twin"
    )


def _cell(tables: tuple[Table, ...], name: str) -> Estimate | None:
    for table in tables:
        for row in table.rows:
            if row[0] == name and isinstance(row[1], Estimate):
                return row[1]
    return None


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _one(sentence: str) -> str:
    """The first sentence only, ended."""
    end = sentence.find(". ")
    sentence = sentence if end < 0 else sentence[:end]
    return sentence if sentence.endswith("?") else sentence.rstrip(".") + "."


def _next(finding: Finding) -> str:
    what = finding.advice or finding.message
    return f"Next ({finding.name}): {_one(_lowered(what))}"


def methods(evidence: Evidence) -> Text:
    """What was computed, with citations, ready to be pasted."""
    pair, n = evidence.pair, evidence.n
    drawn = (
        ""
        if len(evidence.rows) == n
        else (
            f" Measures that need whole distributions, and the checks on them, use a random sample of {len(evidence.rows):,} examples."
        )
    )
    width = (
        f"{pair.shape[1]:,} classes"
        if evidence.sparse is None
        else f"the teacher's {pair.topk.ids.shape[1] if pair.topk else 0} most likely tokens"
    )
    first = next(iter(evidence.students))
    several = (
        ""
        if len(evidence.students) < 2
        else (
            f" Of {len(evidence.students)} students everything but 'Over seeds' is about the first, {printable(first, 40)}."
        )
    )
    twin = (
        "A twin trained without the teacher is the control, and effects are given as differences to it."
        if evidence.sample.twin is not None
        else "There is no twin (a student trained without the teacher), so effects of distillation and of the labels are not separated."
    )
    missing = _unknowable(evidence)
    body = (
        f"Teacher and student were compared on {n:,} examples ({pair.split}) with {width}. Student-teacher deviations are "
        "measured on log-odds of the teacher's most likely class (Nagarajan et al. 2023, arXiv 2301.12923); fidelity as top-1 "
        "agreement and Kullback-Leibler divergence (Stanton et al. 2021, arXiv 2106.05945); calibration by the expected calibration "
        "error with 15 bins (Guo et al. 2017, ICML), debiased by signs that other data give (its interval: binned gaps drawn anew), and by the "
        f"Brier score with its decomposition (Murphy 1973). {twin} Intervals are at {evidence.level:.0%} over examples "
        "(these models, other examples of the same kind): centred bootstrap up to 5,000 examples, grouped "
        "jackknife up to 50,000, and the spread over 100 random groups beyond; Wilson's for shares. "
        f"Temperatures are natural-log based; KL at T = {evidence.temperature:g} is given without the factor T².{several}{drawn}{missing} "
        "Computed with Disobey."
    )
    return Text("Methods", body)


def _unknowable(evidence: Evidence) -> str:
    missing = [w for w, there in (("labels", evidence.pair.labels is not None),) if not there]
    return f" Without {' and '.join(missing)} accuracy and calibration are unknown." if missing else ""
