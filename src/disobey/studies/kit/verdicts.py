"""Verdict rules: a claim's words, its rule and its evidence in; a verdict out. Written down before the runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from disobey.measures.inference.intervals import mean_over_runs
from disobey.records.results import Claim, Estimate, Verdict


def side(estimate: Estimate, border: float = 0.0) -> int:
    """+1 where the whole interval lies above ``border``, −1 where below, 0 where it holds it or is unknown.

    >>> side(Estimate("gain", 0.02, 0.01, 0.03, 0.95, 5, "runs"))
    1
    """
    if not estimate.known:
        return 0
    return int(estimate.low > border) - int(estimate.high < border)


def tally(claims: Sequence[Claim], name: str) -> str:
    """How the claims of one name came out: ``3 supported, 1 inconclusive``; empty where there is none."""
    verdicts = [c.verdict for c in claims if c.name == name]
    order: tuple[Verdict, ...] = ("supported", "refuted", "inconclusive")
    return ", ".join(f"{verdicts.count(v)} {v}" for v in order if v in verdicts)


def above_zero(name: str, text: str, estimate: Estimate, source: str, setting: str = "") -> Claim:
    """Supported where the interval lies above 0, refuted where it lies below."""
    rule = "supported: the interval lies above 0; refuted: below 0; else inconclusive"
    verdicts: dict[int, Verdict] = {1: "supported", -1: "refuted", 0: "inconclusive"}
    return Claim(text, source, verdicts[side(estimate)], (estimate,), rule, name, setting)


def below_zero_and_twin(
    name: str, text: str, student: Estimate, minus_twin: Estimate, source: str, setting: str = ""
) -> Claim:
    """Supported where the student's value and its difference to the twin are both below 0: not only selection."""
    rule = "supported: both intervals (student; student minus twin) lie below 0; refuted: either lies above 0; else inconclusive"
    return _both(name, text, student, minus_twin, -1, 0.0, rule, source, setting)


def above_one_and_twin(
    name: str, text: str, student: Estimate, minus_twin: Estimate, source: str, setting: str = ""
) -> Claim:
    """Supported where the slope lies above 1 and above the twin's."""
    rule = (
        "supported: the slope's interval lies above 1 and that of student minus twin above 0; "
        "refuted: the first lies below 1 or the second below 0; else inconclusive"
    )
    return _both(name, text, student, minus_twin, 1, 1.0, rule, source, setting)


def most_recovered(name: str, text: str, share: Estimate, source: str, setting: str = "") -> Claim:
    """Supported where the share's interval lies above one half, refuted where below; undefined shares decide nothing."""
    rule = (
        "supported: the interval of the share lies above 0.5; refuted: below 0.5; inconclusive where it holds 0.5 or where "
        "the gain's own interval does not lie above 0, so that there is nothing to share"
    )
    verdicts: dict[int, Verdict] = {1: "supported", -1: "refuted", 0: "inconclusive"}
    note = "" if share.known else "Undefined: the gain of distillation is not surely above 0."
    return Claim(text, source, verdicts[side(share, 0.5)], (share,), rule, name, setting, note)


def _both(
    name: str,
    text: str,
    student: Estimate,
    minus_twin: Estimate,
    wanted: int,
    border: float,
    rule: str,
    source: str,
    setting: str,
) -> Claim:
    first, second = side(student, border), side(minus_twin)
    verdict: Verdict = "inconclusive"
    if first == second == wanted:
        verdict = "supported"
    elif -wanted in (first, second):
        verdict = "refuted"
    note = ""
    if first == wanted and second != wanted:
        note = (
            "The student alone would have supported the claim; the twin, which had no teacher, shows as much or more."
        )
    return Claim(text, source, verdict, (student, minus_twin), rule, name, setting, note)


def rank_association(xs: Sequence[NDArray], ys: Sequence[NDArray], name: str) -> Estimate:
    """Spearman correlation over settings within each seed, averaged over seeds with an interval over runs.

    xs, ys: one array (seeds,) a setting. A seed in which either is constant has correlation 0.
    """
    by_seed = []
    for x, y in zip(np.transpose(xs), np.transpose(ys), strict=True):
        constant = np.ptp(x) == 0 or np.ptp(y) == 0
        by_seed.append(0.0 if constant else float(np.corrcoef(rankdata(x), rankdata(y))[0, 1]))
    return mean_over_runs(by_seed, name)
