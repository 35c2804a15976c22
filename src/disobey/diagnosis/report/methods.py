"""The paragraph that goes into a paper."""

from __future__ import annotations

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.errors import printable
from disobey.measures.detection import FLOOR
from disobey.records.results import Text


def methods(evidence: Evidence) -> Text:
    """What was computed, with citations, ready to be pasted."""
    pair, n, level = evidence.pair, evidence.n, f"{100 * evidence.level:g}%"
    sentences = (
        f"Teacher and student were compared on {n:,} examples ({pair.split}) with {_width(evidence)}.",
        _boxes(evidence),
        "Deviations of the student from its teacher are measured on log-odds of the teacher's most likely class "
        "(Nagarajan et al. 2023, arXiv 2301.12923); fidelity as top-1 agreement and Kullback-Leibler divergence "
        f"(Stanton et al. 2021, arXiv 2106.05945){_calibration(evidence)}.",
        _control(evidence),
        _intervals(evidence, level),
        "Logarithms are natural."
        if "boxes" in pair.facts
        else f"Logarithms are natural; KL at T = {evidence.temperature:g} is given without the factor T².",
        _several(evidence),
        _sampled(evidence),
        "" if pair.labels is not None else "Without labels accuracy and calibration are unknown.",
        "Computed with Disobey.",
    )
    return Text("Methods", " ".join(filter(None, sentences)))


def _calibration(evidence: Evidence) -> str:
    if "boxes" in evidence.pair.facts:
        return ""
    return (
        "; calibration by the expected calibration error with 15 bins (Guo et al. 2017, ICML), debiased by signs that "
        "other data give (its interval: binned gaps drawn anew), and by the Brier score with its decomposition (Murphy "
        "1973)"
    )


def _boxes(evidence: Evidence) -> str:
    if "boxes" not in evidence.pair.facts:
        return ""
    return (
        "An example is a true box and its image the cluster. A class's share is the largest score that a box of the "
        "image gives it among those that overlap the true one by 0.5 or more (intersection over union), that of "
        f'"nothing" is one minus the largest share; shares below {FLOOR:g} are raised to it, and all are divided by '
        "their sum. Average precision is COCO's (Lin et al. 2014, ECCV), and its errors are by the infinitesimal "
        "jackknife over images (Jaeckel 1972)."
    )


def _intervals(evidence: Evidence, level: str) -> str:
    if evidence.codes is not None:
        return (
            f"Intervals are at {level} over {evidence.codes.max() + 1:,} clusters (these models, other texts, prompts "
            "or images of the same kind), whose examples are not taken as independent; checks decide at 99%. They come "
            "from a jackknife over up to 100 groups of whole clusters (MacKinnon, Nielsen and Webb 2023) with "
            "Student's t; shares from Wilson's interval at their effective number of examples (Korn and Graubard 1998)."
        )
    return (
        f"Intervals are at {level} over examples (these models, other examples of the same kind); checks decide "
        "at 99%. They come from a centred bootstrap up to 5,000 examples, a grouped jackknife up to 50,000, and the "
        "spread over 100 random groups beyond; Wilson's for shares."
    )


def _width(evidence: Evidence) -> str:
    if evidence.sparse is None:
        return f"{evidence.pair.shape[1]:,} classes"
    assert evidence.pair.topk is not None
    return f"the teacher's {evidence.pair.topk.ids.shape[1]} most likely tokens"


def _control(evidence: Evidence) -> str:
    if evidence.sample.twin is not None:
        return "A student trained without the teacher is the control (twin); effects are given as differences from it."
    return (
        "There is no control (twin), a student trained without the teacher, so effects of distillation and of the "
        "labels are not separated."
    )


def _several(evidence: Evidence) -> str:
    first = printable(next(iter(evidence.students)), 40)
    if evidence.runs:
        n, m = len(evidence.students), len(evidence.twins)
        return (
            f"Numbers are means over {n} student{'s' * (n > 1)}"
            + (f" and {m} control{'s' * (m > 1)}" if m else "")
            + ": their intervals cover other seeds and other examples, whose errors are added as if independent. "
            f"Figures and examples show the first student, {first}."
        )
    if len(evidence.students) > 1:
        return f"Of {len(evidence.students)} checkpoints everything is about the first, {first}."
    return ""


def _sampled(evidence: Evidence) -> str:
    if len(evidence.rows) == evidence.n:
        return ""
    return (
        f"Measures that need whole distributions, and the checks on them, use a random sample of "
        f"{len(evidence.rows):,} examples."
    )
