"""What a budget pays for, on prices that are given."""

import math

from disobey.records.results import Result
from disobey.studies.deviation.study import Deviation
from disobey.studies.kit.budget import on_complete_seeds, plan_budget, plan_lines, plan_values, runs_of
from disobey.studies.kit.setup import Setup

STUDY = Deviation(
    Setup("digits-8x8", seeds=(0, 1, 2, 3), steps=10),
    "mlp:8",
    early=0.0,
    students=("self",),
    temperatures=(4.0,),
    label_noise=(0.0,),
)
PRICES = {run.recipe.key(): 10.0 for run in STUDY.plan()}  # 30 a seed: teacher, student, control


def seeds(costs):
    return [cost.seed for cost in costs]


def test_whole_seeds_come_first_and_the_rest_goes_into_the_next():
    plan = plan_budget(STUDY, set(), PRICES, 70.0)
    assert plan.begun is not None
    assert (seeds(plan.now), plan.begun.seed, seeds(plan.later)) == ([0, 1], 2, [3])
    assert (plan.seconds, plan.further, plan.unknown) == (60.0, 50.0, 0)
    assert plan_values(plan)["now"] == [0, 1]
    assert "seeds 0, 1 are completed now (1.0 CPU-minutes); seed 2 is begun; seed 3 is left" in plan_lines(plan)[0]


def test_what_is_there_is_not_paid_again():
    finished = {run.id for run in runs_of(STUDY, 0)} | {runs_of(STUDY, 1)[0].id}
    plan = plan_budget(STUDY, finished, PRICES, 60.0)
    assert (plan.there, seeds(plan.now), [len(cost.missing) for cost in plan.now]) == ((0,), [1, 2], [2, 3])
    assert plan.begun is not None
    assert plan.begun.seed == 3


def test_a_budget_for_everything_leaves_nothing():
    plan = plan_budget(STUDY, set(), PRICES, 120.0)
    assert (seeds(plan.now), plan.begun, plan.later) == ([0, 1, 2, 3], None, ())
    assert len(plan_lines(plan)) == 1


def test_a_budget_that_is_spent_exactly_begins_nothing():
    plan = plan_budget(STUDY, set(), PRICES, 60.0)
    assert (seeds(plan.now), plan.begun, seeds(plan.later)) == ([0, 1], None, [2, 3])


def test_nothing_is_promised_without_a_price():
    plan = plan_budget(STUDY, set(), dict(list(PRICES.items())[:2]), 1000.0)
    assert plan.begun is not None
    assert (plan.now, plan.begun.seed, seeds(plan.later), plan.unknown) == ((), 0, [1, 2, 3], 4)
    assert math.isnan(plan.further) or plan.further >= 0
    assert plan_values(plan)["without_price"] == 4
    assert "price of 4 runs is not known" in plan_lines(plan)[1]


def test_a_partial_result_says_so_first_and_a_whole_one_is_untouched():
    result = Result("deviation", "?", (), "Three claims.", settings={"seeds": [0, 1]})
    assert on_complete_seeds(result, (0, 1), (0, 1), 60.0) is result
    partial = on_complete_seeds(result, (0, 1), (0, 1, 2), 60.0)
    assert partial.summary.startswith("Partial: 2 of 3 seeds are complete (0, 1)")
    assert partial.cautions[0] in partial.summary
    assert partial.settings == {"seeds": [0, 1], "planned_seeds": (0, 1, 2)}
