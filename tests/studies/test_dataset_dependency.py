"""`dataset-dependency`: its settings, its properties against what is planted, and findings with planted gains."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from disobey.data.dataset import DataSpec
from disobey.data.load import load
from disobey.studies.dataset_dependency.claims import CLAIMS, Scope
from disobey.studies.dataset_dependency.findings import FACTORS, Findings
from disobey.studies.dataset_dependency.properties import (
    DIMENSION,
    ENTROPY,
    GAP,
    NOISE,
    PER_CLASS,
    PROPERTIES,
    SIMILARITY,
    SLOPE,
    input_properties,
    label_properties,
    teacher_properties,
)
from disobey.studies.dataset_dependency.settings import IMAGES, PLANTED, TEXTS, Setting, planted_settings, resampled
from disobey.studies.dataset_dependency.study import DatasetDependency, Families
from disobey.studies.dataset_dependency.theory import one_step
from disobey.studies.kit.claims import judge
from tests.support.refusals import refuses

# settings


def test_settings_of_the_generator_are_spread_over_all_factors_and_nested():
    settings = planted_settings(24)
    assert len({setting.data for setting in settings}) == 24
    assert planted_settings(10) == settings[:10]
    # scipy's scrambled points are the recipes' keys: another release that draws others would train everything again
    assert settings[0].label == "b=0.52, noise 30%, σ=0.593, D=40, slope 0.61, n=410"
    assert settings[23].label == "b=0.6, noise 1%, σ=0.567, D=24, slope 0.1, n=2,020"
    factors = np.array([[setting.factors[name] for name in FACTORS] for setting in settings])
    correlations = np.corrcoef(factors, rowvar=False) - np.eye(len(FACTORS))
    assert np.abs(correlations).max() < 0.45


def test_versions_of_a_data_set_differ_in_classes_labels_and_size():
    settings = resampled(DataSpec("digits-8x8"), "image", 1257, 10)
    assert len({setting.data for setting in settings}) == len(settings) == len(IMAGES)
    assert {setting.family for setting in settings} == {"digits-8x8"}
    assert len(resampled(DataSpec("languages"), "text", 4000, 9)) == len(TEXTS)
    few = resampled(DataSpec("x"), "image", 500, 4)
    assert not any(setting.data.name.startswith(("similar:", "distinct:", "merged:")) for setting in few)


def test_student_and_control_share_everything_but_the_targets():
    for arm in DatasetDependency.smoke().arms:
        assert arm.control is not None
        assert arm.teacher is not None
        assert arm.control.targets != arm.recipe.targets
        assert replace(arm.recipe, targets=arm.control.targets, teacher=None, name="control") == arm.control
        assert arm.teacher.replica != arm.control.replica


def test_what_cannot_be_compared_is_refused():
    with refuses("same-data-twice"):
        Families(("digits-8x8", "digits-8x8"))
    with refuses("bad-seeds"):
        Families(seeds=(1, 1))
    with refuses("nothing-to-compare"):
        DatasetDependency(Families(()), generated=0)
    with refuses("few-classes", "2"):
        DatasetDependency(Families(("synthetic:overlap#classes=2",)), generated=0).plan()
    with refuses("change-masks"):
        load(DataSpec("similar:scenes"), 0)


def test_smoke(ran, says):
    study, records = ran(DatasetDependency.smoke())
    says(study, records, {"D0", "D1", "D2", "D3", "D4", "D7"})  # predictions need more data sets


# properties


def made(noise=0.0, **planted):
    options = {"examples": 4000, "classes": 10, "features": 32, "sigma": 0.25} | planted
    return load(DataSpec("synthetic:planted#" + ",".join(f"{k}={v}" for k, v in options.items()), noise=noise), 0)


def similarities(**options):
    return np.array([label_properties(made(similarity=b, **options))[SIMILARITY] for b in (0.0, 0.4, 0.8)])


def test_planted_similarity_is_recovered_where_noise_is_small_and_its_order_elsewhere():
    assert similarities(sigma=0.05) == pytest.approx([0.0, 0.4, 0.8], abs=0.1)
    large = similarities(sigma=0.25)  # noise in the scores looks like similarity
    assert np.all(np.diff(large) > 0.05)
    assert similarities(sigma=0.25, noise=0.4) == pytest.approx(large, abs=0.08)


def test_planted_label_noise_is_recovered():
    found = [label_properties(made(noise, similarity=0.3))[NOISE] for noise in (0.0, 0.2, 0.4)]
    assert found == pytest.approx([0.0, 0.2, 0.4], abs=0.08)
    assert label_properties(made())[PER_CLASS] == pytest.approx(np.log(200))


def test_dimension_and_slope_of_planted_noise_are_recovered():
    alone = {"examples": 6000, "classes": 3, "sigma": 20.0}  # classes are lost in the noise
    # each number is scaled to deviation 1, as for networks, which turns the spectrum a little
    flat, steep = (input_properties(made(slope=slope, **alone)) for slope in (0.0, 1.5))
    assert flat[DIMENSION] == pytest.approx(np.log(32), abs=0.1)
    values = np.arange(1, 33) ** -1.5
    assert steep[DIMENSION] == pytest.approx(np.log(values.sum() ** 2 / (values**2).sum()), abs=0.4)
    assert (flat[SLOPE], steep[SLOPE]) == pytest.approx((0.0, 1.5), abs=0.25)


class Teacher:
    """Sure of every training example, and right in all; unsure of validation examples."""

    def __init__(self):
        self.examples = {"train.given": np.arange(6) % 3}
        self.summary = {"validation_accuracy": 0.25}

    def log_probs(self, split, step=None):
        sure = np.eye(3)[np.arange(6) % 3] * 50
        return sure - 50 if split == "train" else np.full((6, 3), -np.log(3))


def test_a_teacher_that_remembers_has_a_gap_and_an_unsure_one_full_entropy():
    assert teacher_properties(cast(Any, Teacher())) == pytest.approx({ENTROPY: 1.0, GAP: 0.75})


# findings


def planted_findings(gain, *, noise=0.002, seeds=5, deviation=None):
    """Settings of four families with random properties, and gains (or deviations) that follow them as asked."""
    rng = np.random.default_rng(0)
    settings = planted_settings(24)
    for name in ("one", "two", "three"):
        for i in range(12):
            factors = {"label noise": (0.0, 0.2, 0.4)[i % 3]}
            settings.append(Setting(f"{name} {i}", name, DataSpec(f"{name}{i}"), factors))
    known = rng.normal(size=(len(settings), len(PROPERTIES)))
    labels = np.array([setting.factors["label noise"] for setting in settings])
    similar = [s.factors.get("similarity", 0.0) for s in settings]
    known[:, PROPERTIES.index(NOISE)] = labels + 0.02 * rng.normal(size=len(labels))
    known[:24, PROPERTIES.index(SIMILARITY)] = similar[:24]

    def read(name):
        column = known[:, PROPERTIES.index(name)]
        return (column - column.mean()) / column.std()

    def seeded(values):
        return np.asarray(values)[:, None] + noise * rng.normal(size=(len(settings), seeds))

    zero = np.zeros(len(settings))
    return Findings(settings, seeded(zero + gain(read)), seeded(zero + (deviation(read) if deviation else 0)), known)


def words(findings):
    return {claim.name: claim.verdict for claim in judge(CLAIMS, findings, [Scope("planted")]).claims}


def test_gains_that_follow_similarity_and_noise_are_found_and_predicted():
    found = planted_findings(lambda read: 0.03 * read(SIMILARITY) + 0.02 * read(NOISE))
    assert {words(found)[id] for id in ("D1", "D2", "D3", "D4", "D5", "D6")} == {"supported"}
    assert found.families[PLANTED] == list(range(24))


def test_gains_that_fall_are_contradicted():
    found = planted_findings(lambda read: -0.03 * read(SIMILARITY) - 0.02 * read(NOISE))
    assert {words(found)[id] for id in ("D1", "D2", "D3", "D4")} == {"contradicted"}


def test_gains_without_a_reason_are_not_predicted_better_than_by_their_mean():
    found = planted_findings(lambda _: 0.0, noise=0.02)
    said = words(found)
    assert all(said[id] != "supported" for id in ("D1", "D2", "D3", "D4", "D5", "D6"))
    assert found.advantage(found.left_out, "x").value < 0.001


def test_a_deviation_that_follows_the_teachers_gap_is_found():
    found = planted_findings(lambda _: 0.0, deviation=lambda read: -0.3 * read(GAP))
    assert words(found)["D7"] == "supported"


def test_predictions_never_see_the_family_that_they_are_for():
    found = planted_findings(lambda read: 0.01 * read(SIMILARITY))
    rows = found.families["two"]
    gains = found.gains.copy()
    gains[rows] += 1.0
    other = replace(found, gains=gains)
    np.testing.assert_array_equal(found.left_out[:, rows], other.left_out[:, rows])
    np.testing.assert_array_equal(found.from_planted, other.from_planted)
    assert found.left_out[1, rows] == pytest.approx(np.delete(found.gain, rows).mean())


def test_with_too_few_settings_claims_wait():
    whole = planted_findings(lambda read: 0.01 * read(SIMILARITY))
    few = Findings(whole.settings[:5], whole.gains[:5], whole.deviations[:5], whole.properties[:5])
    assert few.fits["planted"] is None
    assert np.isnan(few.left_out).all()
    assert not {"D1", "D3", "D5", "D6"} & set(words(few))


# the case with a known answer


def test_students_of_one_step_follow_the_closed_form():
    step = one_step(3)
    assert step.rise().low > 0
    assert step.without().high < 0
    assert step.log_ratio[-1].mean() > 0
    np.testing.assert_allclose(step.log_ratio.mean(axis=1), step.predicted, atol=0.15)
