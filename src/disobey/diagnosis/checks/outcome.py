"""Did distillation do anything, was it for the better, and can this test set tell?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import binomtest, norm, ttest_ind

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.intervals import estimates
from disobey.diagnosis.evidence.temperature import fitted as fitted_to
from disobey.errors import printable
from disobey.measures import agreement
from disobey.measures.deviation import confidence
from disobey.measures.inference.examples import mean_of, share
from disobey.measures.inference.measure import Measure, minus_twin
from disobey.measures.inference.runs import paired_difference
from disobey.measures.inference.statistics import correlation_coefficient
from disobey.records.results import Estimate, Finding

MANY = 100  # examples below which nothing seen is nothing said
FEW = 10  # examples that decide a comparison, below which it says nothing
TINY = 0.005  # difference of agreement or correlation that is there but changes nothing
LUCK = 0.15  # below it one training of each says nothing: by luck of the seed it came to .10
FURTHER = 0.05  # from which "no closer" is called further: a matter of words, it warns either way
POWER = 0.8  # with which a test set that is called large enough resolves a difference
GAP = 0.10  # accuracy that a student may lack against its teacher before capacity is suspected
SCALES = 1.5  # ratio of student's and twin's temperatures from which they are compared on one scale
APART = 0.05  # correlation by which a seed stands apart from all others before another teacher is suspected
KNOWN = 30  # mislabelled examples from which student and twin are compared on them
NOISY = 0.8  # temperature that fits the teacher to the labels, below which it was trained on noisy or smoothed ones
CHECKPOINTS = ("step", "epoch", "checkpoint", "ckpt", "iter")


def _correlated(x, y, right, mislabelled, *, weights=None):
    return correlation_coefficient(x, y, weights=weights)


def _finite(x, y, *rest):
    return np.isfinite(x) & np.isfinite(y)


CLOSENESS = Measure(
    "log_odds_correlation",
    confidence,
    _correlated,
    _finite,
    (),
    "correlation of teacher and student log-odds of the teacher's choice",
)


def distillation_visible(evidence: Evidence) -> Finding | None:
    """The student is closer to its teacher than a twin trained on labels only.

    Without distillation student and twin are exchangeable, so differences of closeness have mean 0 over trainings. The
    intervals are over examples, for these two models: with very many examples even two undistilled models differ for
    sure, by a little (`TINY`) or by the luck of their seeds (`LUCK`); only several seeds (`closer_over_seeds`) say how much trainings differ. Above 0: the
    teacher left its mark. (A correlation with the teacher alone proves nothing: both learned the same labels.) That
    needs a twin that learned from the same examples and labels: one with its own draw of label noise is further away.
    """
    if evidence.sample.twin is None:
        message = "No twin: whether the teacher explains the student beyond the labels cannot be said."
        return Finding(
            "distillation visible",
            "note",
            message,
            (),
            "Train one student without the teacher (same recipe, same training examples and labels, their errors included) and save it as 'twin'.",
        )
    measures = [minus_twin(CLOSENESS), minus_twin(agreement.MEASURES["agreement"])]
    found = [e for e in _at(evidence, measures, 0.99).values() if e.known]
    scaled = _on_one_scale(evidence)
    if scaled is not None and scaled.known:
        scaled = replace(scaled, name=f"{scaled.name}, on one scale")
        found = [scaled, *(e for e in found if not e.name.startswith("log_odds"))]
    seen = [e for e in found if e.low > 0]
    if seen:
        what = (
            "correlation of log-odds" + (", on one scale," if scaled in seen[:1] else "")
            if seen[0].name.startswith("log_odds")
            else "agreement"
        )
        message = f"The student is closer to its teacher than its twin is: {what} {seen[0].value:+.3f}."
        runs = closer_over_seeds(evidence)
        if runs is not None and runs.low > 0:
            found.append(runs)
        elif runs is not None:
            message += (
                f" That holds for these two models. Over {len(evidence.students)} seeds students are closer than twins by "
                f"{runs.value:+.3f} [{runs.low:+.3f}, {runs.high:+.3f}]: other seeds could show nothing."
            )
            advice = "Add seeds, or raise the weight of the soft term or its temperature."
            return Finding("distillation visible", "note", message, (*found, runs), advice)
        if runs is None and max(e.value for e in seen) < LUCK:
            message += (
                " One training of each cannot tell that from luck: of two undistilled students that differ in their seed "
                "alone, one is closer, too."
            )
            advice = (
                "Train three seeds of each and save them as 'student/seed0', 'twin/seed0' and so on: then seeds decide."
            )
            return Finding("distillation visible", "note", message, tuple(found), advice)
        if max(e.value for e in seen) < TINY:
            message += " That is certain, but tiny."
            advice = "Raise the weight of the soft term or its temperature, if more of the teacher is wanted."
            return Finding("distillation visible", "note", message, tuple(found), advice)
        if _labels_look_noisy(evidence):
            message += (
                " The teacher is less sure than it is right, as noisy training labels make it (smoothing, regularization "
                "and short training do, too). If they were noisy, this holds only for a twin that was trained on the same "
                "labels, their errors included."
            )
            advice = (
                "Make sure of it. To have it checked, diagnose the predictions on training examples with an array "
                "'mislabelled' that says where training saw another label."
            )
            return Finding("distillation visible", "note", message, tuple(found), advice)
        return Finding("distillation visible", "ok", message, tuple(found))
    away = [e for e in found if e.high < 0 and e.value <= -FURTHER]
    if not away and evidence.n < MANY:
        message = (
            f"{evidence.n:,} examples are too few to see whether the student is closer to its teacher than its twin."
        )
        return Finding("distillation visible", "note", message, tuple(found), "Compare them on more examples.")
    advice = (
        "Check that this is the teacher (checkpoint, seed) that taught it, and that the soft term reaches the loss: its "
        "weight, T², detach(), the order of KL's arguments, rows."
    )
    message = "The student is no closer to this teacher than a twin that never saw it: it left no visible mark."
    if away:
        message = "The student is *further* from this teacher than a twin that never saw it."
    lacking = _lacks(evidence)
    if lacking > GAP:
        advice = (
            f"Train the student longer, or take a larger one, first: it lacks {100 * lacking:.0f} points of accuracy "
            f"against its teacher, and soft targets take more steps than labels. {advice}"
        )
    return Finding("distillation visible", "warning", message, tuple(found), advice)


def _lacks(evidence: Evidence) -> float:
    """Accuracy that the student lacks against its teacher; 0 where it is unknown."""
    tops, labels = evidence.tops, evidence.pair.labels
    if labels is None or "teacher" not in tops:
        return 0.0
    return float((tops["teacher"] == labels).mean() - (tops["student"] == labels).mean())


def _on_one_scale(evidence: Evidence) -> Estimate | None:
    """Closeness of student minus twin, each at the temperature that brings it closest to the teacher.

    Log-odds against all other classes together bend with the temperature, so a twin that is only hotter or colder than
    the student (saved so, or trained otherwise) correlates less with the teacher. Asked where they differ by `SCALES`.
    """
    sample = evidence.finite
    if evidence.sparse is not None or sample.twin is None:
        return None
    own, other = fitted_to(evidence, "teacher"), fitted_to(evidence, "teacher", "twin")
    if not (own.known and other.known) or abs(np.log(own.value / other.value)) < np.log(SCALES):
        return None
    student = log_softmax(sample.student / own.value, axis=1)
    level = replace(sample, student=student, twin=log_softmax(sample.twin / other.value, axis=1))
    alike = replace(evidence, sample=level, columns={}, cache={}, fits={}, parts={})
    return next(iter(_at(alike, [minus_twin(CLOSENESS)], 0.99).values()), None)


def closer_over_seeds(evidence: Evidence) -> Estimate | None:
    """Mean closeness of the students minus that of the twins, over seeds, where there are three of each: paired by
    position where there are equally many, else by Welch's t."""
    if min(len(evidence.students), len(evidence.twins)) < 3:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        sides = [
            np.array([CLOSENESS(evidence.sample.with_student(array)) for array in arrays.values()])
            for arrays in (evidence.students, evidence.twins)
        ]
    if not all(np.isfinite(side).all() for side in sides):
        return None
    if len(sides[0]) == len(sides[1]):
        return paired_difference(sides[0], sides[1], "closer over seeds", level=evidence.level)
    bounds = ttest_ind(*sides, equal_var=False).confidence_interval(evidence.level)
    value, n = float(sides[0].mean() - sides[1].mean()), sum(map(len, sides))
    return Estimate("closer over seeds", value, float(bounds.low), float(bounds.high), evidence.level, n, "runs")


