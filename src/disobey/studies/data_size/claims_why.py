"""Claims about what in the teacher's predictions causes the gain, and what does not (C3 to C5, C10 to C13)."""

from __future__ import annotations

from disobey.measures.inference.comparisons import equivalent, ratio_over_runs
from disobey.measures.inference.runs import mean_over_runs, paired_difference
from disobey.studies.data_size.cells import CROP, CROP_FIXED, FRESH, IDS, KD, LABELS, SAME_N, noisy
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.data_size.shares import (
    EQUIVALENT,
    MARGIN,
    SMOOTHING,
    claim,
    decided,
    no_gain,
    share_of_gain,
    smoothings,
    undefined,
)
from disobey.studies.kit.claims import Answer, Skip
from disobey.studies.kit.verdicts import side

DESTROYING = ("permuted_each", "shuffled_within_class")  # arms without dark knowledge of each example
KEEPING = ("class_mean_with_confidence", "confidence_only", "class_mean")  # arms that keep a part of it


@claim(
    "C3",
    "Label smoothing does not explain the gain.",
    "{small}",
    f"φ, the share of the gain at small n, of {', '.join(IDS[arm] for arm in SMOOTHING)} (amounts chosen on "
    "validation); supported: every arm's interval lies below 0.1; contradicted: that of the best arm on validation "
    "lies above 0.5; else undecided",
)
def not_label_smoothing(results: CellResults) -> Answer:
    """φ of every form of label smoothing, the best on validation first."""
    shares = [share_of_gain(results, arm) for arm in smoothings(results)]
    if not shares:
        return Skip("needs one of --arms " + " ".join(SMOOTHING))
    none = all(share.high < 0.1 for share in shares)
    return decided(shares, supported=none, contradicted=shares[0].low > 0.5, note=undefined(shares[0]))


@claim(
    "C4",
    "The gain is dark knowledge: it needs the teacher's predictions for the other classes, example by example.",
    "{small}",
    "small n; supported: neither permuted (A9a) nor shuffled (A11) predictions lie above labels, and φ of class means "
    "with confidence (A12) lies below 0.5; contradicted: φ of confidence only (A7) or of class means (A10a) lies above "
    "0.8; else undecided",
)
def dark_knowledge(results: CellResults) -> Answer:
    """Gains of arms that destroy dark knowledge, and shares of arms that keep a part of it."""
    if not results.has(*DESTROYING, *KEEPING):
        return Skip("needs --arms " + " ".join((*DESTROYING, *KEEPING)))
    labels = results.small("accuracy", LABELS)
    gains = [
        paired_difference(results.small("accuracy", arm), labels, f"accuracy, {results.design.arm(arm).text} − labels")
        for arm in DESTROYING
    ]
    both, confidence, means = (share_of_gain(results, arm) for arm in KEEPING)
    contradicted = confidence.low > 0.8 or means.low > 0.8
    supported = not contradicted and all(side(gain) <= 0 for gain in gains) and both.high < 0.5
    return decided(
        [*gains, both, confidence, means], supported=supported, contradicted=contradicted, note=undefined(both)
    )


@claim(
    "C5",
    "The teacher's predicted classes (hard labels) are not enough.",
    "teacher on one half, students on the other, {small}",
    "fresh examples, small n; supported: φ of hard labels (A13) lies below 0.2; contradicted: their accuracy is "
    f"{EQUIVALENT} of distillation's, or φ lies above 0.8; else undecided",
)
def hard_labels_are_not_enough(results: CellResults) -> Answer:
    """φ of the teacher's argmax on examples that the teacher was not trained on."""
    if not results.has(LABELS, KD, "argmax", regime=FRESH):
        return Skip("needs --regimes fresh")
    labels, kd, hard = (results.small("accuracy", arm, regime=FRESH) for arm in (LABELS, KD, "argmax"))
    share = ratio_over_runs(hard - labels, kd - labels, "φ, hard teacher labels (A13)")
    same = equivalent(hard - kd, MARGIN, name="accuracy, hard − soft teacher labels")
    contradicted = same.equivalent or share.low > 0.8
    return decided([share, same.estimate], supported=share.high < 0.2, contradicted=contradicted, note=undefined(share))


