import numpy as np
import pytest
from scipy import stats

from disobey.measures.inference import comparisons
from disobey.measures.inference.comparisons import (
    correlation_over_runs,
    effect_size,
    equivalent,
    holm,
    minimum_detectable_effect,
    noncentral_t_cdf,
    power,
    ratio_over_runs,
    sign_flip_p,
)


@pytest.mark.parametrize("n", [1, 3, 6, 9])
def test_exact_sign_flips_are_scipys_permutations(n):
    d = np.random.default_rng(n).normal(loc=0.5, size=n)
    if n == 1:
        assert sign_flip_p(d) == 1
        return
    oracle = stats.permutation_test((d, np.zeros(n)), lambda a, b: (a - b).mean(), permutation_type="samples")
    assert sign_flip_p(d) == pytest.approx(oracle.pvalue)


def test_monte_carlo_sign_flips_are_the_exact_ones(monkeypatch):
    d = np.random.default_rng(0).normal(loc=0.4, size=14)
    drawn = sign_flip_p(d)
    monkeypatch.setattr(comparisons, "EXACT_PAIRS", 14)
    exact = sign_flip_p(d)
    assert 0.01 < exact < 0.5
    assert drawn == pytest.approx(exact, abs=4 * np.sqrt(exact / 99_999))
    assert drawn != exact


def test_sign_flips_count_ties_whatever_the_order_of_addition():
    assert sign_flip_p([0.1, 0.2, 0.3]) == sign_flip_p([0.3, 0.1, 0.2]) == 0.25
    assert sign_flip_p([0.0, 0.0]) == 1


def test_holm_steps_down():
    p = np.array([0.02, 0.001, 0.5, 0.013])
    slow = {}
    worst = 0.0
    for i, index in enumerate(np.argsort(p)):
        worst = max(worst, p[index] * (len(p) - i))
        slow[index] = min(worst, 1)
    assert holm(p) == pytest.approx([slow[i] for i in range(4)])
    assert holm([0.04]) == 0.04
    assert holm([0.6, 0.7]).max() == 1


def test_equivalence_is_the_interval_inside_the_margin():
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(200):
        values = rng.normal(loc=rng.normal() * 0.5, scale=0.5, size=5)
        verdict = equivalent(values, margin=0.8)
        low, high = stats.t.interval(0.9, 4, values.mean(), stats.sem(values))
        assert verdict.equivalent == (low > -0.8 and high < 0.8)
        seen.add(verdict.equivalent)
    assert seen == {True, False}
    assert not equivalent([0.0], margin=1).equivalent
    assert equivalent([0.1, 0.1], margin=1).equivalent
    assert not equivalent([2.0, 2.0], margin=1).equivalent


def test_fieller_bounds_are_where_a_t_test_just_rejects():
    rng = np.random.default_rng(2)
    b = rng.normal(loc=3, size=6)
    a = 0.4 * b + 0.3 * rng.normal(size=6)
    ratio = ratio_over_runs(a, b, level=0.9)
    for bound in (ratio.low, ratio.high):
        assert stats.ttest_1samp(a - bound * b, 0).pvalue == pytest.approx(0.1, rel=1e-8)
    assert ratio.value == pytest.approx(a.mean() / b.mean())
    assert ratio.low < ratio.value < ratio.high


def test_a_ratio_to_nothing_is_undefined():
    b = np.array([1.0, -0.5, 0.3, 0.2])
    assert stats.ttest_1samp(b, 0).pvalue > 0.05
    ratio = ratio_over_runs([1.0, 1.0, 2.0, 1.0], b)
    assert np.isnan([ratio.value, ratio.low, ratio.high]).all()
    assert not ratio_over_runs([1.0], [2.0]).known
    assert ratio_over_runs({0: 1.0, 1: 1.1}, {1: 2.2, 0: 2.0}).value == pytest.approx(0.5)


def test_fieller_covers():
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(1000):
        b = 2 + 0.5 * rng.normal(size=5)
        ratio = ratio_over_runs(0.7 * b + 0.4 * rng.normal(size=5), b)
        held += ratio.low <= 0.7 <= ratio.high
    assert held / 1000 == pytest.approx(0.95, abs=0.028)  # four standard errors


def test_correlations_are_scipys():
    x, y = np.random.default_rng(4).normal(size=(2, 12))
    y = y + x
    estimate = correlation_over_runs(x, y)
    oracle = stats.pearsonr(x, y)
    assert estimate.value == pytest.approx(oracle.statistic)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(oracle.confidence_interval()))
    ranks = correlation_over_runs(x, y, method="spearman")
    assert ranks.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert ranks.high - ranks.low > 0
    assert correlation_over_runs(x, np.exp(y), method="spearman") == ranks
    assert np.isnan(correlation_over_runs(x, np.ones(12)).value)
    assert not correlation_over_runs(x[:3], y[:3]).known
    line = correlation_over_runs(x, 2 * x + 1)
    assert line.high == pytest.approx(1)
    assert np.isfinite(line.low)


def test_noncentral_t_is_scipys_where_that_is_defined():
    for t, df, shift in ((2.0, 10, 1.0), (-1.0, 4, 0.5), (6.0, 3, 5.0), (0.5, 1, 1.0)):
        assert noncentral_t_cdf(t, df, shift) == pytest.approx(stats.nct.cdf(t, df, shift), abs=2e-6)


def test_power_is_how_often_a_t_test_rejects():
    rng = np.random.default_rng(5)
    draws = 0.9 + rng.normal(size=(20_000, 6))
    rejects = stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05
    assert power(0.9, 1.0, 6) == pytest.approx(rejects.mean(), abs=0.014)
    assert power(0.0, 1.0, 6) == pytest.approx(0.05, abs=2e-6)


def test_minimum_detectable_effect_inverts_power():
    d = np.array([0.3, -0.1, 0.4, 0.2, 0.05])
    effect = minimum_detectable_effect(d, chance=0.9)
    assert power(effect, d.std(ddof=1), 5) == pytest.approx(0.9, abs=1e-4)
    assert minimum_detectable_effect(100 * d, chance=0.9) == pytest.approx(100 * effect)
    assert minimum_detectable_effect([1.0]) == np.inf
    assert minimum_detectable_effect([1.0, 1.0]) == 0
    assert np.isfinite(minimum_detectable_effect([1.0, 2.0]))


def test_effect_sizes_cover_and_do_not_depend_on_the_unit():
    rng = np.random.default_rng(6)
    held = 0
    for _ in range(200):
        d = 1 + rng.normal(size=5)
        size = effect_size(d, np.zeros(5))
        correction = 1 - 3 / 15
        held += size.low / correction <= 1 <= size.high / correction
    assert held / 200 == pytest.approx(0.95, abs=0.06)
    assert effect_size(7 * d, np.zeros(5)).low == pytest.approx(size.low)
    assert np.isnan(effect_size([1.0, 1.0], [0.0, 0.0]).value)
