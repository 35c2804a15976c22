"""Claims about which part of what a teacher says is worth it, and what is not the reason (C3 to C5, C10 to C13)."""

from __future__ import annotations

import numpy as np

from disobey.measures.inference.comparisons import equivalent
from disobey.measures.inference.intervals import mean_over_runs, paired_difference
from disobey.measures.sample_efficiency import shares_explained
from disobey.records.results import Claim, Verdict
from disobey.studies.data_size.cells import CROP, CROP_FIXED, FRESH, SAME_N, noisy
from disobey.studies.data_size.closed_form import ClosedFormResults
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.data_size.shares import (
    MARGIN,
    SMOOTHING,
    best_smoothing,
    claim_of,
    named,
    need,
    setting_of,
    shares_of_gain,
    small_words,
    smoothings,
    text_of,
    undefined,
)
from disobey.studies.kit.verdicts import side


def not_label_smoothing(results: CellResults, _: ClosedFormResults) -> Claim:
    arms, best = smoothings(results), best_smoothing(results)
    need(bool(arms), "--arms with A4, A5 or another of " + ", ".join(SMOOTHING))
    shares = shares_of_gain(results, arms)
    chosen = shares[best]
    verdict: Verdict = "inconclusive"
    if chosen.known and all(share.high < 0.1 for share in shares.values()):
        verdict = "supported"
    elif chosen.known and chosen.low > 0.5:
        verdict = "refuted"
    return claim_of(
        "C3",
        "The gain is not that of label smoothing.",
        verdict,
        [chosen, *(share for arm, share in shares.items() if arm != best)],
        f"φ, the share of the gain at small n, of {', '.join(SMOOTHING)} (amounts chosen on validation): supported: every "
        "arm's interval lies below 0.1; refuted: that of the arm best on validation lies above 0.5; else inconclusive",
        setting_of(results, small_words(results)),
        undefined(chosen),
    )


def dark_knowledge_of_each_example(results: CellResults, _: ClosedFormResults) -> Claim:
    need(results.has("A9a", "A11", "A12", "A7", "A10a"), "--arms with A7 A9a A10a A11 A12")
    wrong = {
        arm: paired_difference(
            results.small_accuracy(arm), results.small_accuracy("A0"), f"accuracy, {text_of(results, arm)} − labels"
        )
        for arm in ("A9a", "A11")
    }
    shares = shares_of_gain(results, ["A12", "A7", "A10a"])
    known = all(share.known for share in shares.values())
    verdict: Verdict = "inconclusive"
    if known and max(shares[arm].low for arm in ("A7", "A10a")) > 0.8:
        verdict = "refuted"
    elif known and all(side(d) <= 0 for d in wrong.values()) and shares["A12"].high < 0.5:
        verdict = "supported"
    return claim_of(
        "C4",
        "The gain is dark knowledge: it needs what the teacher says of the other classes, example by example.",
        verdict,
        [*wrong.values(), *shares.values()],
        "supported: neither A9a nor A11 lies above labels and φ(A12) lies below 0.5 (small n); refuted: φ(A7) or φ(A10a) "
        "lies above 0.8; else inconclusive",
        setting_of(results, small_words(results)),
        undefined(shares["A12"]),
    )


def hard_answers_do_not_suffice(results: CellResults, _: ClosedFormResults) -> Claim:
    need(results.has("A0", "A1", "A13", regime=FRESH), "--regimes fresh")
    labels, kd, hard = (results.small_accuracy(arm, FRESH) for arm in ("A0", "A1", "A13"))
    share = shares_explained({"φ(A13), hard teacher labels": hard}, labels, kd)["φ(A13), hard teacher labels"]
    same = equivalent(hard - kd, MARGIN, name="accuracy, hard − soft teacher labels")
    verdict: Verdict = "inconclusive"
    if share.known and share.high < 0.2:
        verdict = "supported"
    elif same.equivalent or (share.known and share.low > 0.8):
        verdict = "refuted"
    return claim_of(
        "C5",
        "The teacher's hard answers do not suffice.",
        verdict,
        [share, same.estimate],
        f"fresh examples, small n: supported: φ(A13) lies below 0.2; refuted: A13 is within ±{MARGIN:g} of A1 (two one-sided "
        "tests) or φ(A13) lies above 0.8; else inconclusive",
        setting_of(results, f"teacher on one half, students on the other, {small_words(results)}"),
        undefined(share),
    )