def _labels_look_noisy(evidence: Evidence) -> bool:
    """Is the teacher far less sure than it is right, as after wrong or smoothed training labels?

    Not asked on training examples: what a model was fitted to it gets right more often than it says.
    """
    if evidence.labels is None or evidence.sparse is not None or evidence.pair.split == "train":
        return False
    fitted = fitted_to(evidence, "labels", "teacher", level=0.99)
    return bool(fitted.known and fitted.high < NOISY)


def same_labels(evidence: Evidence) -> Finding | None:
    """Where training saw wrong labels, the twin was taught them as the student was.

    A model that was taught a wrong label gives the true one less there than on other examples of its class. Where the
    student does and the twin does not, the twin was trained on other labels (clean ones, or another draw of the noise);
    the teacher then shares its errors with the student alone, and closeness to it proves nothing. Only rows that were
    trained on can show this, and only ``mislabelled`` says which.
    """
    sample = evidence.sample
    if sample.twin is None or sample.labels is None or sample.mislabelled is None or evidence.sparse is not None:
        return None
    wrong = sample.mislabelled.astype(bool)
    if min(wrong.sum(), (~wrong).sum()) < KNOWN:
        return None
    lost = {name: _lost_on(getattr(sample, name), sample.labels, wrong) for name in ("student", "twin")}
    student, twin = (mean_of(f"true label's probability lost, {name}", column, 0.99) for name, column in lost.items())
    apart = mean_of("student minus twin", lost["student"] - lost["twin"], 0.99)
    shown = (student, twin, apart)
    told = f"where training saw wrong labels the student gives the true one {student.value:.3f} less than elsewhere, its twin {twin.value:.3f}"
    if student.low > 0 and apart.low > 0 and twin.value < student.value / 2:
        message = f"The twin does not know the student's wrong labels: {told}."
        advice = "Train the twin on the same labels, their errors included: with others its distance from the teacher proves nothing."
        return Finding("same labels", "warning", message, shown, advice)
    if twin.high <= 0 or student.high <= 0 or max(student.low, twin.low) <= 0:
        message = f"Nothing shows which labels the twin was trained on ({told}): not training examples, or trained too little to know them."
        return Finding("same labels", "note", message, shown)
    return Finding("same labels", "ok", f"Student and twin know the same wrong labels: {told}.", shown)


