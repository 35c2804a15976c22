"""`recommend`: the plain candidate where all are equal, a planted winner where there is one."""

import numpy as np
import pytest

from disobey.measures.inference.policy import Intervals, using
from disobey.records.results import Result, Table
from disobey.studies.kit.recommend import Candidate, comparisons, recommend, recommend_blocks, seeds_needed
from tests.support.refusals import refuses


def drawn(rng, effects, *, seeds=5, spread=0.01):
    """Candidates whose true accuracies are 0.9 and an effect; a network that is better on validation is so on test."""
    base, found = 0.9 + 0.01 * rng.normal(size=seeds), []
    for i, effect in enumerate(effects):
        own = base + effect + spread * rng.normal(size=seeds)
        validation = own + 0.002 * rng.normal(size=seeds)
        found.append(Candidate(f"c{i}", (("teacher", f"t{i}"),), validation, own, plain=i < 2))
    return found


@pytest.mark.parametrize(("seeds", "many"), [(5, 12), (3, 4), (10, 40)])
def test_of_equal_candidates_the_plainest_is_recommended(seeds, many):
    rng = np.random.default_rng(0)
    found = [recommend(drawn(rng, [0.0] * many, seeds=seeds)).kind for _ in range(400)]
    assert found.count("plainest") >= 0.95 * 400


def test_equal_students_that_all_beat_labels_leave_the_default():
    rng = np.random.default_rng(1)
    found = [recommend(drawn(rng, [0.0] + [0.5] * 9)).chosen.name for _ in range(300)]
    assert found.count("c1") >= 0.95 * 300


def test_a_planted_winner_is_recommended_and_what_it_rests_on_is_said():
    found = recommend(drawn(np.random.default_rng(2), [0.0, 0.02, 0.02, 0.2, 0.0], seeds=8))
    assert (found.chosen.name, found.kind, found.undecided) == ("c3", "leader", ())
    assert [estimate.name for estimate in found.rests] == ["c0", "c1"]
    assert all(estimate.low > 0 and estimate.n == 8 for estimate in found.rests)


def test_a_winner_on_test_examples_alone_is_not_chosen():
    same = np.full(5, 0.9) + 0.001 * np.arange(5)
    other = np.full(5, 0.99) + 0.001 * np.array([1, 0, 2, 1, 0])
    found = recommend([Candidate("labels", (), same, same, plain=True), Candidate("lucky", (), same - 0.1, other)])
    assert found.chosen.name == "labels"


def test_what_is_undecided_says_how_many_seeds_would_settle_it():
    rng = np.random.default_rng(3)
    found = recommend(drawn(rng, [0.0, 0.0, 0.004], seeds=3))
    assert found.kind == "plainest"
    assert all(one.seeds is None or one.seeds > 3 for one in found.undecided)
    values = np.array([0.02, -0.01, 0.03, 0.0])
    needed = seeds_needed(values, 0.0, 0.99)
    assert needed is not None
    half = Intervals(0.99).factor(needed) * values.std(ddof=1) / np.sqrt(needed)
    assert half < values.mean()
    assert Intervals(0.99).factor(needed - 1) * values.std(ddof=1) / np.sqrt(needed - 1) >= values.mean()
    assert seeds_needed(values, 1.0, 0.99) is None


def test_two_seeds_recommend_nothing_but_the_plainest():
    assert recommend(drawn(np.random.default_rng(4), [0.0, 0.5, 0.5], seeds=2)).kind == "plainest"


def test_the_error_of_the_examples_widens_every_comparison():
    candidates = drawn(np.random.default_rng(2), [0.0, 0.2], seeds=8)
    assert recommend(candidates).kind == "leader"
    assert recommend(candidates, lambda *_: 0.2).kind == "plainest"


def test_the_level_is_shared_among_all_pairs_and_follows_the_policy():
    candidates = drawn(np.random.default_rng(5), [0.0] * 5)
    assert comparisons(candidates) == 4 + 3
    with using(Intervals(level=0.9)):
        assert recommend(candidates).level == pytest.approx(1 - 0.1 / 7)


def test_blocks_are_part_of_a_result_as_json_and_as_a_page():
    found = recommend(drawn(np.random.default_rng(2), [0.0, 0.02, 0.2], seeds=8))
    blocks = recommend_blocks(found, where="20% label noise")
    assert blocks[0].rows[:2] == (("recommended", "c2"), ("teacher", "t2"))
    result = Result("demo", "Which?", blocks)
    read = Result.from_json(result.to_json())
    assert [t.title for t in read.of(Table)] == ["Recommendation, 20% label noise", "Candidates, 20% label noise"]
    assert "Recommended on these data: c2" in blocks[2].body


def test_refusals():
    with refuses("no-plain-candidate"):
        recommend([])
