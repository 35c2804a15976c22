"""Every check catches the fault that it is for, and sound pairs raise no warning.

The full table is in docs/guides/diagnose-validation.md.
"""

import numpy as np
import pytest

from disobey.diagnosis.checks import alignment, confidence, distillation, numbers, outcome
from disobey.diagnosis.diagnose import CHECKS, diagnose, judged
from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.input.pair import pair_from
from disobey.records.results import Finding
from tests.support import reference_pairs as pairs


def _warned(arrays, checks=CHECKS):
    return {f.id: f for f in judged(gather(pair_from(arrays)), checks) if f.status == "warning"}


def _check_of(id):
    """The check whose findings have this id, so that a fault is not looked for by all of them."""
    home = {"test-size": "large_enough"}.get(id, id.replace("-", "_"))
    return [check for check in CHECKS if check.__name__ == home]


@pytest.mark.parametrize("fault", pairs.FAULTS, ids=lambda f: f.__name__)
def test_planted_faults_are_caught(fault):
    id = pairs.FAULTS[fault]
    checks = _check_of(id)
    assert checks, id
    found = _warned(fault(1), checks)
    assert found[id].advice
    assert found[id].name == id.replace("-", " ")


@pytest.mark.parametrize("kind", pairs.KINDS)
def test_sound_pairs_raise_no_warning(kind):
    assert not _warned(pairs.clean(500, kind=kind))


@pytest.mark.slow
@pytest.mark.parametrize("fault", pairs.FAULTS, ids=lambda f: f.__name__)
def test_power(fault):
    id = pairs.FAULTS[fault]
    caught = sum(id in _warned(fault(seed), _check_of(id)) for seed in range(40))
    assert caught >= 38


@pytest.mark.slow
def test_false_alarms():
    """Eleven or twelve pairs of each of seventeen kinds."""
    alarms = {seed: found for seed in range(200) if (found := set(_warned(pairs.clean(seed))))}
    assert len(alarms) <= 2, alarms


def test_shift_is_found_with_its_sign():
    arrays = pairs.clean(3, kind="plain")
    moved = arrays | {"student": np.roll(arrays["student"], 17, axis=0)}
    finding = _warned(moved, [alignment.row_alignment])["row-alignment"]
    assert finding.case == "shifted"
    assert "-17 rows" in finding.message
    assert np.array_equal(np.roll(moved["student"], -17, axis=0), arrays["student"])


def test_permutation_is_named():
    arrays = pairs.clean(3, kind="plain")
    classes = arrays["teacher"].shape[1]
    names = np.array([f"class {i}" for i in range(classes)])
    order = np.arange(classes)
    order[[0, 1]] = [1, 0]
    finding = _warned(arrays | {"student": arrays["student"][:, order], "class_names": names}, [alignment.class_order])
    assert "class 0 → class 1" in finding["class-order"].message


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
    assert [(f.id, f.status, f.case) for f in first] == [(f.id, f.status, f.case) for f in second]


def test_seeds_tell_an_effect_from_seed_variation():
    """One student happens to be closer to the teacher than one twin; over seeds nothing remains. A real effect does."""
    rng = np.random.default_rng(2)
    z = 2 * rng.normal(size=(1500, 5))
    teacher = z + 0.5 * rng.normal(size=z.shape)

    def seeds(name, centre, scales):
        return {f"{name}/seed{i}": centre + scale * rng.normal(size=z.shape) for i, scale in enumerate(scales)}

    chance = {"teacher": teacher} | seeds("student", z, (0.4, 1.2, 0.9, 1.3)) | seeds("twin", z, (1.2, 0.4, 1.3, 0.9))
    finding = _visible(chance)
    assert (finding.status, finding.case) == ("warning", "no-effect")  # of all students beside all controls
    assert _visible(
        {n.removesuffix("/seed0"): a for n, a in chance.items() if "seed" not in n or "seed0" in n}
    ).case != ("no-effect"), "the first of each alone"
    assert finding.estimate(distillation.CORRELATION.name).n == 4
    assert finding.headline in diagnose(pair_from(chance)).summary
    real = {"teacher": teacher} | seeds("student", teacher, (0.5, 0.7, 0.6)) | seeds("twin", z, (0.5, 0.7, 0.6))
    finding = _visible(real)
    assert (finding.status, finding.case) == ("ok", "effect")
    assert finding.evidence[-1].over == "runs"
    fewer = {name: array for name, array in chance.items() if name != "twin/seed3"}
    assert distillation.closer_over_seeds(gather(pair_from(fewer))).low < 0


