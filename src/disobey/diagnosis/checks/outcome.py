"""Was distillation for the better, and is this test set large enough to tell?"""

from __future__ import annotations

from math import comb

import numpy as np
from scipy.special import ndtri as norm_quantile

from disobey.diagnosis.checks.findings import note, ok, over, points, warning
from disobey.diagnosis.evidence.evidence import Evidence, checkpoints
from disobey.diagnosis.evidence.intervals import estimate, mean_of, renamed
from disobey.measures import agreement
from disobey.measures.inference.examples import share
from disobey.measures.inference.measure import minus_twin
from disobey.records.results import Finding

MIN_EXAMPLES = 100  # below which a test set says nothing about a few points
MIN_DECIDING = 10  # examples that decide a comparison, below which it says nothing
POWER = 0.8  # with which a test set that is called large enough resolves a difference
GAP = 0.10  # accuracy that a student may lack against its teacher before capacity is suspected
WIDE = 0.05  # half-width of an accuracy difference from which no claim about a few points can rest on it
LEAST = 0.005  # the smallest difference of accuracy whose test set is sized
CEILING = 0.98  # accuracy of both sides from which a handful of examples may decide
LEVEL = 0.99  # of intervals that decide
GAIN = minus_twin(agreement.MEASURES["student_accuracy"])
PAID = "student minus twin accuracy"
COPIED = minus_twin(agreement.MEASURES["agreement.teacher_wrong"])
SPLITS = 200  # random halves on which the best of many checkpoints is chosen and judged


def gain(evidence: Evidence) -> Finding | None:
    """Did it pay: is the student more accurate than the control that never saw the teacher?"""
    if evidence.labels is None or evidence.sample.twin is None:
        return None
    found, id = estimate(evidence, GAIN), "gain"
    if found is None:
        return None
    found = renamed(found, PAID)
    number = f"{points(found, ' of accuracy')} ({over(found)})"
    one = len(evidence.each) == 1
    luck = " (one training of each: other seeds may differ)" if one else ""
    if found.low > 0:
        word = f"the student is more accurate{luck}" if one else "it paid"
    elif found.high < 0:
        word = f"the student is less accurate{luck}" if one else "it cost accuracy"
    else:
        word = "not distinguishable"
    headline = f"student − control (twin): {number}: {word}"
    message = f"Student minus control (twin): {number}: {word}."
    if evidence.pair.split == "train":
        message += " On training examples that says little: both were fitted to them."
    if found.low > 0:
        return ok(id, message, found, case="paid", headline=headline)
    if found.high < 0:
        advice = "Give labels more weight, use a better teacher, or train longer: soft targets take more steps."
        return note(id, message, found, advice=advice, case="cost", headline=headline)
    advice = "Three seeds of each and more examples tell a small gain from none." if one else "Add seeds or examples."
    return note(id, message, found, advice=advice, case="open", headline=headline)


def negative_transfer(evidence: Evidence) -> Finding | None:
    """Where the teacher is wrong, the student repeats its error more often than the control does, and loses by it."""
    labels, tops, id = evidence.pair.labels, evidence.tops, "negative-transfer"
    if labels is None or "twin" not in tops:
        return None
    wrong = int((tops["teacher"] != labels).sum())
    if wrong < MIN_DECIDING:
        return ok(id, f"The teacher is wrong on {wrong} examples only.", case="few-errors")
    copied, paid = estimate(evidence, COPIED), estimate(evidence, GAIN)
    if copied is None or paid is None:
        return None
    surely, lost = estimate(evidence, COPIED, level=LEVEL), estimate(evidence, GAIN, level=LEVEL)
    assert surely is not None
    assert lost is not None
    copied, paid = renamed(copied, "errors copied, minus twin"), renamed(paid, PAID)
    if surely.low <= 0:
        return ok(id, "The teacher's errors are not copied more often than by the control (twin).", copied, paid)
    message = (
        f"The student repeats {100 * copied.value:.1f} points more of the teacher's errors than its control (twin)"
    )
    if lost.high >= 0:
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
    gap, id = estimate(evidence, agreement.MEASURES["accuracy_gap"]), "capacity-gap"
    if gap is None:
        return None
    size, side = f"{100 * abs(gap.value):.1f}", "more" if gap.value > 0 else "less"
    than = "as accurate as" if size == "0.0" else f"{size} points {side} accurate than"
    headline = f"the student is {than} its teacher" + ("" if gap.low * gap.high > 0 else ", within chance")
    if gap.high < -GAP:
        message = f"The student is {-100 * gap.value:.1f} points less accurate than its teacher."
        advice = (
            "A larger student, longer training, a smaller or intermediate teacher; more data if it agrees better on "
            "training examples."
        )
        return warning(id, message, gap, advice=advice, headline=headline)
    return ok(id, f"Accuracy, student minus teacher: {points(gap)}.", gap, headline=headline)


