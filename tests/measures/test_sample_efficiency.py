import numpy as np
import pytest
from scipy import stats
from scipy.special import logit

from benchmarks import coverage_over_runs
from disobey.measures import agreement
from disobey.measures.fidelity import fidelity_law
from disobey.measures.inference.measure import minus_twin
from disobey.measures.inference.runs import over_runs, over_runs_and_examples, paired_difference
from disobey.measures.sample_efficiency import (
    crossover,
    label_equivalence,
    scales,
    shares_explained,
    slope_on_log_size,
)
from tests.support.refusals import refuses


@pytest.fixture(scope="module")
def planted():
    """The simulation of benchmarks/coverage_over_runs.py, whose full tables are in docs/measures.md."""
    return coverage_over_runs


def tables(planted, seed, seeds=5, peak=1.1, drop=0.0):
    n = planted.SIZES
    truths = planted.labels_accuracy(n), planted.student_accuracy(n, peak, drop)
    return planted.observed(np.random.default_rng(seed), seeds, *truths)


# Scales and slopes


def test_scales_are_what_they_are_called():
    labels, student = np.array([[0.5, 0.8]]), np.array([[0.7, 0.9]])
    gains = scales(labels, student, labels, student, n_test=10**9)
    assert gains["accuracy gap"] == pytest.approx(student - labels)
    assert gains["relative error change"] == pytest.approx(np.array([[0.4, 0.5]]))
    assert gains["logit-accuracy gap"] == pytest.approx(logit(student) - logit(labels))
    assert gains["NLL gap"] == pytest.approx(labels - student)  # less is better


def test_scales_stay_finite_at_zero_and_one():
    gains = scales([0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0], np.zeros(4), np.zeros(4), n_test=100)
    for name in ("relative error change", "logit-accuracy gap"):
        assert np.isfinite(gains[name]).all()
        assert gains[name][0] > 0 > gains[name][1]
        assert gains[name][2:] == pytest.approx([0, 0])


def test_slopes_are_scipys_by_seed():
    n, values = np.array([10, 50, 400, 3000]), np.random.default_rng(0).normal(size=(4, 4))
    by_seed = [stats.linregress(np.log(n), row).slope for row in values]
    estimate = slope_on_log_size(n, values)
    assert estimate.value == pytest.approx(np.mean(by_seed))
    assert (estimate.low, estimate.high) == pytest.approx(stats.t.interval(0.95, 3, estimate.value, stats.sem(by_seed)))
    assert slope_on_log_size(n, values, decades=True).value == pytest.approx(estimate.value * np.log(10))


# Label equivalence


def law(n):
    return 1 - 2 * np.asarray(n, dtype=float) ** -0.5