def _lost_on(log_probs: NDArray, labels: NDArray, wrong: NDArray) -> NDArray:
    """(mislabelled,): probability of the true label, mean of the other examples of the class minus that of each."""
    p = np.exp(log_probs[np.arange(len(labels)), labels].astype(np.float64))
    counts = np.bincount(labels[~wrong], minlength=labels.max() + 1)
    means = np.bincount(labels[~wrong], p[~wrong], minlength=labels.max() + 1) / np.maximum(counts, 1)
    usual = np.where(counts > 0, means, p[~wrong].mean())
    return usual[labels[wrong]] - p[wrong]


def _at(evidence: Evidence, measures: list[Measure], level: float) -> dict[str, Estimate]:
    return estimates(replace(evidence, level=level), measures, resamples=600)


def same_teacher(evidence: Evidence) -> Finding | None:
    """Seeds of one arm are about equally close to the teacher that taught them all."""
    runs = evidence.seeds()
    if len(runs) < 3 or evidence.sparse is not None:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        close = {name: CLOSENESS(run) for name, run in zip(evidence.students, runs, strict=True)}
    order = sorted((name for name in close if np.isfinite(close[name])), key=lambda name: -close[name])
    if len(order) < 3:
        return None
    best, low, high = close[order[0]], close[order[-1]], close[order[1]]
    told = f"correlation of log-odds {best:.2f}, the others {low:.2f} to {high:.2f}"
    if best - high > max(APART, 2 * (high - low)):
        message = f"{printable(order[0], 40)} is far closer to this teacher than the other seeds are ({told})."
        advice = "Were the others taught by this teacher, from the same labels? If each had its own, diagnose each pair alone."
        return Finding("same teacher", "warning", message, (), advice)
    return Finding("same teacher", "ok", f"The seeds are about equally close to the teacher: {low:.2f} to {best:.2f}.")