def _visible(arrays, **options):
    return judged(gather(pair_from(arrays, **options)), [distillation.distillation_visible])[0]


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
    found = judged(gather(pair_from(arrays)), [numbers.stated_values, confidence.plausible_teacher])
    assert [(f.status, f.case) for f in found] == [("note", "flat"), ("note", "noisy-labels")]
    sharp = arrays | {"twin": arrays["twin"] + 5 * np.eye(10)[arrays["labels"]]}
    assert "plausible-teacher" in _warned(sharp, [confidence.plausible_teacher])


def test_seeds_of_another_teacher_are_found():
    rng = np.random.default_rng(0)
    z = 2 * rng.normal(size=(800, 5))
    own, other = (z + rng.normal(size=z.shape) for _ in range(2))
    taught = {f"student/seed{i}": own + 0.3 * rng.normal(size=z.shape) for i in range(4)}
    assert not _warned({"teacher": own, **taught}, [distillation.same_teacher])
    mixed = taught | {f"student/seed{i}": other + 0.3 * rng.normal(size=z.shape) for i in (1, 2, 3)}
    assert "student/seed0" in _warned({"teacher": own, **mixed}, [distillation.same_teacher])["same-teacher"].message


def test_a_twin_with_other_wrong_labels_is_found():
    """Undistilled, and nearer to the teacher than its twin only because both were taught the same errors."""
    arrays = pairs.other_labels(0)
    found = judged(gather(pair_from(arrays)), [distillation.same_labels, distillation.distillation_visible])
    assert found[0].status == "warning"
    assert found[1].status != "warning"  # what closeness alone says
    same = arrays | {"twin": arrays["student"] + 0.3 * np.random.default_rng(0).normal(size=arrays["student"].shape)}
    assert judged(gather(pair_from(same)), [distillation.same_labels])[0].status == "ok"
    # On examples that nobody trained on the flags mean nothing, and nothing is claimed.
    elsewhere = arrays | {"mislabelled": np.random.default_rng(0).permutation(arrays["mislabelled"])}
    assert judged(gather(pair_from(elsewhere)), [distillation.same_labels])[0].status == "note"
    assert not judged(gather(pair_from(arrays | {"mislabelled": arrays["labels"] < 0})), [distillation.same_labels])


def test_noisy_labels_make_the_effect_conditional():
    """A teacher as flat as noise makes it: the verdict names the condition on the twin."""
    arrays = _noisy(0)
    finding = _visible(arrays)
    assert (finding.status, finding.case) == ("note", "noisy-labels")
    assert finding.headline in diagnose(pair_from(arrays)).summary
    on_train = pair_from(arrays, split="train")
    found = judged(gather(on_train), [distillation.distillation_visible, numbers.stated_values])
    assert found[0].status == "ok"  # there every model is right more often than it is confident
    assert found[1].case != "flat"
    plain = pairs.clean(3, kind="plain")
    assert _visible(plain).headline in diagnose(pair_from(plain)).summary
    assert _visible(plain).case == "effect"


def test_a_twin_that_is_closer_is_named_in_the_verdict():
    arrays = pairs.no_distillation(1)
    far = arrays | {"student": arrays["student"] + 2.0 * np.random.default_rng(0).normal(size=arrays["student"].shape)}
    assert (_visible(far).case, _visible(arrays).case) == ("further", "no-effect")
    assert _visible(far).headline in diagnose(pair_from(far)).summary


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
    finding = _visible(arrays | {"student": student})
    found = distillation.closeness(gather(pair_from(arrays | {"student": student})))
    (_, log_odds), (_, choices) = (found[m.name] for m in (distillation.CORRELATION, distillation.AGREEMENT))
    assert log_odds.high > 0 > choices.high, "at the level that decides"
    assert finding.status == "warning"
    assert (finding.case == "further") is further, "less than runs differ by their seeds is no further"
    assert (finding.headline.startswith("The student is further")) is further


