"""Studies with no effect: who stands where, where estimates lie then, and what is counted."""

import numpy as np
import pytest

from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Estimate
from disobey.studies.kit.claims import ClaimSpec, Parts, Source
from disobey.studies.kit.memo import Remembering, remembered
from disobey.studies.kit.null import Centres, Null, drawn, moving, null_of, right_words
from disobey.studies.kit.null_table import as_json, count, table_of
from disobey.studies.kit.setup import Setup
from disobey.studies.kit.verdicts import AllOf, Effect, Equivalence, above, gain
from disobey.studies.loss_switching.study import LossSwitching
from disobey.training.recipe import Run
from tests.studies.test_kit import Record
from tests.support.refusals import refuses

STUDY = LossSwitching(Setup("digits-8x8", seeds=(0, 1, 2, 3, 4)), "mlp:16", switch_points=(0.5,), label_noise=(0.0,))


class Placed(Record):
    """A planted record with a place of its own, as records on disk have."""

    @property
    def path(self):
        return id(self)


def records(null):
    rng = np.random.default_rng(0)
    return {run: Placed(float(rng.choice([0.5, 0.55, 0.6, 0.65])), []) for run in null.runs()}


def test_students_and_controls_get_replicas_of_their_own_and_teachers_stay():
    null = null_of(STUDY, pool=7)
    (place,) = null.places
    assert null.replicas == len(place.recipes) == 4  # labels, distillation, and a switch in either order
    found = records(null)
    study, dealt = drawn(null, Remembering(found), np.random.default_rng(1))
    assert set(study.plan()) == set(dealt)
    assert len(study.setup.seeds) == 5
    teacher = study.design().arms[0].compared_with
    for seed in study.setup.seeds:
        assert dealt[Run(teacher, seed)] is found[Run(teacher, seed)]
        replicas = [dealt[Run(recipe, seed)] for recipe in place.recipes]
        assert len(set(map(id, replicas))) == 4
        own = [record for run, record in found.items() if run.seed == seed]
        assert all(any(record is other for other in own) for record in replicas)


def test_pools_and_replicas_must_be_large_enough():
    with refuses("small-pool", "--pool 5"):
        null_of(STUDY, pool=4)
    with refuses("few-replicas", "4"):
        null_of(STUDY, replicas=3)


def test_words_are_counted_and_planted_effects_are_found():
    null = null_of(STUDY, pool=7)
    found = records(null)
    none, much = (count(null, found, studies=30, effect=effect) for effect in (0.0, 100.0))
    (key,) = (key for key in none.claims if key[0] == "S0")
    assert sum(none.claims[key].words.values()) == 30
    assert none.claims[key].wrong < 15
    assert much.claims[key].words["supported"] == 30
    measured = as_json(null, none, much, 100.0)
    assert measured["mechanism"] == "replicas"
    table = table_of(measured, "x")
    assert [row[0] for row in table.rows] == ["S0", "S1", "S2", "S3"]
    assert "false word" in table.columns


def test_a_claim_that_the_whole_pool_leaves_open_has_no_centre_and_is_left_out(monkeypatch):
    null = null_of(STUDY, pool=7)
    found = records(null)
    centred = Null(null.study, null.seeds)
    own = {run: found.get(run, Placed(0.5, [])) for run in centred.runs()}
    assert "S0" in {id for id, _ in count(centred, own, studies=2).claims}
    monkeypatch.setattr("disobey.studies.kit.null_table.centres", lambda *_: Centres())
    assert count(centred, own, studies=2).claims == {}


def test_centred_estimates_lie_on_the_border_of_their_rule():
    rule = AllOf((("one", above(0.5, margin=0.1)), ("two", Equivalence(0.2, center=1.0))))
    spec = ClaimSpec("Q", "Both.", Source("x"), rule, lambda e, s: [])
    answer = Parts([[mean_over_runs([0.7, 0.8, 0.9], "a")], [mean_over_runs([0.1, 0.2, 0.3], "b")]])
    truth = Centres()
    truth.note(spec, "here", answer)
    for effect, expected in ((0.0, (0.5, 1.0)), (2.0, (0.7, 1.4))):
        moved = moving(Null(STUDY, (0,)), truth, effect)(spec, "here", answer)
        assert [group[0].value for group in moved.groups] == pytest.approx(expected)
        assert moved.groups[0][0].high - moved.groups[0][0].low == pytest.approx(
            answer.groups[0][0].high - answer.groups[0][0].low
        )


def test_exact_parts_are_not_moved():
    spec = ClaimSpec("Q", "So.", Source("x"), Effect(), lambda e, s: [])
    answer = [Estimate("share", 0.3, 0.2, 0.4, 0.95, 100, "cases")]
    truth = Centres()
    truth.note(spec, "here", answer)
    assert moving(Null(STUDY, (0,)), truth, 0.0)(spec, "here", answer) == answer


@pytest.mark.parametrize(
    ("rule", "centred", "right"),
    [
        (gain(), False, ()),
        (Equivalence(0.1), False, ("supported",)),
        (above(1.5), False, ("contradicted",)),  # a factor of 1.5 that is none
        (Effect(-1, 0.005), False, ("supported",)),  # less than half a point
        (above(1.5), True, ()),
        (AllOf((("x", gain()), ("y", Equivalence(0.1)))), False, ()),
    ],
)
def test_which_words_are_right_without_an_effect(rule, centred, right):
    assert right_words(ClaimSpec("Q", "So.", Source("x"), rule, lambda e, s: []), centred) == right


def test_a_number_with_a_value_of_its_own_lies_on_one_side_of_a_border():
    spec = ClaimSpec("Q", "The divergence is below 0.005.", Source("x"), Effect(-1, 0.005), lambda e, s: [])
    assert right_words(spec, False, 0.3) == ("contradicted",)
    assert right_words(spec, False, 0.001) == right_words(spec, False, float("nan")) == ("supported",)


def test_what_was_read_once_is_remembered_and_shared():
    record, made = Placed(0.5, []), []
    shared = Remembering({})
    for records in (shared, Remembering({}, shared.memo), {}):
        remembered(records, "x", [record], lambda: made.append(1))
    assert len(made) == 2  # once for those that share a memo, once where nothing is remembered