def negative_transfer(evidence: Evidence) -> Finding | None:
    """Where the teacher is wrong, the student repeats its error more often than the twin does, and pays for it."""
    labels, tops = evidence.pair.labels, evidence.tops
    if labels is None or "twin" not in tops:
        return None
    wrong = tops["teacher"] != labels
    if wrong.sum() < FEW:
        return Finding("negative transfer", "ok", f"The teacher is wrong on {int(wrong.sum())} examples only.")
    copies = (tops["student"] == tops["teacher"])[wrong].astype(float) - (tops["twin"] == tops["teacher"])[wrong]
    gain = (tops["student"] == labels).astype(float) - (tops["twin"] == labels)
    copied = mean_of("errors copied, minus twin", copies, 0.99)
    paid = mean_of("student minus twin accuracy", gain, 0.99)
    if copied.low > 0 and paid.high < 0:
        message = (
            f"The student repeats {copied.value:.1%} more of the teacher's errors than its twin, and is "
            f"{-100 * paid.value:.1f} points less accurate than it: it learned the errors."
        )
        advice = "Give labels more weight, leave out examples that the teacher gets wrong, or use a better teacher."
        if evidence.pair.split == "train":
            message += " On training examples that is no loss yet: the twin was fitted to these very labels."
            return Finding("negative transfer", "note", message, (copied, paid), "Diagnose held-out predictions.")
        return Finding("negative transfer", "warning", message, (copied, paid), advice)
    if copied.low > 0:
        message = (
            f"The student repeats {copied.value:.1%} more of the teacher's errors than its twin, at no visible cost."
        )
        return Finding("negative transfer", "note", message, (copied, paid))
    return Finding("negative transfer", "ok", "The teacher's errors are not copied beyond chance.", (copied, paid))


def capacity_gap(evidence: Evidence) -> Finding | None:
    """The student is far below its teacher."""
    if evidence.labels is None:
        return None
    measure = agreement.MEASURES["accuracy_gap"]
    gap = estimates(evidence, [measure], resamples=400).get(measure.name)
    if gap is None or not gap.known:
        return None
    if gap.high < -GAP:
        message = f"The student is {-100 * gap.value:.1f} points less accurate than its teacher."
        advice = (
            "A larger student, longer training, a smaller or intermediate teacher; more data if train agrees better."
        )
        return Finding("capacity gap", "warning", message, (gap,), advice)
    return Finding("capacity gap", "ok", f"Accuracy, student minus teacher: {100 * gap.value:+.1f} points.", (gap,))


