import numpy as np
import pytest

from disobey.data.noise import NoisePlan, class_dependent, cyclic, mean_similarity, most_similar, plant, symmetric
from tests.support.refusals import refuses


@pytest.mark.parametrize("share", [0.0, 0.1, 0.333, 0.5, 0.999])
@pytest.mark.parametrize("n", [1, 7, 500])
def test_exactly_the_share_is_wrong(share, n):
    labels = np.arange(n) % 5
    plan = symmetric(labels, 5, np.random.default_rng(0))
    given = plant(labels, plan, share)
    assert (given != labels).sum() == round(share * n)
    assert labels.tolist() == (np.arange(n) % 5).tolist()  # the truth stays


def test_symmetric_noise_goes_everywhere_equally():
    labels = np.repeat(np.arange(4), 9000)
    given = plant(labels, symmetric(labels, 4, np.random.default_rng(0)), 0.9)
    table = np.zeros((4, 4), int)
    np.add.at(table, (labels, given), 1)
    off = table[~np.eye(4, dtype=bool)]
    assert np.abs(off - 2700).max() < 5 * np.sqrt(2700)
    assert np.abs(np.diag(table) - 900).max() < 5 * np.sqrt(900)


def test_class_dependent_noise_goes_to_the_partner_only():
    labels = np.repeat(np.arange(3), 100)
    given = plant(labels, class_dependent(labels, np.array([2, 0, 1]), np.random.default_rng(0)), 0.4)
    wrong = given != labels
    assert wrong.sum() == 120
    assert (given[wrong] == np.array([2, 0, 1])[labels[wrong]]).all()
    with refuses("noise-partner", "[0, 2, 1]"):
        class_dependent(labels, np.array([0, 2, 1]), np.random.default_rng(0))


def test_more_noise_keeps_what_was_wrong():
    labels = np.arange(300) % 3
    plan = symmetric(labels, 3, np.random.default_rng(0))
    less, more = plant(labels, plan, 0.2), plant(labels, plan, 0.5)
    flipped = less != labels
    assert (more[flipped] == less[flipped]).all()


def test_a_subset_of_the_plan_flips_the_same_examples_to_the_same_classes():
    labels = np.arange(1000) % 10
    plan = symmetric(labels, 10, np.random.default_rng(0))
    rows = np.random.default_rng(1).permutation(1000)[:500]
    whole, part = plant(labels, plan, 0.3), plant(labels[rows], plan.take(rows), 0.3)
    both = (whole[rows] != labels[rows]) & (part != labels[rows])
    assert both.sum() > 120  # of 150: the threshold moves a little with the draw
    assert (whole[rows][both] == part[both]).all()


def test_partners_are_the_nearest_class_means():
    means = np.array([[0.0, 0], [1, 0], [5, 5], [5, 6.5], [np.nan, np.nan]])
    assert most_similar(mean_similarity(means))[:4].tolist() == [1, 0, 3, 2]
    assert cyclic(4).tolist() == [1, 2, 3, 0]
    for bad in (np.ones((2, 3)), np.ones((1, 1)), np.ones(4)):
        with refuses("similarity-shape", str(bad.shape)):
            most_similar(bad)


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0, float("nan")])
def test_shares_outside_are_refused(share):
    with refuses("noise-range", str(share)):
        plant(np.zeros(3, int), NoisePlan(np.zeros(3), np.ones(3, int)), share)