def information_about_more_data(results: CellResults, _: ClosedFormResults) -> Claim:
    need(results.has("A1", regime=SAME_N), "--regimes same-n")
    values = results.small_gain("A1", regime=SAME_N)
    gain = mean_over_runs(values, "gain, teacher of the same n")
    main = mean_over_runs(results.small_gain("A1"), "gain, teacher of all N")
    verdict: Verdict = "inconclusive"
    same = equivalent(values, MARGIN).equivalent
    if side(main) > 0 and (same or side(gain) < 0):
        verdict = "supported"
    elif side(gain) > 0 and not same:
        verdict = "refuted"
    return claim_of(
        "C10",
        "The gain is information about more data, not regularization.",
        verdict,
        [gain, main],
        f"small n; supported: the gain from all N is above 0, that from a teacher of the same n examples within ±{MARGIN:g} (two "
        "one-sided tests) or below 0; refuted: the latter lies above 0; else inconclusive",
        setting_of(results, small_words(results)),
    )


def variance_of_noisy_labels(results: CellResults, closed: ClosedFormResults) -> Claim:
    noises = [x for x in results.design.noises if results.has("A0", "A1", regime=noisy(x))]
    need(bool(noises), "--regimes noise")
    noise = max(noises)
    extra = paired_difference(
        results.small_gain("A1", regime=noisy(noise)),
        results.small_gain("A1"),
        f"gain, {noise:.0%} wrong labels − none",
    )
    plain = mean_over_runs(results.small_gain("A1"), "gain, no wrong labels")
    worst = closed.linear_theory
    assert worst is not None
    verdict: Verdict = "inconclusive"
    if side(plain) > 0:
        verdict = "refuted"
    elif worst.high <= 0.05 and side(extra) > 0 and equivalent(results.small_gain("A1"), MARGIN).equivalent:
        verdict = "supported"
    note = ""
    if side(plain) > 0 and side(extra) > 0:
        note = (
            "Noise adds to the gain as the theory of variance says, but there is a gain without it: variance is a part."
        )
    return claim_of(
        "C11",
        "The gain is the variance that noisy labels cause.",
        verdict,
        [worst, extra, plain],
        "supported: simulated linear students are within 5 % of the closed form, wrong labels add to the gain at small n, and "
        f"without them there is none (within ±{MARGIN:g}); refuted: there is a gain without wrong labels; else inconclusive",
        setting_of(results, small_words(results)),
        note,
    )


def features(results: CellResults, closed: ClosedFormResults) -> Claim:
    need(closed.judged, "--kernels (at least the small sizes)")
    kernel, probe, end = closed.kernel_gain, closed.probe_gain, closed.end_to_end
    share = shares_explained({"kernel": kernel}, np.zeros_like(end), end)["kernel"]
    by_probe = shares_explained({"probe": probe}, np.zeros_like(end), end)["probe"]
    verdict: Verdict = "inconclusive"
    if share.known and share.low > 0.8:
        verdict = "refuted"
    elif share.known and by_probe.low > 0.8 and share.high < 0.8:
        verdict = "supported"
    evidence = [
        named(by_probe, "share of the gain in a probe of the features"),
        named(share, "share of the gain of a kernel student"),
        mean_over_runs(end, "gain, end to end"),
        mean_over_runs(probe, "gain of the probe"),
        mean_over_runs(kernel, "gain of the kernel student"),
    ]
    return claim_of(
        "C12",
        "What the teacher gives are features.",
        verdict,
        evidence,
        "small n; gains over labels of: the student, a logistic probe of its last features fitted on the same n labels, and "
        "kernel ridge regression on the teacher's logits, which has no features to learn. Supported: the probe has more than "
        "0.8 of the student's gain and the kernel student less; refuted: the kernel student has more than 0.8; else "
        "inconclusive",
        setting_of(
            results, "n = " + ", ".join(f"{n:,}" for n, small in zip(closed.sizes, closed.small, strict=True) if small)
        ),
        undefined(share),
    )


def not_augmented_views(results: CellResults, _: ClosedFormResults) -> Claim:
    need(results.has("A1", regime=CROP_FIXED), "--regimes augment (images)")
    fixed = mean_over_runs(results.small_gain("A1", regime=CROP_FIXED), "gain with crops, fixed targets")
    asked = mean_over_runs(results.small_gain("A1", regime=CROP), "gain with crops, asked about every view")
    share = shares_explained(
        {"fixed": results.small_gain("A1", regime=CROP_FIXED)},
        np.zeros(len(results.seeds)),
        results.small_gain("A1", regime=CROP),
    )["fixed"]
    verdicts: dict[int, Verdict] = {1: "supported", -1: "refuted", 0: "inconclusive"}
    verdict = verdicts[side(fixed)]
    if verdict == "inconclusive" and equivalent(results.small_gain("A1", regime=CROP_FIXED), MARGIN).equivalent:
        verdict = "refuted"
    return claim_of(
        "C13",
        "The gain is not that of asking the teacher about augmented views.",
        verdict,
        [fixed, asked, named(share, "share of the gain with fixed targets")],
        f"small n; supported: with crops and fixed targets the gain lies above 0; refuted: it lies below 0 or within ±{MARGIN:g} (two "
        "one-sided tests); else inconclusive",
        setting_of(results, small_words(results)),
    )
