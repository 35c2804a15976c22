"""Every check catches the fault that it is for, and sound pairs raise no warning. The full table is in docs/diagnose.md."""

import numpy as np
import pytest

from disobey.diagnosis.checks import alignment, confidence, numbers, outcome
from disobey.diagnosis.diagnose import CHECKS, diagnose, judged
from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.input.pair import pair_from
from tests.support import reference_pairs as pairs


def _warned(arrays, checks=CHECKS):
    return {f.name: f for f in judged(gather(pair_from(arrays)), checks) if f.status == "warning"}


def _check_named(name):
    """The check whose findings have this name, so that a fault is not looked for by all of them."""
    home = {"test size": "large_enough"}.get(name, name.replace(" ", "_"))
    return [check for check in CHECKS if check.__name__ == home]


@pytest.mark.parametrize("fault", pairs.FAULTS, ids=lambda f: f.__name__)
def test_planted_faults_are_caught(fault):
    name = pairs.FAULTS[fault]
    checks = _check_named(name)
    assert checks, name
    found = _warned(fault(1), checks)
    assert name in found
    assert found[name].advice


@pytest.mark.parametrize("kind", pairs.KINDS)
def test_sound_pairs_raise_no_warning(kind):
    assert not _warned(pairs.clean(500, kind=kind))


@pytest.mark.slow
@pytest.mark.parametrize("fault", pairs.FAULTS, ids=lambda f: f.__name__)
def test_power(fault):
    name = pairs.FAULTS[fault]
    caught = sum(name in _warned(fault(seed), _check_named(name)) for seed in range(40))
    assert caught >= 38


@pytest.mark.slow
def test_false_alarms():
    """Twelve or thirteen pairs of each of sixteen kinds."""
    alarms = {seed: found for seed in range(200) if (found := set(_warned(pairs.clean(seed))))}
    assert len(alarms) <= 2, alarms


def test_shift_is_found_with_its_sign():
    arrays = pairs.clean(3, kind="plain")
    moved = arrays | {"student": np.roll(arrays["student"], 17, axis=0)}
    finding = _warned(moved, [alignment.row_alignment])["row alignment"]
    assert "-17 rows" in finding.message
    assert np.array_equal(np.roll(moved["student"], -17, axis=0), arrays["student"])


def test_permutation_is_named():
    arrays = pairs.clean(3, kind="plain")
    classes = arrays["teacher"].shape[1]
    names = np.array([f"class {i}" for i in range(classes)])
    order = np.arange(classes)
    order[[0, 1]] = [1, 0]
    finding = _warned(arrays | {"student": arrays["student"][:, order], "class_names": names}, [alignment.class_order])
    assert "class 0 → class 1" in finding["class order"].message


def test_duplicates_of_one_side_only_are_no_fault():
    """A tree gives the same answer often; its student does not."""
    arrays = pairs.clean(1, kind="plain")
    flat = arrays | {"teacher": arrays["teacher"].round(-1)}
    assert numbers.duplicated_rows(gather(pair_from(flat))).status == "ok"


def test_findings_do_not_depend_on_the_order_of_classes():
    arrays = pairs.clean(2, kind="plain")
    order = np.random.default_rng(0).permutation(arrays["teacher"].shape[1])
    place = np.argsort(order)
    other = {n: a[:, order] if a.ndim == 2 else place[a] for n, a in arrays.items()}
    first, second = (judged(gather(pair_from(a))) for a in (arrays, other))
    assert [(f.name, f.status) for f in first] == [(f.name, f.status) for f in second]


def test_seeds_say_whether_a_mark_is_luck():
    """One student happens to be nearer to the teacher than one twin; over seeds nothing is left. And a real mark stays."""
    rng = np.random.default_rng(2)
    z = 2 * rng.normal(size=(1500, 5))
    teacher = z + 0.5 * rng.normal(size=z.shape)

    def seeds(name, centre, scales):
        return {f"{name}/seed{i}": centre + scale * rng.normal(size=z.shape) for i, scale in enumerate(scales)}

    luck = {"teacher": teacher} | seeds("student", z, (0.4, 1.2, 0.9, 1.3)) | seeds("twin", z, (1.2, 0.4, 1.3, 0.9))
    finding = judged(gather(pair_from(luck)), [outcome.distillation_visible])[0]
    assert finding.status == "note"
    assert "Over 4 seeds" in finding.message
    assert "other seeds could show nothing" in diagnose(pair_from(luck)).summary
    real = {"teacher": teacher} | seeds("student", teacher, (0.5, 0.7, 0.6)) | seeds("twin", z, (0.5, 0.7, 0.6))
    finding = judged(gather(pair_from(real)), [outcome.distillation_visible])[0]
    assert finding.status == "ok"
    assert finding.evidence[-1].over == "runs"
    fewer = {name: array for name, array in luck.items() if name != "twin/seed3"}
    assert outcome.closer_over_seeds(gather(pair_from(fewer))).low < 0