def large_enough(evidence: Evidence) -> Finding | None:
    """Is the test set large enough for the difference that one wants to claim?"""
    if evidence.labels is None:
        return None
    other = "teacher" if evidence.sample.twin is None else "twin"
    measure = agreement.MEASURES["student_accuracy"]
    form = minus_twin(measure) if other == "twin" else agreement.MEASURES["accuracy_gap"]
    gap = estimates(evidence, [form], resamples=400).get(form.name)
    if gap is None or not gap.known:
        return Finding("test size", "warning", "Too few examples for any interval.", (), "Evaluate on more examples.")
    half = (gap.high - gap.low) / 2
    z = norm.ppf(0.5 + gap.level / 2)
    least = max(abs(gap.value), 0.005)
    needed = int(np.ceil(gap.n * (half / least * (z + norm.ppf(POWER)) / z) ** 2))
    advice = (
        f"About {needed:,} examples would resolve a difference of {100 * least:.1f} points in {POWER:.0%} of test sets."
    )
    text = f"Accuracy, student minus {other}: {100 * gap.value:+.1f} ± {100 * half:.1f} points on {gap.n:,} examples."
    if half > 0.05 or gap.n < MANY:
        return Finding("test size", "warning", text + " No claim about a few points can rest on it.", (gap,), advice)
    if gap.low < 0 < gap.high:
        return Finding("test size", "note", text + " The sign is open.", (gap,), advice)
    return Finding("test size", "ok", text, (gap,))


def ceiling(evidence: Evidence) -> Finding | None:
    """Comparisons that a handful of examples decide."""
    labels, tops = evidence.pair.labels, evidence.tops
    if labels is None or "teacher" not in tops:
        return None
    right = {name: top == labels for name, top in tops.items()}
    other = "twin" if "twin" in right else "teacher"
    decided = int((right["student"] != right[other]).sum())
    worst = min(float(r.mean()) for r in (right["student"], right[other]))
    seen = share(f"examples where student and {other} differ in being right", decided, len(labels), evidence.level)
    if worst > 0.98 and decided < FEW and len(labels) >= 100:
        p = binomtest(int((right["student"] & ~right[other]).sum()), max(1, decided)).pvalue if decided else 1.0
        message = (
            f"Student and {other} are right on more than {worst:.1%}; {decided} examples decide between them "
            f"(p = {p:.2f})."
        )
        advice = "Use a harder test set, or compare log-likelihoods, which still differ."
        return Finding("ceiling", "warning", message, (seen,), advice)
    return Finding("ceiling", "ok", f"{decided:,} examples decide between student and {other}.", (seen,))


def best_of_many(evidence: Evidence) -> Finding | None:
    """Several checkpoints of one run on the same examples: the best one's accuracy is too high."""
    names = [name.split("/", 1)[1] for name in evidence.students if "/" in name]
    points = [name for name in names if any(word in name.lower() for word in CHECKPOINTS)]
    if len(points) < 2:
        return None
    if evidence.labels is None:
        message = f"{len(points)} checkpoints are given: choose among them on a validation split."
        return Finding("best of many", "warning", message, (), "Keep a validation split apart.")
    right = np.stack([s.argmax(axis=1) == evidence.labels for s in evidence.students.values()]).astype(float)
    rng = np.random.default_rng(evidence.seed)
    gains = []
    for _ in range(200):
        half = rng.random(right.shape[1]) < 0.5
        best = int(right[:, half].mean(axis=1).argmax())
        gains.append(right[best, half].mean() - right[best, ~half].mean())
    optimism = float(np.mean(gains)) / np.sqrt(2)
    message = (
        f"{len(points)} checkpoints are given. The best of them on these examples looks about {optimism:+.2%} more "
        "accurate than it is, by choice alone."
    )
    advice = "Choose the checkpoint on a validation split, report it on another, and say how many there were."
    return Finding("best of many", "warning", message, (), advice)
