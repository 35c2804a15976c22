"""`teacher-choice`: its runs, planted rankings and winners, a user's own teachers."""

from dataclasses import replace

import numpy as np
import pytest

from disobey.data.dataset import DataSpec
from disobey.data.load import load
from disobey.measures.inference.comparisons import ratio_over_runs
from disobey.records.predictions import Predictions
from disobey.records.results import Claim, Table
from disobey.records.store import Store
from disobey.studies.forced_deviation.study import ForcedDeviation
from disobey.studies.kit.recommend import Candidate, recommend
from disobey.studies.kit.setup import Setup
from disobey.studies.teacher_choice import properties
from disobey.studies.teacher_choice.ranking import Ranking
from disobey.studies.teacher_choice.study import TeacherChoice
from disobey.theory.class_similarity import SimilarClasses
from disobey.theory.class_similarity_simulation import simulate_softmax_teacher
from disobey.theory.linear_flow import progress
from disobey.theory.linear_problems import RiskCase, power_law_spectrum
from disobey.theory.weak_to_strong import features, weak_to_strong
from disobey.training.execution.engine import run_all
from tests.support.refusals import refuses


def test_default_teachers_students_controls_and_ensembles_are_the_runs_of_forced_deviation():
    other = ForcedDeviation(teacher="mlp:64", student="mlp:16")
    shared = set(TeacherChoice(teacher="mlp:64", student="mlp:16").plan()) & set(other.plan())
    assert len(shared) == 2 * 5 * 4  # noise levels, seeds; teacher, plain student, control, ensemble's student


def test_students_of_a_cell_differ_in_teacher_targets_and_a_pilots_steps_only():
    (cell,) = TeacherChoice.smoke().cells()
    control = cell.control.recipe
    for (_, reading), arm in cell.students.items():
        recipe = arm.recipe
        assert (recipe.model, recipe.data, recipe.replica) == (control.model, control.data, control.replica)
        assert (recipe.optim == control.optim) == (reading != "pilot")


def test_smoke(ran, says):
    study, records = ran(TeacherChoice.smoke())
    names = {f"W{i}" for i in range(10)} | {f"P{i}" for i in range(1, 9)}
    says(study, records, names)


# planted rankings


def ranking(known, students):
    return Ranking(tuple(map(str, range(len(students)))), {"x": np.asarray(known, float)}, np.asarray(students, float))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_property_that_orders_the_students_is_found_and_costs_nothing_to_choose_by(sign):
    students = 0.9 + 0.01 * np.arange(5)[:, None] + 0.001 * np.random.default_rng(0).normal(size=(5, 6))
    found = ranking(sign * students, students)
    assert found.correlation("x").value == pytest.approx(sign)
    assert found.kendall("x").value == pytest.approx(sign)
    best, mean, worst = students.max(0), students.mean(0), students.min(0)
    chosen = best if sign > 0 else worst
    assert found.regret("x").value == pytest.approx((best - chosen).mean())
    assert found.over_random("x").value == pytest.approx((chosen - mean).mean())
    assert found.regret().value == pytest.approx((best - mean).mean())


def test_a_property_without_relation_is_as_good_as_choosing_at_random():
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(200):
        found = ranking(rng.normal(size=(9, 5)), rng.normal(size=(9, 5)))
        estimates = found.correlation("x"), found.over_random("x")
        inside.append([e.low <= 0 <= e.high for e in estimates])
    assert np.mean(inside) == pytest.approx(0.95, abs=0.03)


def test_what_does_not_vary_ranks_nothing():
    found = ranking(np.ones((5, 4)), np.random.default_rng(2).normal(size=(5, 4)))
    assert found.correlation("x").value == 0


def test_properties_see_what_is_planted():
    rng = np.random.default_rng(3)
    logits = 2 * rng.normal(size=(600, 4))
    labels = np.array([rng.choice(4, p=p) for p in np.exp(Predictions.from_logits(logits, logits).teacher)])

    def at(factor):
        return Predictions.from_logits(factor * logits, logits, labels)

    assert properties.calibration_error(at(3.0)) > properties.calibration_error(at(1.0)) + 0.05
    assert properties.nll(at(1.0)) < min(properties.nll(at(0.5)), properties.nll(at(2.0)))
    assert properties.entropy(at(0.5)) > properties.entropy(at(2.0))
    assert properties.entropy_shape(at(0.0)) == pytest.approx(0.25)
    assert properties.accuracy(at(1.0)) == properties.accuracy(at(5.0))
    inputs = rng.normal(size=(600, 5))
    smooth, kernel = Predictions.from_logits(inputs[:, :4], logits, labels), properties.kernel_of(inputs)
    assert properties.supervision_complexity(smooth, kernel) < properties.supervision_complexity(at(1.0), kernel)


# cases with a known right answer