def test_a_single_run_of_each_cannot_tell_distillation_from_seed_variation():
    """Students and twins of one kind, of which one student's training went a little better."""
    rng = np.random.default_rng([17, 0])
    z, y = pairs.world(rng, 4000, 10, 2.0)
    noise = {"teacher": 0.5, "student/0": 0.5} | dict.fromkeys(
        ["student/1", "student/2", "twin/0", "twin/1", "twin/2"], 0.6
    )
    seeds = {name: z + size * rng.normal(size=z.shape) for name, size in noise.items()} | {"labels": y}
    one = {"teacher": seeds["teacher"], "student": seeds["student/0"], "twin": seeds["twin/0"], "labels": y}
    finding = _visible(one)
    assert (finding.status, finding.case) == ("note", "seed-variation")
    assert 0 < finding.evidence[0].low < finding.evidence[0].value < distillation.SEED_VARIATION
    summary = diagnose(pair_from(one), checks=[distillation.distillation_visible]).summary
    assert summary.startswith(finding.headline)
    assert "three seeds" in finding.advice  # the next step
    assert "three seeds" in summary
    finding = _visible(seeds)
    assert (finding.status, finding.case) == ("note", "other-seeds")


def test_what_holds_over_seeds_but_changes_nothing_is_called_tiny():
    """Seed by seed the same noise, a fiftieth of it less in the students: certain, paired, and small."""
    rng = np.random.default_rng([17, 1])
    z, y = pairs.world(rng, 4000, 10, 2.0)
    arrays = {"teacher": z + 0.5 * rng.normal(size=z.shape), "labels": y}
    for seed in range(3):
        noise = 0.6 * rng.normal(size=z.shape)
        arrays |= {f"student/{seed}": z + 0.98 * noise, f"twin/{seed}": z + noise}
    finding = _visible(arrays)
    assert (finding.status, finding.case) == ("note", "tiny")


def test_a_student_far_below_its_teacher_is_told_to_train_first():
    arrays = pairs.no_distillation(2)
    lazy = arrays["student"] + 3 * np.random.default_rng(0).normal(size=arrays["student"].shape)
    finding = _visible(arrays | {"student": lazy})
    assert finding.status == "warning"
    assert finding.advice.startswith("Train the student longer")


@pytest.mark.parametrize("n", [2, 5, 40])
def test_a_handful_of_examples_shows_nothing_and_says_so(n):
    arrays = {name: array[:n] for name, array in pairs.no_distillation(1).items()}
    finding = _visible(arrays)
    assert (finding.status, finding.case) == ("note", "few-examples")
    assert diagnose(pair_from(arrays)).summary


def test_without_a_twin_the_verdict_ends_with_the_twin_to_train():
    result = diagnose(pair_from(pairs.clean(3, kind="no twin")))
    assert next(f for f in result.of(Finding) if f.id == distillation.ID).case == "no-control"
    assert result.summary.endswith("and save it as 'twin'.")


def test_equal_accuracy_is_called_equal():
    arrays = pairs.clean(3, kind="no twin")
    student = np.sinh(0.3 * arrays["teacher"])  # another model that is right on the same examples
    finding = outcome.capacity_gap(gather(pair_from(arrays | {"student": student})))
    assert "as accurate as" in finding.headline
    assert "within chance" in finding.headline
    assert finding.headline in diagnose(pair_from(arrays | {"student": student})).summary


@pytest.mark.parametrize("k", [0.25, 4.0])
def test_a_twin_on_another_scale_makes_no_effect(k):
    """A twin at another temperature correlates less with the teacher; such a student still shows what it learned."""
    for arrays in map(pairs.no_distillation, range(4)):
        found = _visible(arrays | {"twin": arrays["twin"] / k})
        assert found.status == "warning"
        assert found.evidence[0].name == distillation.ON_ONE_SCALE
    distilled = pairs.clean(3, kind="plain")
    assert _visible(distilled | {"student": distilled["student"] / k}).status == "ok"


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
    assert found["constant-rows"].invalidates
    assert "row-alignment" not in found
    message = found["constant-rows"].message
    assert message[:1].lower() + message[1:].rstrip(".") in diagnose(pair_from(arrays)).summary