@claim(
    "C10",
    "The gain is information from more data, not regularization.",
    "{small}",
    "small n; supported: the gain from a teacher of all N examples lies above 0, that from a teacher of the same n "
    f"examples is {EQUIVALENT} or below 0; contradicted: the latter lies above 0; else undecided",
)
def information_from_more_data(results: CellResults) -> Answer:
    """Gains by the teacher's number of training examples."""
    if not results.has(KD, regime=SAME_N):
        return Skip("needs --regimes same-n")
    same, none = results.mean_gain("gain, teacher of the same n", SAME_N), no_gain(results, SAME_N)
    main = results.mean_gain("gain, teacher of all N")
    supported = side(main) > 0 and (none or side(same) < 0)
    return decided([same, main], supported=supported, contradicted=side(same) > 0 and not none)


@claim(
    "C11",
    "The gain is due to the variance that noisy labels cause.",
    "{small}",
    "small n; supported: simulated linear students are within 5% of the closed form, corrupted labels increase the "
    f"gain, and without them it is {EQUIVALENT}; contradicted: the gain without corrupted labels lies above 0; else "
    "undecided",
)
def variance_of_noisy_labels(results: CellResults) -> Answer:
    """Gains with and without corrupted labels, and a check of the theory for linear students."""
    noises = [noise for noise in results.design.noises if results.has(LABELS, KD, regime=noisy(noise))]
    theory = results.closed.linear_theory
    if not noises or theory is None:
        return Skip("needs --regimes noise")
    gains, name = results.small_gain(noisy(max(noises))), f"gain, {max(noises):.0%} corrupted labels − none"
    extra, plain = paired_difference(gains, results.small_gain(), name), results.mean_gain("gain, no corrupted labels")
    contradicted, more = side(plain) > 0, side(extra) > 0
    supported = not contradicted and theory.high <= 0.05 and more and no_gain(results)
    note = "Noise increases the gain as the theory predicts, but there is a gain without it: variance explains a part."
    return decided(
        [theory, extra, plain],
        supported=supported,
        contradicted=contradicted,
        note=note if contradicted and more else "",
    )


@claim(
    "C12",
    "The teacher transfers features.",
    "{closed}",
    "small n; gains over labels of the student, of a logistic probe of its last features fitted on the same n labels, "
    "and of kernel ridge regression on the teacher's logits, which learns no features; supported: the probe has more "
    "than 0.8 of the student's gain and the kernel student less; contradicted: the kernel student has more than 0.8; "
    "else undecided",
)
def features(results: CellResults) -> Answer:
    """Shares of the student's gain that a probe and a kernel student have."""
    if not any(results.closed.small):
        return Skip("needs --kernels (at least the small sizes)")
    kernel, probe, network = map(results.closed.small_gain, ("laplace", "probe", "network"))
    by_probe = ratio_over_runs(probe, network, "share of the gain in a probe of the features")
    by_kernel = ratio_over_runs(kernel, network, "share of the gain of a kernel student")
    gains = {"gain, end to end": network, "gain of the probe": probe, "gain of the kernel student": kernel}
    return decided(
        [by_probe, by_kernel, *(mean_over_runs(gain, name) for name, gain in gains.items())],
        supported=by_probe.low > 0.8 and by_kernel.high < 0.8,
        contradicted=by_kernel.low > 0.8,
        note=undefined(by_kernel),
    )


@claim(
    "C13",
    "The gain does not come from querying the teacher on augmented views.",
    "{small}",
    "small n; supported: with random crops and the teacher's predictions for the plain image the gain lies above 0; "
    f"contradicted: it lies below 0 or is {EQUIVALENT}; else undecided",
)
def not_augmented_views(results: CellResults) -> Answer:
    """Gains under augmentation, by what the teacher predicts."""
    if not results.has(KD, regime=CROP_FIXED):
        return Skip("needs --regimes augment (images)")
    fixed = results.mean_gain("gain with crops, fixed targets", CROP_FIXED)
    every = results.mean_gain("gain with crops, teacher queried on every view", CROP)
    whole, name = results.small_gain(CROP), "share of the gain with fixed targets"
    share = ratio_over_runs(results.small_gain(CROP_FIXED), whole, name)
    contradicted = side(fixed) < 0 or no_gain(results, CROP_FIXED)
    return decided([fixed, every, share], supported=side(fixed) > 0, contradicted=contradicted)
