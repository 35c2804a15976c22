"""Claims about what in the teacher's predictions causes the gain, and what does not (C3 to C5, C10 to C13).

That an arm gains nothing is never concluded from an interval that holds 0, but from one that lies below half a point.
"""

from __future__ import annotations

from disobey.measures.inference.comparisons import ratio_over_runs
from disobey.measures.inference.runs import mean_over_runs
from disobey.studies.data_size.cells import CROP, CROP_FIXED, FRESH, IDS, KD, LABELS, SAME_N, noisy
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.data_size.shares import MARGIN, NO_GAIN, SMOOTHING, claim, share_below, share_of_gain, smoothings
from disobey.studies.kit.claims import Answer, Noted, Parts, Skip
from disobey.studies.kit.verdicts import POINTS, AllOf, Effect, below, gain, side

DESTROYING = ("permuted_each", "shuffled_within_class")  # arms without dark knowledge of each example
KEEPING = ("class_mean_with_confidence", "confidence_only", "class_mean")  # arms that keep a part of it
NOTHING_GAINED = below(MARGIN, unit=POINTS)


@claim(
    "C3",
    "Label smoothing does not explain the gain.",
    "{small}",
    AllOf(
        (
            (
                f"φ, the share of the gain, of each of {', '.join(IDS[arm] for arm in SMOOTHING)} "
                "(amounts chosen on validation)",
                share_below(0.1, wrong=0.5),
            ),
        )
    ),
)
def not_label_smoothing(results: CellResults) -> Answer:
    """φ of every form of label smoothing, the best on validation first."""
    shares = [share_of_gain(results, arm) for arm in smoothings(results)]
    return Parts([shares]) if shares else Skip("needs one of --arms " + " ".join(SMOOTHING))


@claim(
    "C4",
    "The gain is dark knowledge: it needs the teacher's predictions for the other classes, example by example.",
    "{small}",
    AllOf(
        (
            ("permuted (A9a) and shuffled (A11) predictions minus labels gain nothing", NOTHING_GAINED),
            ("φ of class means with confidence (A12)", share_below(0.5)),
            ("φ of confidence only (A7) and of class means (A10a)", share_below(0.8)),
        )
    ),
)
def dark_knowledge(results: CellResults) -> Answer:
    """Gains of arms that destroy dark knowledge, and shares of arms that keep a part of it."""
    if not results.has(*DESTROYING, *KEEPING):
        return Skip("needs --arms " + " ".join((*DESTROYING, *KEEPING)))
    gains = [
        results.accuracy_difference(f"accuracy, {results.design.arm(arm).text} − labels", arm, LABELS)
        for arm in DESTROYING
    ]
    both, *single = (share_of_gain(results, arm) for arm in KEEPING)
    return Parts([gains, [both], single])


@claim(
    "C5",
    "The teacher's predicted classes (hard labels) are not enough.",
    "teacher on one half, students on the other, {small}",
    AllOf(
        (
            ("φ of hard labels (A13)", share_below(0.2, wrong=0.8)),
            ("accuracy, hard minus soft teacher labels", below(0.0, margin=MARGIN, unit=POINTS)),
        )
    ),
)
def hard_labels_are_not_enough(results: CellResults) -> Answer:
    """φ of the teacher's argmax on examples that the teacher was not trained on."""
    if not results.has(LABELS, KD, "argmax", regime=FRESH):
        return Skip("needs --regimes fresh")
    labels, kd, hard = (results.small("accuracy", arm, regime=FRESH) for arm in (LABELS, KD, "argmax"))
    share = ratio_over_runs(hard - labels, kd - labels, "φ, hard teacher labels (A13)")
    return Parts([[share], [results.accuracy_difference("accuracy, hard − soft teacher labels", "argmax", KD, FRESH)]])


@claim(
    "C10",
    "The gain is information from more data, not regularization.",
    "{small}",
    AllOf(
        (
            ("gain from a teacher of all N examples", gain()),
            ("gain from a teacher of the same n examples is none", NOTHING_GAINED),
        )
    ),
)
def information_from_more_data(results: CellResults) -> Answer:
    """Gains by the teacher's number of training examples."""
    if not results.has(KD, regime=SAME_N):
        return Skip("needs --regimes same-n")
    same = results.mean_gain("gain, teacher of the same n", SAME_N)
    return Parts([[results.mean_gain("gain, teacher of all N")], [same]])


@claim(
    "C11",
    "The gain is due to the variance that noisy labels cause.",
    "{small}",
    AllOf(
        (
            ("relative error of the closed form for linear students", below(0.05)),
            ("gain with corrupted labels minus the gain without", gain()),
            ("gain without corrupted labels is none", NOTHING_GAINED),
        )
    ),
)
def variance_of_noisy_labels(results: CellResults) -> Answer:
    """Gains with and without corrupted labels, and a check of the theory for linear students."""
    noises = [noise for noise in results.design.noises if results.has(LABELS, KD, regime=noisy(noise))]
    theory = results.closed.linear_theory
    if not noises or theory is None:
        return Skip("needs --regimes noise")
    extra = results.added_gain(f"gain, {max(noises):.0%} corrupted labels − none", noisy(max(noises)))
    plain = results.mean_gain("gain, no corrupted labels")
    both = side(plain) > 0 and side(extra) > 0
    note = "Noise increases the gain as the theory predicts, but there is a gain without it: variance explains a part."
    return Parts([[theory], [extra], [plain]], note=note if both else "")


@claim(
    "C12",
    "The teacher transfers features.",
    "{closed}; gains over labels of the student, of a logistic probe of its last features fitted on the same n labels, "
    "and of kernel ridge regression on the teacher's logits, which learns no features",
    AllOf(
        (
            ("share of the gain in a probe of the features", Effect(1, 0.8, existence=True, undefined=NO_GAIN)),
            ("share of the gain of a kernel student", share_below(0.8)),
        )
    ),
)
def features(results: CellResults) -> Answer:
    """Shares of the student's gain that a probe and a kernel student have."""
    if not any(results.closed.small):
        return Skip("needs --kernels (at least the small sizes)")
    kernel, probe, network = map(results.closed.small_gain, ("laplace", "probe", "network"))
    by_probe = ratio_over_runs(probe, network, "share of the gain in a probe of the features")
    by_kernel = ratio_over_runs(kernel, network, "share of the gain of a kernel student")
    gains = {"gain, end to end": network, "gain of the probe": probe, "gain of the kernel student": kernel}
    return Parts([[by_probe], [by_kernel]], [mean_over_runs(values, name) for name, values in gains.items()])


@claim(
    "C13",
    "The gain does not come from querying the teacher on augmented views.",
    "{small}, random crops, the teacher's predictions for the plain image",
    gain(),
)
def not_augmented_views(results: CellResults) -> Answer:
    """Gains under augmentation, by what the teacher predicts."""
    if not results.has(KD, regime=CROP_FIXED):
        return Skip("needs --regimes augment (images)")
    fixed = results.mean_gain("gain with crops, fixed targets", CROP_FIXED)
    every = results.mean_gain("gain with crops, teacher queried on every view", CROP)
    whole, name = results.small_gain(CROP), "share of the gain with fixed targets"
    return Noted([fixed, every, ratio_over_runs(results.small_gain(CROP_FIXED), whole, name)], "")