def without_noise(n, factor, seeds=5):
    """Both arms lifted by the same luck of the seed: differences do not vary."""
    luck = 0.01 * (np.arange(seeds) - seeds // 2)[:, None] - 0.02
    return law(n) * np.ones((seeds, 1)) + luck, law(n * factor) * np.ones((seeds, 1)) + luck


def test_a_planted_factor_comes_back_exactly_where_the_error_is_a_power_law():
    n = np.geomspace(20, 5000, 8)
    factor = np.array([1.5, 3.0, 4.0, 3.0, 2.0, 1.5, 0.8, 0.6])
    labels, student = law(n) * np.ones((5, 1)), law(n * factor) * np.ones((5, 1))
    curve = label_equivalence(n, labels, student)
    assert [f.value for f in curve.factor] == pytest.approx(list(factor), rel=1e-4)
    assert [f.low for f in curve.factor] == pytest.approx(list(factor), rel=1e-3)
    assert [f.high for f in curve.factor] == pytest.approx(list(factor), rel=1e-3)
    assert set(curve.censored) == {""}
    assert curve.largest.value == pytest.approx(4, rel=1e-4)
    assert curve.largest.low > 1.5
    assert np.exp(curve.per_seed.mean(axis=0)) == pytest.approx(factor, rel=1e-4)


@pytest.mark.parametrize(("ceiling", "c", "b"), [(0.97, 1.9, 0.5), (0.9, 2.5, 0.6), (0.75, 1.3, 0.4), (0.99, 3.5, 0.8)])
def test_labels_with_a_ceiling_bias_a_factor_by_less_than_five_percent(ceiling, c, b):
    n = np.geomspace(20, 3500, 7)
    worst = 0.0
    for factor in np.linspace(1.0, 2.3, 14):  # every place between two sizes
        labels, student = ((ceiling - c * size**-b) * np.ones((2, 1)) for size in (n, n * factor))
        found = label_equivalence(n, labels, student, resamples=2).factor[:-1]
        worst = max(worst, *(abs(np.log(f.value / factor)) for f in found))
    assert 0.005 < worst < 0.05


def test_luck_that_both_arms_share_does_not_widen_a_factor():
    n = np.geomspace(20, 5000, 8)
    curve = label_equivalence(n, *without_noise(n, 2.0))
    assert max(f.high - f.low for f in curve.factor[:5]) < 0.02
    assert [f.value for f in curve.factor[:6]] == pytest.approx([2.0] * 6, rel=0.02)


def test_no_gain_is_contradicted():
    n = np.geomspace(20, 5000, 8)
    labels, student = without_noise(n, 1.0)
    noise = 1e-4 * np.random.default_rng(0).normal(size=labels.shape)
    curve = label_equivalence(n, labels, student + noise)
    assert curve.largest.value == pytest.approx(1, abs=0.02)
    assert curve.largest.high < 1.2
    more = label_equivalence(n, labels, law(n * 1.35) + labels - law(n) + noise).largest
    assert more.high > 1.2 > 1.0 < more.low < 1.5


def test_off_the_grid_is_censored_not_extrapolated():
    n = np.array([20, 100, 500, 2500])
    labels = law(n) * np.ones((5, 1))
    noise = 1e-3 * np.random.default_rng(1).normal(size=labels.shape)
    better = label_equivalence(n, labels, np.full((5, 4), 0.99) + noise)
    assert better.censored == ("above",) * 4
    assert [f.value for f in better.factor] == pytest.approx(list(2500 / n))
    assert [f.low for f in better.factor] == pytest.approx(list(2500 / n))
    assert all(np.isinf(f.high) for f in better.factor)
    assert np.isinf(better.largest.high)
    assert better.largest.low == pytest.approx(125)
    worse = label_equivalence(n, labels, np.full((5, 4), 0.1) + noise)
    assert worse.censored == ("below",) * 4
    assert all(f.low == 0 for f in worse.factor)
    assert [f.high for f in worse.factor] == pytest.approx(list(20 / n))
    assert worse.largest.high < 1.2


def test_an_interval_may_leave_the_grid_where_the_value_does_not():
    n = np.array([20, 100, 500, 2500])
    labels = law(n) * np.ones((4, 1))
    spread = 0.01 * np.array([-1.0, -0.5, 0.5, 1.0])[:, None]
    curve = label_equivalence(n, labels, law([22.0, 110, 550, 2300]) + spread)
    assert curve.censored == ("",) * 4
    assert curve.factor[0].low > 0
    assert np.isinf(curve.factor[-1].high)
    assert np.isfinite(curve.largest.high)


def test_labels_that_fall_for_a_while_are_pooled():
    n = np.array([20, 50, 120, 300, 800])
    labels = np.array([0.5, 0.65, 0.64, 0.8, 0.9]) * np.ones((5, 1))
    curve = label_equivalence(n, labels, np.full((5, 5), 0.645))
    assert [f.value for f in curve.factor] == pytest.approx(list(np.sqrt(50 * 120) / n))
    flat = label_equivalence(n, np.full((5, 5), 0.5), np.full((5, 5), 0.6))
    assert flat.censored == ("above",) * 5
    perfect = label_equivalence(n, np.array([0.9, 1, 1, 1, 1]) * np.ones((5, 1)), np.full((5, 5), 0.95))
    assert all(np.isfinite(f.value) for f in perfect.factor)


def test_a_bound_is_where_a_paired_t_test_just_rejects(planted):
    """The whole construction against scipy: interpolate each seed's labels at the bound and test the difference."""
    labels, student = tables(planted, 0)
    n = planted.SIZES
    assert (np.diff(labels.mean(axis=0)) > 0).all()
    curve = label_equivalence(n, labels, student)
    errors = np.log(1 - labels.mean(axis=0))
    for k in (1, 2, 3):
        for bound in (curve.factor[k].low, curve.factor[k].high):
            x = np.log(n[k] * bound)
            i = int(np.searchsorted(np.log(n), x)) - 1
            part = (x - np.log(n[i])) / np.log(n[i + 1] / n[i])
            wanted = 1 - np.exp(errors[i] + part * (errors[i + 1] - errors[i]))
            mixture = (wanted - labels[:, i].mean()) / (labels[:, i + 1] - labels[:, i]).mean()
            there = labels[:, i] * (1 - mixture) + labels[:, i + 1] * mixture
            assert stats.ttest_rel(student[:, k], there).pvalue == pytest.approx(0.05, abs=2e-3)


def test_equivalence_does_not_depend_on_the_order_of_seeds(planted):
    labels, student = tables(planted, 1, seeds=10)
    order = np.random.default_rng(0).permutation(10)
    curve = label_equivalence(planted.SIZES, labels, student, resamples=2000)
    other = label_equivalence(planted.SIZES, labels[order], student[order], resamples=2000)
    for a, b in zip(curve.factor, other.factor, strict=True):
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))
    assert other.largest.value == pytest.approx(curve.largest.value, rel=0.05)  # other draws of the errors
    assert label_equivalence(planted.SIZES, labels, student, resamples=2000).largest == curve.largest


