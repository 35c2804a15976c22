"""Was distillation for the better, and is this test set large enough to tell?"""

from __future__ import annotations

import numpy as np
from scipy.stats import binomtest, norm

from disobey.diagnosis.checks.findings import note, ok, warning
from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.intervals import estimates
from disobey.measures import agreement
from disobey.measures.inference.examples import mean_of, share
from disobey.measures.inference.measure import minus_twin
from disobey.records.results import Finding

MIN_EXAMPLES = 100  # below which a test set says nothing about a few points
MIN_DECIDING = 10  # examples that decide a comparison, below which it says nothing
POWER = 0.8  # with which a test set that is called large enough resolves a difference
GAP = 0.10  # accuracy that a student may lack against its teacher before capacity is suspected
WIDE = 0.05  # half-width of an accuracy difference from which no claim about a few points can rest on it
LEAST = 0.005  # the smallest difference of accuracy whose test set is sized
CEILING = 0.98  # accuracy of both sides from which a handful of examples may decide
CHECKPOINTS = ("step", "epoch", "checkpoint", "ckpt", "iter")  # in the name of a student that is one of many
LEVEL = 0.99  # of intervals that decide
SPLITS = 200  # random halves on which the best of many checkpoints is chosen and judged


def negative_transfer(evidence: Evidence) -> Finding | None:
    """Where the teacher is wrong, the student repeats its error more often than the control does, and loses by it."""
    labels, tops, id = evidence.pair.labels, evidence.tops, "negative-transfer"
    if labels is None or "twin" not in tops:
        return None
    wrong = tops["teacher"] != labels
    if wrong.sum() < MIN_DECIDING:
        return ok(id, f"The teacher is wrong on {int(wrong.sum())} examples only.", case="few-errors")
    copies = (tops["student"] == tops["teacher"])[wrong].astype(float) - (tops["twin"] == tops["teacher"])[wrong]
    gain = (tops["student"] == labels).astype(float) - (tops["twin"] == labels)
    copied = mean_of("errors copied, minus twin", copies, LEVEL)
    paid = mean_of("student minus twin accuracy", gain, LEVEL)
    if copied.low <= 0:
        return ok(id, "The teacher's errors are not copied more often than by the control (twin).", copied, paid)
    message = (
        f"The student repeats {100 * copied.value:.1f} points more of the teacher's errors than its control (twin)"
    )
    if paid.high >= 0:
        return note(id, f"{message}, without a visible loss of accuracy.", copied, paid, case="no-loss")
    message += f", and is {-100 * paid.value:.1f} points less accurate than it: it learned the errors."
    if evidence.pair.split == "train":
        message += " On training examples that is no loss yet: the control was fitted to these very labels."
        return note(id, message, copied, paid, advice="Diagnose held-out predictions.", case="training-examples")
    advice = "Give labels more weight, leave out examples on which the teacher is wrong, or use a better teacher."
    return warning(id, message, copied, paid, advice=advice)


def capacity_gap(evidence: Evidence) -> Finding | None:
    """The student is far less accurate than its teacher."""
    if evidence.labels is None:
        return None
    measure, id = agreement.MEASURES["accuracy_gap"], "capacity-gap"
    gap = estimates(evidence, [measure], resamples=400).get(measure.name)
    if gap is None or not gap.known:
        return None
    points, side = f"{100 * abs(gap.value):.1f}", "more" if gap.value > 0 else "less"
    than = "as accurate as" if points == "0.0" else f"{points} points {side} accurate than"
    headline = f"the student is {than} its teacher" + ("" if gap.low * gap.high > 0 else ", within chance")
    if gap.high < -GAP:
        message = f"The student is {-100 * gap.value:.1f} points less accurate than its teacher."
        advice = (
            "A larger student, longer training, a smaller or intermediate teacher; more data if it agrees better on "
            "training examples."
        )
        return warning(id, message, gap, advice=advice, headline=headline)
    return ok(id, f"Accuracy, student minus teacher: {100 * gap.value:+.1f} points.", gap, headline=headline)