def large_enough(evidence: Evidence) -> Finding | None:
    """Is the test set large enough for the difference that one wants to claim?"""
    if evidence.labels is None:
        return None
    no_twin = evidence.sample.twin is None
    id, other = "test-size", "teacher" if no_twin else "control (twin)"
    form = agreement.MEASURES["accuracy_gap"] if no_twin else GAIN
    gap, fixed = estimate(evidence, form), estimate(evidence, form, fixed=True)
    if gap is None or fixed is None:
        return warning(
            id, "Too few examples for any interval.", advice="Evaluate on more examples.", case="no-interval"
        )
    half, n, units = (fixed.high - fixed.low) / 2, fixed.n, fixed.over  # over these alone: more shrink nothing else
    z = norm_quantile(0.5 + gap.level / 2)
    least = max(abs(gap.value), LEAST)
    needed = int(np.ceil(n * (half / least * (z + norm_quantile(POWER)) / z) ** 2))
    advice = (
        f"About {needed:,} {units} would resolve a difference of {100 * least:.1f} points in {POWER:.0%} of test sets."
    )
    if len(evidence.each) > 1 and gap.high - gap.low > 2 * (fixed.high - fixed.low):
        advice = f"More seeds: they vary more than the examples do. {advice}"
    text = f"Accuracy, student minus {other}: {points(gap)} on {n:,} {units}."
    if half > WIDE or (n < MIN_EXAMPLES and units == "examples"):
        return warning(id, f"{text} No claim about a few points can rest on it.", gap, advice=advice, case="wide")
    if gap.low < 0 < gap.high:
        return note(id, f"{text} Its sign is not known.", gap, advice=advice, case="sign")
    return ok(id, text, gap)


def ceiling(evidence: Evidence) -> Finding | None:
    """Comparisons that a handful of examples decide. Of several seeds the usual number of them counts."""
    labels, id, n = evidence.pair.labels, "ceiling", evidence.n
    if labels is None or "teacher" not in evidence.tops:
        return None
    rights = [{name: top == labels for name, top in run.tops.items()} for run in evidence.each]
    other = "twin" if "twin" in evidence.tops else "teacher"
    called = "control (twin)" if other == "twin" else other
    each = [int((right["student"] != right[other]).sum()) for right in rights]
    ahead = [int((right["student"] & ~right[other]).sum()) for right in rights]
    decided = round(float(np.mean(each)))
    worst = min(float(right[side].mean()) for right in rights for side in ("student", other))
    name = f"examples where student and {other} differ in being right"
    observed = share(name, decided, n, evidence.level)
    if evidence.codes is not None:
        observed = mean_of(evidence, name, np.mean([right["student"] != right[other] for right in rights], axis=0))
    if worst > CEILING and decided < MIN_DECIDING and n >= MIN_EXAMPLES:
        p = sign_test(round(float(np.mean(ahead))), decided)
        message = (
            f"Student and {called} are right on more than {worst:.1%}; {decided} examples decide between them "
            f"(p = {p:.2f})."
        )
        advice = "Use a harder test set, or compare log-likelihoods, which still differ."
        return warning(id, message, observed, advice=advice)
    return ok(id, f"{decided:,} examples decide between student and {called}.", observed)


def sign_test(ahead: int, decided: int) -> float:
    """Two-sided p of a fair coin that fell ``ahead`` times on one side in ``decided`` throws.

    >>> sign_test(1, 6), sign_test(0, 0)
    (0.21875, 1.0)
    """
    chances = [comb(decided, k) / 2**decided for k in range(decided + 1)]
    return min(1.0, sum(chance for chance in chances if chance <= chances[ahead] * (1 + 1e-9)))


def best_of_many(evidence: Evidence) -> Finding | None:
    """Several checkpoints of one run on the same examples: the best one's accuracy is too high."""
    points, id = checkpoints(evidence.students), "best-of-many"
    if not points:
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