def test_the_class_similarity_model_recommends_the_young_teacher():
    """Distillation denoises with a teacher after one step and no longer with one that memorized its sample."""
    model = SimilarClasses(360, 4, 100, 0.9, 0.2)
    ages = (1, 100, 1000)

    def snr(seed):
        found = simulate_softmax_teacher(model, seed, steps=ages, temperatures=(1.0,))
        return [found[0].one_hot, *(age.distilled[0] for age in found)]

    validation, test = (np.transpose([snr(seed + start) for seed in range(5)]) for start in (0, 50))
    names = ("labels alone", *(f"after {age} steps" for age in ages))
    rows = dict(zip(names, zip(validation, test, strict=True), strict=True))
    order = ("labels alone", "after 1000 steps", "after 1 steps", "after 100 steps")
    found = recommend([Candidate(name, (), *rows[name], plain=i < 2) for i, name in enumerate(order)])
    assert (found.chosen.name, found.kind) == ("after 1 steps", "leader")
    assert not found.undecided
    fitting = np.repeat(np.array([[-1.0], [-2.0], [-3.0]]), 5, axis=1)  # the less it has fitted, the better it teaches
    assert ranking(fitting, test[1:]).correlation("x").value == pytest.approx(1)


def test_the_gap_recovered_in_simulated_linear_models_is_the_exact_one():
    spectrum = power_law_spectrum(12, 1.5)
    case = RiskCase(spectrum, np.ones(12), 0.3, 40)
    weak, learned = features(case, 6), progress(spectrum, 30.0)
    exact = weak_to_strong(case, weak, learned, np.ones(12))
    rng = np.random.default_rng(4)

    def risks():
        found = []
        for _ in range(400):
            noise = rng.normal(size=12) * np.sqrt(case.noise_variance / case.examples / spectrum)
            models = weak, weak * learned, np.ones(12)
            found.append([spectrum @ (m * (case.signal + noise) - case.signal) ** 2 for m in models])
        return np.mean(found, axis=0)

    weak_risk, student, ceiling = np.transpose([risks() for _ in range(10)])
    ratio = ratio_over_runs(weak_risk - student, weak_risk - ceiling)
    assert abs(ratio.value - exact.recovered) < 3 * (ratio.high - ratio.low) / 2


# a user's own teachers


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Saved answers on digits: right and sure, right after shuffling classes, and a run's folder made of the first."""
    folder = tmp_path_factory.mktemp("answers")
    data = load(DataSpec("digits-8x8"), 0)
    right = {s: 4 * np.eye(10)[data.split(s).labels] for s in ("train", "validation")}
    np.savez(folder / "good.npz", train=right["train"], validation=right["validation"])
    wrong = {split: np.roll(rows, 1, axis=1) for split, rows in right.items()}
    np.savez(folder / "wrong.npz", train=wrong["train"], validation=wrong["validation"])
    (folder / "run" / "predictions").mkdir(parents=True)
    for split, rows in right.items():
        np.save(folder / "run" / "predictions" / f"{split}.npy", 0.5 * rows)
    return folder


def test_own_teachers_end_with_a_recommendation(given, tmp_path):
    words = tuple(str(given / name) for name in ("wrong.npz", "good.npz", "run"))
    setup = Setup("digits-8x8", train=1000, seeds=(0, 1, 2), steps=60)
    study = TeacherChoice(setup, words, student="mlp:16", temperatures=(4.0,), weights=(0.5,))
    outcome = run_all(study.plan(), Store(tmp_path), workers=0)
    assert not outcome.failed
    result = study.analyze(outcome.records)
    main = next(t for t in result.of(Table) if t.title.startswith("Recommendation"))
    rows = dict(row[:2] for row in main.rows)
    assert rows["recommended"] != "wrong"
    assert rows["paired seeds"] == 3
    leader = next(r for t in result.of(Table) if t.title.startswith("Candidates") for r in t.rows if "leads" in r[-1])
    assert not str(leader[0]).startswith("wrong")
    assert {claim.name for claim in result.of(Claim)} == {"W0", "W4"}  # three teachers are too few to rank
    w0 = next(claim for claim in result.of(Claim) if claim.name == "W0")
    assert w0.evidence[0].value < -0.5  # the default one, which names every class wrongly


def test_a_models_factory_teaches_as_it_is():
    word = "tests/support/small_teacher.py:make"
    study = replace(TeacherChoice.smoke(), teachers=(word,))
    (teacher,) = {run.recipe.teacher for run in study.plan() if run.recipe.teacher is not None}
    assert teacher.optim.stop == 0
    assert teacher.model.fingerprint


def test_refusals(given):
    with refuses("bad-ages"):
        TeacherChoice(ages=(0.5,))
    with refuses("bad-teachers"):
        TeacherChoice(over=0.5)
    with refuses("bad-pilot"):
        TeacherChoice(pilot=1.0)
    with refuses("bad-grid"):
        TeacherChoice(weights=(0.0,))
    good = str(given / "good.npz")
    with refuses("same-teacher"):
        TeacherChoice(Setup("digits-8x8"), (good, good)).plan()
    with refuses("no-answers"):
        TeacherChoice(Setup("digits-8x8"), ("nowhere.npz",)).plan()
    with refuses("answer-shape"):
        TeacherChoice(Setup("mnist-5k"), (good,)).plan()