def _noisy(seed, n=1500, noise=0.5):
    """Teacher, student and twin that learned labels of which half are wrong: flat, and rightly so."""
    rng = np.random.default_rng(seed)
    z = 4 * rng.normal(size=(n, 10))
    labels = z.argmax(axis=1)

    def model(scale):
        p = np.exp(z + scale * rng.normal(size=z.shape))
        return np.log((1 - noise) * p / p.sum(axis=1, keepdims=True) + noise / 10)

    teacher = model(0.5)
    student = teacher + 0.1 * rng.normal(size=z.shape)
    return {"teacher": teacher, "student": student, "twin": model(0.5), "labels": labels}


def test_noisy_training_labels_are_no_temperature():
    """The twin is as flat as the teacher, which it never saw."""
    arrays = _noisy(0)
    by_name = {
        f.name: f for f in judged(gather(pair_from(arrays)), [numbers.stated_values, confidence.plausible_teacher])
    }
    assert [f.status for f in by_name.values()] == ["note", "note"]
    assert "smoothed training labels" in by_name["stated values"].message
    sharp = arrays | {"twin": arrays["twin"] + 5 * np.eye(10)[arrays["labels"]]}
    assert "plausible teacher" in _warned(sharp, [confidence.plausible_teacher])


def test_seeds_of_another_teacher_are_found():
    rng = np.random.default_rng(0)
    z = 2 * rng.normal(size=(800, 5))
    own, other = (z + rng.normal(size=z.shape) for _ in range(2))
    taught = {f"student/seed{i}": own + 0.3 * rng.normal(size=z.shape) for i in range(4)}
    assert not _warned({"teacher": own, **taught}, [outcome.same_teacher])
    mixed = taught | {f"student/seed{i}": other + 0.3 * rng.normal(size=z.shape) for i in (1, 2, 3)}
    assert "student/seed0" in _warned({"teacher": own, **mixed}, [outcome.same_teacher])["same teacher"].message


def test_a_twin_with_other_wrong_labels_is_found():
    """Undistilled, and nearer to the teacher than its twin only because both were taught the same errors."""
    arrays = pairs.other_labels(0)
    found = {f.name: f for f in judged(gather(pair_from(arrays)), [outcome.same_labels, outcome.distillation_visible])}
    assert found["distillation visible"].status != "warning"  # what closeness alone says
    assert found["same labels"].status == "warning"
    same = arrays | {"twin": arrays["student"] + 0.3 * np.random.default_rng(0).normal(size=arrays["student"].shape)}
    assert judged(gather(pair_from(same)), [outcome.same_labels])[0].status == "ok"
    # On examples that nobody trained on the flags mean nothing, and nothing is claimed.
    elsewhere = arrays | {"mislabelled": np.random.default_rng(0).permutation(arrays["mislabelled"])}
    assert judged(gather(pair_from(elsewhere)), [outcome.same_labels])[0].status == "note"
    assert not judged(gather(pair_from(arrays | {"mislabelled": arrays["labels"] < 0})), [outcome.same_labels])


def test_noisy_labels_make_the_mark_conditional():
    """A teacher as flat as noise makes it: the verdict names the condition on the twin."""
    arrays = _noisy(0)
    finding = judged(gather(pair_from(arrays)), [outcome.distillation_visible])[0]
    assert finding.status == "note"
    assert "their errors included" in finding.message
    assert diagnose(pair_from(arrays)).summary.startswith("If the twin was trained on the same labels, their")
    on_train = judged(gather(pair_from(arrays, split="train")), [outcome.distillation_visible, numbers.stated_values])
    assert on_train[0].status == "ok"  # there every model is right more often than it says
    assert "flat" not in on_train[1].message
    plain = pairs.clean(3, kind="plain")
    assert diagnose(pair_from(plain)).summary.startswith("Distillation left its mark")


def test_a_twin_that_is_closer_is_named_in_the_verdict():
    arrays = pairs.no_distillation(1)
    far = arrays | {"student": arrays["student"] + 2.0 * np.random.default_rng(0).normal(size=arrays["student"].shape)}
    assert diagnose(pair_from(far)).summary.startswith("The student is further from this teacher than a twin")
    assert diagnose(pair_from(arrays)).summary.startswith("This teacher left no visible mark")


@pytest.mark.parametrize(("width", "further"), [(0.6, False), (0.8, True)])
def test_a_student_that_only_agrees_less_is_further_in_finding_and_verdict(width, further):
    """Verdict and finding are one: noise that changes choices more than log-odds was "further" in one of them only."""
    arrays = pairs.no_distillation(1)
    student = arrays["student"].copy()
    best = np.argsort(student, axis=1)[:, -2:]
    second, first = (np.take_along_axis(student, best[:, [i]], axis=1) for i in (0, 1))
    close = (first - second).ravel() < width
    np.put_along_axis(
        student, best, np.where(close[:, None], np.hstack([first, second]), np.hstack([second, first])), axis=1
    )
    result = diagnose(pair_from(arrays | {"student": student}), checks=[outcome.distillation_visible])
    finding = result.blocks[0]
    log_odds, choices = finding.evidence
    assert log_odds.high > 0 > choices.high
    assert finding.status == "warning"
    assert ("further" in finding.message) is further, "less than trainings differ by luck is no further"
    assert result.summary.startswith("The student is further") is further


