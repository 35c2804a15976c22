"""Claims about which part of what a teacher says is worth it, and what is not the reason (C3 to C5, C10 to C13)."""

from __future__ import annotations

from disobey.measures.inference.comparisons import equivalent, ratio_over_runs
from disobey.measures.inference.intervals import mean_over_runs, paired_difference
from disobey.studies.data_size.cells import CROP, CROP_FIXED, FRESH, KD, LABELS, SAME_N, noisy
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.data_size.shares import (
    MARGIN,
    SMOOTHING,
    claim,
    no_gain,
    share_of_gain,
    smoothings,
    undefined,
    verdict,
)
from disobey.studies.kit.claims import Answer, Decided, Skip
from disobey.studies.kit.verdicts import side


@claim(
    "C3",
    "The gain is not that of label smoothing.",
    "{small}",
    f"φ, the share of the gain at small n, of {', '.join(SMOOTHING)} (amounts chosen on validation): supported: every "
    "arm's interval lies below 0.1; refuted: that of the arm best on validation lies above 0.5; else inconclusive",
)
def shares_of_smoothing(results: CellResults) -> Answer:
    """C3: φ of every form of label smoothing, the one best on validation first."""
    shares = [share_of_gain(results, arm) for arm in smoothings(results)]
    if not shares:
        return Skip("not run; add --arms with A4, A5 or another of " + ", ".join(SMOOTHING))
    none = all(share.high < 0.1 for share in shares)
    return Decided(verdict(none, shares[0].low > 0.5), shares, undefined(shares[0]))


@claim(
    "C4",
    "The gain is dark knowledge: it needs what the teacher says of the other classes, example by example.",
    "{small}",
    "supported: neither A9a nor A11 lies above labels and φ(A12) lies below 0.5 (small n); refuted: φ(A7) or φ(A10a) "
    "lies above 0.8; else inconclusive",
)
def shares_of_dark_knowledge(results: CellResults) -> Answer:
    """C4."""
    if not results.has("A9a", "A11", "A12", "A7", "A10a"):
        return Skip("not run; add --arms with A7 A9a A10a A11 A12")
    labels = results.small("accuracy", LABELS)
    destroyed = [
        paired_difference(results.small("accuracy", arm), labels, f"accuracy, {results.design.arm(arm).text} − labels")
        for arm in ("A9a", "A11")
    ]
    both, confidence, means = (share_of_gain(results, arm) for arm in ("A12", "A7", "A10a"))
    refuted = confidence.low > 0.8 or means.low > 0.8
    supported = all(side(difference) <= 0 for difference in destroyed) and both.high < 0.5
    return Decided(verdict(supported and not refuted, refuted), [*destroyed, both, confidence, means], undefined(both))


@claim(
    "C5",
    "The teacher's hard answers do not suffice.",
    "teacher on one half, students on the other, {small}",
    f"fresh examples, small n: supported: φ(A13) lies below 0.2; refuted: A13 is within ±{MARGIN:g} of A1 (two one-sided "
    "tests) or φ(A13) lies above 0.8; else inconclusive",
)
def share_of_hard_answers(results: CellResults) -> Answer:
    """C5."""
    if not results.has(LABELS, KD, "A13", regime=FRESH):
        return Skip("not run; add --regimes fresh")
    labels, kd, hard = (results.small("accuracy", arm, regime=FRESH) for arm in (LABELS, KD, "A13"))
    share = ratio_over_runs(hard - labels, kd - labels, "φ(A13), hard teacher labels")
    same = equivalent(hard - kd, MARGIN, name="accuracy, hard − soft teacher labels")
    return Decided(
        verdict(share.high < 0.2, same.equivalent or share.low > 0.8), [share, same.estimate], undefined(share)
    )