def test_factors_and_the_largest_hold_the_truth(planted):
    """A quick form at one planted curve: 200 tables of five seeds; bounds at four standard errors."""
    truth = planted.log_factor(planted.SIZES, 1.1)
    held, largest, plain = [], [], []
    for seed in range(200):
        curve = label_equivalence(planted.SIZES, *tables(planted, seed), resamples=500)
        held.append([planted.holds(f, t) for f, t in zip(curve.factor, np.exp(truth), strict=True)])
        largest.append((np.log(curve.largest.value), planted.holds(curve.largest, np.exp(truth.max()))))
        plain.append(np.log(max(f.value for f in curve.factor[:6])))
    shares = np.mean(held, axis=0)[:6]
    assert (shares > 0.95 - 4 * np.sqrt(0.05 * 0.95 / 200)).all(), shares
    assert shares.mean() < 0.99  # nor is a wide interval enough
    values, covered = np.array(largest).T
    assert np.mean(covered) > 0.89
    assert abs(values.mean() - truth.max()) < 0.05
    assert np.mean(plain) - truth.max() > 0.1  # what was corrected


def test_one_seed_has_values_and_no_intervals(planted):
    labels, student = tables(planted, 2, seeds=1)
    curve = label_equivalence(planted.SIZES, labels, student)
    assert all(np.isfinite(f.value) and not f.known for f in curve.factor)
    assert not curve.largest.known
    assert np.isnan(label_equivalence([10, 15], labels[:, :2], student[:, :2]).largest.value)  # no size with room


def test_errors_say_what_is_wrong():
    table = np.full((3, 2), 0.5)
    with refuses("not-shares"):
        label_equivalence([10, 20], 100 * table, table)
    with refuses("sizes-not-rising", "[20.0, 10.0]"):
        label_equivalence([20, 10], table, table)
    with refuses("table-shape", "(3, 2)"):
        label_equivalence([10, 20], table, table[:2])
    with refuses("not-finite"):
        crossover([10, 20], table * np.nan)
    with refuses("table-shapes"):
        scales(table, table, table, table[:1], n_test=10)
    with refuses("few-sizes"):
        fidelity_law([10, 20], table)


# Crossover


def test_crossovers_are_found_and_their_sides_named():
    n = np.array([10, 100, 1000, 10_000])
    noise = 1e-3 * np.random.default_rng(3).normal(size=(6, 4))
    found = crossover(n, np.array([0.3, 0.1, -0.1, -0.2]) + noise)
    assert found.censored == ""
    assert found.size.value == pytest.approx(10**2.5, rel=0.02)
    assert found.size.low < found.size.value < found.size.high
    never = crossover(n, np.array([0.3, 0.2, 0.1, 0.05]) + noise)
    assert never.censored == "above"
    assert (never.size.value, never.size.low, never.size.high) == pytest.approx((10_000, 10_000, np.inf))
    at_once = crossover(n, -np.array([0.1, 0.2, 0.3, 0.4]) + noise)
    assert at_once.censored == "below"
    assert (at_once.size.low, at_once.size.high) == pytest.approx((0, 10))


def test_crossovers_hold_the_truth(planted):
    truth = 150 * np.exp(1.6 * np.sqrt(2 * np.log(1.1 / 0.6)))
    held = []
    for seed in range(200):
        labels, student = tables(planted, seed, drop=0.6)
        held.append(planted.holds(crossover(planted.SIZES, student - labels).size, truth))
    assert 0.89 < np.mean(held) < 1


# Shares


def test_shares_come_back_and_are_undefined_without_a_gain(planted):
    rng = np.random.default_rng(4)
    held = []
    for _ in range(300):
        labels = 0.6 + 0.03 * rng.normal(size=5)
        gains = {phi: phi * 0.1 + 0.008 * rng.normal(size=5) for phi in (0.1, 0.5, 0.9)}
        distilled = labels + 0.1 + 0.008 * rng.normal(size=5)
        arms = {str(phi): labels + gain for phi, gain in gains.items()}
        found = shares_explained(arms, labels, distilled)
        held.append([planted.holds(found[str(phi)], phi) for phi in gains])
    assert np.mean(held, axis=0) == pytest.approx([0.95] * 3, abs=0.05)
    nothing = shares_explained({"arm": labels + 0.1}, labels, labels + 0.01 * np.array([1, -1, 1, -1, 0.5]))
    assert not nothing["arm"].known


# Fidelity


