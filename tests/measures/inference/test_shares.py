import numpy as np
import pytest
from scipy.stats import binom, binomtest

from disobey.measures.inference.policy import Intervals, using
from disobey.measures.inference.runs import mean_over_runs, share_over_runs
from tests.support.refusals import refuses


@pytest.mark.parametrize("truth", [0.05, 0.5, 0.8])
@pytest.mark.parametrize("n", [3, 6, 10])
def test_shares_of_runs_cover_the_truth_whatever_it_is(truth, n):
    covered = 0.0
    for hits in range(n + 1):
        found = share_over_runs([True] * hits + [False] * (n - hits), "share")
        exact = binomtest(hits, n).proportion_ci(0.95, "exact")
        np.testing.assert_allclose((found.low, found.high), (exact.low, exact.high), atol=1e-9)
        covered += float(binom.pmf(hits, n, truth)) * (found.low <= truth <= found.high)
    assert covered >= 0.95


def test_shares_need_six_runs_and_widen_while_seeds_are_added():
    assert share_over_runs([True] * 5, "").low < 0.5 < share_over_runs([True] * 6, "").low
    with using(Intervals(anytime=True)):
        assert share_over_runs([True] * 6, "").low < 0.5
    with refuses("no-runs"):
        share_over_runs([], "")


def test_a_share_holds_its_level_where_a_mean_of_numbers_that_are_seldom_large_does_not():
    rng = np.random.default_rng(0)
    large, border = 0.5, 0.02
    wrong = {"mean": 0, "share": 0}
    for _ in range(400):
        values = np.where(rng.random(6) < 0.5, large, rng.normal(0.001, 0.0005, 6))  # as often large as not
        wrong["share"] += share_over_runs(values < border, "").low > 0.5
        seldom = np.where(rng.random(6) < border / large, large, rng.normal(0.001, 0.0005, 6))  # its mean is the border
        wrong["mean"] += mean_over_runs(seldom, "").high < border
    assert wrong["share"] <= 0.05 * 400
    assert wrong["mean"] > 0.5 * 400