@claim(
    "C10",
    "The gain is information about more data, not regularization.",
    "{small}",
    f"small n; supported: the gain from all N is above 0, that from a teacher of the same n examples within ±{MARGIN:g} (two "
    "one-sided tests) or below 0; refuted: the latter lies above 0; else inconclusive",
)
def gain_from_the_same_examples(results: CellResults) -> Answer:
    """C10."""
    if not results.has(KD, regime=SAME_N):
        return Skip("not run; add --regimes same-n")
    gain = results.mean_gain("gain, teacher of the same n", SAME_N)
    main = results.mean_gain("gain, teacher of all N")
    none = no_gain(results, SAME_N)
    return Decided(verdict(side(main) > 0 and (none or side(gain) < 0), side(gain) > 0 and not none), [gain, main])


@claim(
    "C11",
    "The gain is the variance that noisy labels cause.",
    "{small}",
    "supported: simulated linear students are within 5 % of the closed form, wrong labels add to the gain at small n, and "
    f"without them there is none (within ±{MARGIN:g}); refuted: there is a gain without wrong labels; else inconclusive",
)
def gain_from_wrong_labels(results: CellResults) -> Answer:
    """C11."""
    noises = [noise for noise in results.design.noises if results.has(LABELS, KD, regime=noisy(noise))]
    theory = results.closed.linear_theory
    if not noises or theory is None:
        return Skip("not run; add --regimes noise")
    noise = max(noises)
    extra = paired_difference(
        results.small_gain(noisy(noise)), results.small_gain(), f"gain, {noise:.0%} wrong labels − none"
    )
    plain = results.mean_gain("gain, no wrong labels")
    refuted, more = side(plain) > 0, side(extra) > 0
    note = "Noise adds to the gain as the theory of variance says, but there is a gain without it: variance is a part."
    return Decided(
        verdict(theory.high <= 0.05 and more and no_gain(results) and not refuted, refuted),
        [theory, extra, plain],
        note if refuted and more else "",
    )


@claim(
    "C12",
    "What the teacher gives are features.",
    "{closed}",
    "small n; gains over labels of: the student, a logistic probe of its last features fitted on the same n labels, and "
    "kernel ridge regression on the teacher's logits, which has no features to learn. Supported: the probe has more than "
    "0.8 of the student's gain and the kernel student less; refuted: the kernel student has more than 0.8; else "
    "inconclusive",
)
def gains_without_features(results: CellResults) -> Answer:
    """C12."""
    if not any(results.closed.small):
        return Skip("not run; add --kernels (at least the small sizes)")
    kernel, probe, network = map(results.closed.small_gain, ("laplace", "probe", "network"))
    by_probe = ratio_over_runs(probe, network, "share of the gain in a probe of the features")
    by_kernel = ratio_over_runs(kernel, network, "share of the gain of a kernel student")
    evidence = [
        by_probe,
        by_kernel,
        mean_over_runs(network, "gain, end to end"),
        mean_over_runs(probe, "gain of the probe"),
        mean_over_runs(kernel, "gain of the kernel student"),
    ]
    return Decided(
        verdict(by_probe.low > 0.8 and by_kernel.high < 0.8, by_kernel.low > 0.8), evidence, undefined(by_kernel)
    )


@claim(
    "C13",
    "The gain is not that of asking the teacher about augmented views.",
    "{small}",
    f"small n; supported: with crops and fixed targets the gain lies above 0; refuted: it lies below 0 or within ±{MARGIN:g} (two "
    "one-sided tests); else inconclusive",
)
def gain_with_fixed_targets(results: CellResults) -> Answer:
    """C13."""
    if not results.has(KD, regime=CROP_FIXED):
        return Skip("not run; add --regimes augment (images)")
    fixed = results.mean_gain("gain with crops, fixed targets", CROP_FIXED)
    asked = results.mean_gain("gain with crops, asked about every view", CROP)
    share = ratio_over_runs(
        results.small_gain(CROP_FIXED), results.small_gain(CROP), "share of the gain with fixed targets"
    )
    return Decided(verdict(side(fixed) > 0, side(fixed) < 0 or no_gain(results, CROP_FIXED)), [fixed, asked, share])