def test_one_training_of_each_cannot_tell_distillation_from_luck():
    """Students and twins of one kind, of which one student's training went a little better."""
    rng = np.random.default_rng([17, 0])
    z, y = pairs.world(rng, 4000, 10, 2.0)
    noise = {"teacher": 0.5, "student/0": 0.5} | dict.fromkeys(
        ["student/1", "student/2", "twin/0", "twin/1", "twin/2"], 0.6
    )
    seeds = {name: z + size * rng.normal(size=z.shape) for name, size in noise.items()} | {"labels": y}
    one = {"teacher": seeds["teacher"], "student": seeds["student/0"], "twin": seeds["twin/0"], "labels": y}
    result = diagnose(pair_from(one), checks=[outcome.distillation_visible])
    finding = result.blocks[0]
    assert finding.status == "note"
    assert 0 < finding.evidence[0].low < finding.evidence[0].value < outcome.LUCK
    assert "luck" in finding.message
    assert "cannot tell that from luck" in result.summary
    assert "three seeds" in result.summary
    result = diagnose(pair_from(seeds), checks=[outcome.distillation_visible])
    assert result.blocks[0].status == "note"
    assert "other seeds could show nothing" in result.summary


def test_what_holds_over_seeds_but_changes_nothing_is_called_tiny():
    """Seed by seed the same luck, a fiftieth of it less in the students: sure, paired, and small."""
    rng = np.random.default_rng([17, 1])
    z, y = pairs.world(rng, 4000, 10, 2.0)
    arrays = {"teacher": z + 0.5 * rng.normal(size=z.shape), "labels": y}
    for seed in range(3):
        luck = 0.6 * rng.normal(size=z.shape)
        arrays |= {f"student/{seed}": z + 0.98 * luck, f"twin/{seed}": z + luck}
    result = diagnose(pair_from(arrays), checks=[outcome.distillation_visible])
    assert result.blocks[0].status == "note"
    assert "tiny" in result.blocks[0].message
    assert result.summary.startswith("Distillation left a mark, but a tiny one")


def test_a_student_far_below_its_teacher_is_told_to_train_first():
    arrays = pairs.no_distillation(2)
    lazy = arrays["student"] + 3 * np.random.default_rng(0).normal(size=arrays["student"].shape)
    finding = diagnose(pair_from(arrays | {"student": lazy}), checks=[outcome.distillation_visible]).blocks[0]
    assert finding.status == "warning"
    assert finding.advice.startswith("Train the student longer")


@pytest.mark.parametrize("n", [2, 5, 40])
def test_a_handful_of_examples_shows_nothing_and_says_so(n):
    arrays = {name: array[:n] for name, array in pairs.no_distillation(1).items()}
    result = diagnose(pair_from(arrays), checks=[outcome.distillation_visible])
    assert result.blocks[0].status == "note"
    assert result.summary.startswith("These examples are too few to see")


def test_without_a_twin_the_verdict_ends_with_the_twin_to_train():
    result = diagnose(pair_from(pairs.clean(3, kind="no twin")))
    assert result.summary.endswith("and save it as 'twin'.")


def test_equal_accuracy_is_called_equal():
    arrays = pairs.clean(3, kind="no twin")
    student = np.sinh(0.3 * arrays["teacher"])  # another model that is right on the same examples
    assert (
        "it is as accurate as the teacher, within chance" in diagnose(pair_from(arrays | {"student": student})).summary
    )


@pytest.mark.parametrize("k", [0.25, 4.0])
def test_a_twin_on_another_scale_makes_no_mark(k):
    """A twin that is only hotter or colder correlates less with the teacher; a student so still shows what it learned."""
    plain, seeds = [outcome.distillation_visible], range(4)
    for arrays in map(pairs.no_distillation, seeds):
        found = judged(gather(pair_from(arrays | {"twin": arrays["twin"] / k})), plain)[0]
        assert found.status == "warning"
        assert "on one scale" in found.evidence[0].name
    distilled = pairs.clean(3, kind="plain")
    assert judged(gather(pair_from(distilled | {"student": distilled["student"] / k})), plain)[0].status == "ok"


def test_errors_learned_on_training_examples_are_no_loss_yet():
    arrays = pairs.negative_transfer(1)
    assert [
        judged(gather(pair_from(arrays, split=split)), [outcome.negative_transfer])[0].status
        for split in ("test", "train")
    ] == ["warning", "note"]


def test_a_collapsed_student_is_named_as_such():
    """Rows that all say the same are not shuffled ones."""
    arrays = pairs.constant_student(1)
    found = _warned(arrays)
    assert "constant rows" in found
    assert "row alignment" not in found
    assert (
        "same class" in diagnose(pair_from(arrays)).summary
        or "same probabilities" in diagnose(pair_from(arrays)).summary
    )