@pytest.mark.parametrize("b", [0.3, 0.5, 0.7])
def test_an_exponent_comes_back_exactly_without_noise(b):
    n = np.geomspace(20, 3500, 7)
    plain = fidelity_law(n, np.array([[0.9], [1.0], [1.1]]) * 2 * n**-b)
    assert plain.exponent.value == pytest.approx(b)
    assert plain.constant.value == pytest.approx(2)
    assert plain.r2 == pytest.approx(1)
    assert plain.at([100.0])[0] == pytest.approx(2 * 100**-b)
    noise = 1 + 1e-3 * np.random.default_rng(5).normal(size=(5, 7))
    bent = fidelity_law(n, (2 * n**-b + 0.05) * noise)
    assert bent.preferred == "offset"
    assert bent.aicc[1] < bent.aicc[0]
    assert bent.exponent_with_offset.value == pytest.approx(b, abs=0.01)
    assert bent.offset.value == pytest.approx(0.05, abs=0.01)
    assert bent.at([100.0])[0] == pytest.approx(2 * 100**-b + 0.05, rel=0.01)
    assert bent.exponent.value < b - 0.02  # why the offset matters


def test_the_plain_exponent_is_the_gamma_regression_of_another_library(planted):
    from sklearn.linear_model import GammaRegressor

    gaps = np.abs(planted.kl_gaps(np.random.default_rng(6), 5, 0.5, 0.0))
    oracle = GammaRegressor(alpha=0, tol=1e-10, max_iter=10_000)
    oracle.fit(np.log(planted.SIZES)[:, None], gaps.mean(axis=0))
    found = fidelity_law(planted.SIZES, gaps)
    assert found.exponent.value == pytest.approx(-oracle.coef_[0], rel=1e-4)
    assert np.log(found.constant.value) == pytest.approx(oracle.intercept_, rel=1e-3)


def test_exponents_hold_the_truth(planted):
    rng = np.random.default_rng(7)
    for draw in (planted.kl_gaps, planted.agreement_gaps):
        laws = [fidelity_law(planted.SIZES, draw(rng, 5, 0.5, 0.0)) for _ in range(60)]
        assert 0.84 < np.mean([planted.holds(law.exponent, 0.5) for law in laws]) <= 1
        assert 0.84 < np.mean([planted.holds(law.offset, 0.0) for law in laws]) <= 1
        assert not any(law.best_exponent.low > 0.7 or law.best_exponent.high < 0.3 for law in laws)
        steep = [fidelity_law(planted.SIZES, draw(rng, 5, 0.7, 0.0)) for _ in range(20)]
        within = [0.3 < law.best_exponent.low and law.best_exponent.high < 0.7 for law in steep]
        assert np.mean(within) < 0.2  # the truth is on the border: a fortieth, nominally


def test_gaps_at_or_below_zero_take_part():
    n = np.array([20, 60, 200, 600, 2000])
    gaps = n**-0.5 * np.ones((4, 1))
    gaps[:, -1] = [0.05, -0.01, 0.06, 0.0]
    found = fidelity_law(n, gaps)
    assert found.not_positive == 2
    assert found.exponent.known
    without = np.where(gaps > 0, gaps, np.nan)
    logs = np.log(np.nanmean(without, axis=0))
    assert found.exponent.value > -np.polyfit(np.log(n), logs, 1)[0]  # dropping them would flatten the law
    hopeless = fidelity_law(n, -gaps)
    assert hopeless.preferred == "none"
    assert not hopeless.best_exponent.known
    assert np.isnan(hopeless.exponent.value)


# Runs and examples at once


def test_an_accuracy_gap_of_two_students_over_runs_and_examples(planted):
    gap = minus_twin(agreement.MEASURES["student_accuracy"])
    rng = np.random.default_rng(8)
    runs = planted.paired_predictions(rng, 5, 300)
    both = over_runs_and_examples(gap, runs, resamples=200)
    by_run = [(r.student.argmax(1) == r.labels).mean() - (r.twin.argmax(1) == r.labels).mean() for r in runs]
    assert both.value == pytest.approx(np.mean(by_run))
    only = over_runs(gap, runs)
    assert (only.low, only.high) == pytest.approx(
        (paired_difference(by_run, np.zeros(5)).low, paired_difference(by_run, np.zeros(5)).high)
    )
    assert both.high - both.low > only.high - only.low
    held = []
    for seed in range(40):
        two_way = over_runs_and_examples(gap, planted.paired_predictions(rng, 10, 300), resamples=100, seed=seed)
        held.append(planted.holds(two_way, planted.TRUE_GAP))
    assert np.mean(held) > 0.82


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", ["factor", "largest", "no_gain", "exponent", "share", "slope", "crossing", "comparisons", "two_way"]
)
def test_full_tables_are_made(planted, part, capsys):
    planted.main(["--replicates", "200", "--seeds", "10", "--parts", part])
    assert "nan" not in capsys.readouterr().out