def large_enough(evidence: Evidence) -> Finding | None:
    """Is the test set large enough for the difference that one wants to claim?"""
    if evidence.labels is None:
        return None
    id, other = "test-size", "teacher" if evidence.sample.twin is None else "control (twin)"
    no_twin = evidence.sample.twin is None
    form = agreement.MEASURES["accuracy_gap"] if no_twin else minus_twin(agreement.MEASURES["student_accuracy"])
    gap = estimates(evidence, [form], resamples=400).get(form.name)
    if gap is None or not gap.known:
        return warning(
            id, "Too few examples for any interval.", advice="Evaluate on more examples.", case="no-interval"
        )
    half = (gap.high - gap.low) / 2
    z = norm.ppf(0.5 + gap.level / 2)
    least = max(abs(gap.value), LEAST)
    needed = int(np.ceil(gap.n * (half / least * (z + norm.ppf(POWER)) / z) ** 2))
    advice = (
        f"About {needed:,} examples would resolve a difference of {100 * least:.1f} points in {POWER:.0%} of test sets."
    )
    text = f"Accuracy, student minus {other}: {100 * gap.value:+.1f} ± {100 * half:.1f} points on {gap.n:,} examples."
    if half > WIDE or gap.n < MIN_EXAMPLES:
        return warning(id, f"{text} No claim about a few points can rest on it.", gap, advice=advice, case="wide")
    if gap.low < 0 < gap.high:
        return note(id, f"{text} Its sign is not known.", gap, advice=advice, case="sign")
    return ok(id, text, gap)


def ceiling(evidence: Evidence) -> Finding | None:
    """Comparisons that a handful of examples decide."""
    labels, tops, id = evidence.pair.labels, evidence.tops, "ceiling"
    if labels is None or "teacher" not in tops:
        return None
    right = {name: top == labels for name, top in tops.items()}
    other = "twin" if "twin" in right else "teacher"
    called = "control (twin)" if other == "twin" else other
    decided = int((right["student"] != right[other]).sum())
    worst = min(float(r.mean()) for r in (right["student"], right[other]))
    observed = share(f"examples where student and {other} differ in being right", decided, len(labels), evidence.level)
    if worst > CEILING and decided < MIN_DECIDING and len(labels) >= MIN_EXAMPLES:
        p = binomtest(int((right["student"] & ~right[other]).sum()), max(1, decided)).pvalue if decided else 1.0
        message = (
            f"Student and {called} are right on more than {worst:.1%}; {decided} examples decide between them "
            f"(p = {p:.2f})."
        )
        advice = "Use a harder test set, or compare log-likelihoods, which still differ."
        return warning(id, message, observed, advice=advice)
    return ok(id, f"{decided:,} examples decide between student and {called}.", observed)


def best_of_many(evidence: Evidence) -> Finding | None:
    """Several checkpoints of one run on the same examples: the best one's accuracy is too high."""
    names = [name.split("/", 1)[1] for name in evidence.students if "/" in name]
    points = [name for name in names if any(word in name.lower() for word in CHECKPOINTS)]
    id = "best-of-many"
    if len(points) < 2:
        return None
    if evidence.labels is None:
        message = f"{len(points)} checkpoints are given: choose among them on a validation split."
        return warning(id, message, advice="Set a validation split aside.", case="no-labels")
    right = np.stack([s.argmax(axis=1) == evidence.labels for s in evidence.students.values()]).astype(float)
    rng = np.random.default_rng(evidence.seed)
    gains = []
    for _ in range(SPLITS):
        half = rng.random(right.shape[1]) < 0.5
        best = int(right[:, half].mean(axis=1).argmax())
        gains.append(right[best, half].mean() - right[best, ~half].mean())
    optimism = float(np.mean(gains)) / np.sqrt(2)
    message = (
        f"{len(points)} checkpoints are given. The best of them on these examples looks about {100 * optimism:+.2f} "
        "points more accurate than it is, only because it was chosen (winner's curse)."
    )
    advice = "Choose the checkpoint on a validation split, report it on another, and say how many there were."
    return warning(id, message, advice=advice)
