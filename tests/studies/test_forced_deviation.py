"""`forced-deviation`: its arms, and that its analysis finds a planted effect of either sign."""

import numpy as np
import pytest

from disobey.records.results import Claim, Table
from disobey.studies.deviation.study import Deviation
from disobey.studies.forced_deviation.claims import READ, SPLITS, causal_words
from disobey.studies.forced_deviation.study import ForcedDeviation
from disobey.studies.forced_deviation.tables import taken
from disobey.studies.kit.claims import Verdicts
from disobey.studies.kit.dose import dose_response
from disobey.studies.kit.evidence import Evidence
from disobey.studies.kit.setup import Setup
from tests.support.refusals import refuses

SLOPES = (0.7, 1.0, 1.3, 1.6)


def test_plain_students_teachers_and_controls_are_the_runs_of_deviation():
    shared = set(ForcedDeviation().plan()) & set(Deviation(teacher="mlp:100").plan())
    assert len(shared) == 2 * 5 * 3  # noise levels, seeds; teacher, plain student, control


def test_arms_of_one_budget_differ_from_plain_in_targets_or_teaching_only():
    arms = ForcedDeviation.smoke().arms(0.2)
    plain = arms["plain"].recipe
    for name, arm in arms.items():
        assert (arm.recipe.optim == plain.optim) == (not name.startswith("match"))
        assert (arm.recipe.model, arm.recipe.data, arm.recipe.replica) == (plain.model, plain.data, plain.replica)


@pytest.mark.parametrize("effect", [-0.05, 0.0, 0.05])
def test_a_planted_dose_is_recovered(effect):
    x = np.log(SLOPES)
    share = (x - x[0]) / (x[-1] - x[0])
    seeds = np.linspace(0.8, 0.9, 5)
    np.testing.assert_allclose(dose_response([seeds + effect * s for s in share], x), effect, atol=1e-12)


@pytest.mark.parametrize(("teacher", "better"), [(0.5, True), (2.0, False)])
def test_a_linear_model_whose_teacher_is_over_or_underconfident(teacher, better):
    """Two Gaussian classes have log-odds 2 mu x. A teacher with log-odds scaled by 0.5 is too careful: forcing slopes
    above 1 must lower the NLL; one scaled by 2 is too sure, and the same dose must raise it."""
    nll = [[] for _ in SLOPES]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        sign = rng.choice([-1, 1], 4000)
        odds = 2 * (sign + rng.normal(size=4000))
        for values, slope in zip(nll, SLOPES, strict=True):
            values.append(np.logaddexp(0, -sign * slope * teacher * odds).mean())
    response = dose_response([np.array(values) for values in nll], np.log(SLOPES))
    assert np.all(response < -0.01) if better else np.all(response > 0.01)


def test_both_underfits_take_equally_much_and_change_no_class(ran):
    study, records = ran(ForcedDeviation.smoke())
    e = Evidence.read(study.design(), records, READ, SPLITS)
    for level in study.levels():
        lowest, random = taken(e, level)
        assert lowest.flips == random.flips == 0
        assert lowest.targets > 0
        assert (lowest.fall > 0).all()
        np.testing.assert_allclose(lowest.fall, random.fall)


def test_what_to_set_names_the_plainest_where_two_seeds_decide_nothing(ran):
    study, records = ran(ForcedDeviation.smoke())
    result = study.analyze(records)
    (main,) = (t for t in result.of(Table) if t.title.startswith("Recommendation"))
    assert main.rows[0] == ("recommended", "labels alone")
    (every,) = (t for t in result.of(Table) if t.title.startswith("Candidates"))
    names = {row[0] for row in every.rows}
    assert {"plain distillation", "slope s=1.6", "ensemble"} <= names
    assert not any("underfit" in name for name in names)


def test_models_of_the_default_are_small_for_images_alone():
    spec = ForcedDeviation().arms(0.0)["plain"].recipe.model
    assert (spec.name, spec.width) == ("mlp", 100)
    assert ForcedDeviation(Setup("languages")).arms(0.0)["plain"].recipe.model.name == "text-bag"


def test_refusals():
    with refuses("bad-slopes"):
        ForcedDeviation(slopes=(1.0,))
    with refuses("bad-match-budget"):
        ForcedDeviation(members=1)


@pytest.mark.parametrize(("guard", "said"), [("supported", "exaggeration contradicted"), ("undecided", "open, as G2")])
def test_no_causal_answer_where_a_guard_fails(guard, said):
    words = {"G2": guard, "G3": "supported", "G4": "supported", "F1": "contradicted", "F4": "supported"}
    claims = tuple(Claim("", "", word, (), "", name, "clean") for name, word in words.items())
    assert said in causal_words(Verdicts(claims), "clean")
