from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from benchmarks import coverage as table
from disobey.measures import agreement, calibration, deviation
from disobey.measures.inference import resampling
from disobey.measures.inference.examples import all_over_examples, estimates, over_examples, paired_over_examples
from disobey.measures.inference.measure import (
    Measure,
    applicable,
    minus_teacher,
    minus_twin,
    on_teacher,
    on_twin,
    read,
    with_twins,
)
from disobey.measures.inference.runs import (
    mean_over_runs,
    over_runs,
    over_runs_and_examples,
    paired_difference,
)
from disobey.measures.inference.statistics import (
    correlation_coefficient,
    mean,
    ols_slope,
    sd_ratio,
    swapped_slope,
    tail_mean,
    tls_slope,
)
from disobey.records.predictions import Predictions
from tests.support.refusals import refuses


def pair(n=300, classes=5, seed=0, **columns) -> Predictions:
    rng = np.random.default_rng(seed)
    teacher = 2 * rng.normal(size=(n, classes))
    student, twin = (teacher + rng.normal(size=teacher.shape) for _ in range(2))
    labels = np.where(rng.random(n) < 0.8, teacher.argmax(1), rng.integers(classes, size=n))
    columns = {"twin": twin, "mislabelled": rng.random(n) < 0.2} | columns
    return Predictions.from_logits(teacher, student, labels, **columns)


def plain_bootstrap(statistic, columns, resamples, rng):
    """The slow, obvious twin: rows drawn with replacement, copied, and the statistic called again."""
    n = len(columns[0])
    values = []
    for _ in range(resamples):
        rows = rng.integers(n, size=n)
        values.append(float(statistic(*(column[rows] for column in columns))))
    return np.array(values)


STATISTICS = {
    "mean": lambda x, y, **w: mean(x, **w),
    "ols": ols_slope,
    "tls": tls_slope,
    "swapped": swapped_slope,
    "sd": sd_ratio,
    "correlation": correlation_coefficient,
    "tail": lambda x, y, **w: tail_mean(x, y, share=0.25, **w),
    "upper tail": lambda x, y, **w: tail_mean(x, y, share=0.3, upper=True, **w),
    "subset's tail": lambda x, y, **w: tail_mean(x, y, (x * 7).astype(int) % 2 == 0, share=0.5, **w),
    "ece": lambda x, y, **w: calibration.calibration_error(
        1 / (1 + np.exp(-x)), (y > 0.0) * 1.0, binning=calibration.width_bins, **w
    ),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_weights_are_repeated_rows(name):
    rng = np.random.default_rng(1)
    x = rng.normal(size=60)
    y = 0.7 * x + rng.normal(size=60)
    weights = rng.poisson(1.0, size=(4, 60))
    together = STATISTICS[name](x, y, weights=weights)
    assert together.shape == (4,)
    for counts, value in zip(weights, together, strict=True):
        rows = np.repeat(np.arange(60), counts)
        assert value == pytest.approx(float(STATISTICS[name](x[rows], y[rows])), abs=1e-12)


def test_matrix_columns_count_as_many_points():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 30, 3))
    for statistic in (lambda x, y: mean(x), ols_slope, tls_slope, sd_ratio):
        assert float(statistic(x, y)) == pytest.approx(float(statistic(x.ravel(), y.ravel())), abs=1e-12)


def test_slopes_do_not_lose_a_small_spread_on_a_large_offset():
    x = np.linspace(0, 1e-3, 50)
    assert float(ols_slope(x + 1e6, 3 * x)) == pytest.approx(3, rel=1e-6)


def test_single_precision_is_summed_in_double():
    x = np.random.default_rng(3).normal(size=200_000).astype(np.float32) + np.float32(100)
    y = 2 * x
    for name in ("mean", "ols", "tls", "sd", "correlation", "tail", "upper tail"):
        exact = float(STATISTICS[name](x.astype(np.float64), y.astype(np.float64)))
        assert float(STATISTICS[name](x, y)) == pytest.approx(exact, rel=1e-9)


def test_undefined_is_nan_without_a_warning():
    constant = np.ones(5)
    assert np.isnan(float(ols_slope(constant, constant)))
    assert np.isnan(float(tls_slope(constant, constant)))
    assert np.isnan(float(mean(constant, weights=np.zeros(5))))


@pytest.mark.parametrize("statistic", [mean, ols_slope, tls_slope, STATISTICS["tail"]], ids=["mean", "ols", "tls", "t"])
def test_fast_intervals_are_those_of_the_plain_bootstrap(statistic):
    """Same standard error as copying rows: with counts at n = 400, with the grouped jackknife at n = 6,000."""
    rng = np.random.default_rng(3)
    for n in (400, 6000):
        x = rng.normal(size=n)
        columns = (x,) if statistic is mean else (x, 1.3 * x + (1 + 0.5 * abs(x)) * rng.normal(size=n))
        slow = plain_bootstrap(statistic, columns, 400, rng).std()
        ((_, low, high),) = resampling.example_intervals([lambda w: statistic(*columns, weights=w)], n)  # noqa: B023
        # The jackknife's own error with 100 groups is 7 %, the bootstraps' 3.5 % and 2 %.
        assert (high - low) / (2 * 1.96) == pytest.approx(slow, rel=0.25 if n > resampling.MANY else 0.15)
    assert n > resampling.MANY


def test_random_groups_of_many_examples_give_the_error_of_all():
    p = pair(n=18_000, classes=3)
    measures = [deviation.MEASURES["ols_slope"], deviation.MEASURES["low_deviation"], calibration.MEASURES["nll"]]
    other = p.with_student(p.twin)
    differ = agreement.MEASURES["student_right_where_they_differ"]
    pairs = [(calibration.MEASURES["nll"], p, other), (differ, p, other)]
    whole = [*all_over_examples(measures, p).values(), *(paired_over_examples(*three) for three in pairs)]
    part = list(estimates(read(measures, p), blocked=5500).values())
    part += [paired_over_examples(*three, blocked=5500) for three in pairs]
    for a, b in zip(whole, part, strict=True):
        assert a.value == pytest.approx(b.value, rel=1e-12)
        assert (a.n, a.name) == (b.n, b.name)
        assert b.high - b.low == pytest.approx(a.high - a.low, rel=0.35)
        assert b.high - b.low != a.high - a.low


def test_many_examples_alone_or_together_in_any_order_of_the_measures():
    """What puts examples in order, or shares their groups, changes nothing for its neighbours."""
    p = pair(n=6_000, classes=3)
    measures = [calibration.MEASURES[name] for name in ("nll", "ece", "ece_debiased")] + [
        deviation.MEASURES["tls_slope"]
    ]
    measures.append(replace(calibration.MEASURES["brier"], order=None))
    together = estimates(read(measures, p), blocked=5_500)
    assert together == estimates(read(measures[::-1], p), blocked=5_500)
    for measure in measures:
        assert estimates(read([measure], p), blocked=5_500)[measure.name] == together[measure.name]


def test_the_groups_of_the_jackknife_partition_the_examples():
    weights = np.concatenate(list(resampling.leave_group_out(1003, 10, np.random.default_rng(0))))
    assert weights.shape == (10, 1003)
    assert np.array_equal(weights.sum(axis=0), np.full(1003, 9))
    assert set(weights.sum(axis=1)) <= {1003 - 100, 1003 - 101}


def coverage(draw, statistic, truth, n, level, replicates=150, seed=5):
    rng = np.random.default_rng(seed)
    held = 0
    for _ in range(replicates):
        columns = draw(rng, n)
        ((_, low, high),) = resampling.example_intervals(
            [lambda w, c=columns: statistic(*c, weights=w)],
            n,
            resamples=300,
            level=level,
            seed=int(rng.integers(2**31)),
        )
        held += low <= truth <= high
    return held / replicates


def skewed(rng, n):
    return (rng.exponential(size=n),)


def line(rng, n):
    x = rng.normal(size=n)
    return x, 1.2 * x + (1 + 0.3 * abs(x)) * rng.normal(size=n)


def axes(rng, n):
    u = 1.5 * rng.normal(size=n)
    return u + 0.5 * rng.normal(size=n), 1.3 * u + 0.5 * rng.normal(size=n)


@pytest.mark.parametrize(
    ("draw", "statistic", "truth"),
    [(skewed, mean, 1.0), (line, ols_slope, 1.2), (axes, tls_slope, 1.3)],
    ids=["mean", "ols", "tls"],
)
def test_intervals_hold_the_planted_truth_as_often_as_they_say(draw, statistic, truth):
    """A quick form: four standard errors of 150 replicates. The full table is the slow test below."""
    assert 0.88 <= coverage(draw, statistic, truth, 250, 0.95) < 1
    assert 0.34 <= coverage(draw, statistic, truth, 250, 0.5) <= 0.66  # neither is a wide interval enough


@pytest.mark.slow
@pytest.mark.parametrize("n", [200, 500, 2000])
@pytest.mark.parametrize(
    "name",
    ["mean", "ols_slope", "tls_slope", "agreement", "agreement .99", "low_deviation", "ece_debiased difference"],
)
def test_full_coverage_table(name, n):
    case = table.CASES[name]
    bounds = table.bounds_by_kind(case, n, 300, seed=n)["chosen"]
    held = np.mean((bounds[:, 0] <= case.truth) & (case.truth <= bounds[:, 1]))
    assert 0.91 <= held <= 0.99  # three standard errors; the table with more replicates is in docs/measures.md


def test_a_share_gets_wilsons_interval():
    p = pair()
    estimate = over_examples(agreement.MEASURES["agreement"], p)
    oracle = stats.binomtest(round(estimate.value * 300), 300).proportion_ci(method="wilson")
    assert (estimate.low, estimate.high) == pytest.approx((oracle.low, oracle.high))
    same = over_examples(agreement.MEASURES["agreement"], p.with_student(p.teacher))
    assert same.high == 1
    assert same.low == pytest.approx(1 / (1 + 1.959964**2 / 300), rel=1e-6)  # not [1, 1]
    assert over_examples(agreement.MEASURES["negative_flips.low"], p.with_student(p.teacher)).high > 0.02


def test_a_statistic_without_weights_gets_the_same_resamples():
    p = pair(120)
    columns = lambda p: (p.student.max(axis=1),)
    weighted, plain = (over_examples(Measure("m", columns, s), p, resamples=200) for s in (mean, np.mean))
    assert (plain.low, plain.high) == pytest.approx((weighted.low, weighted.high), abs=1e-12)
    assert np.isfinite(over_examples(Measure("m", columns, np.median), p, resamples=50).low)
    twice = minus_twin(Measure("m", columns, np.mean))
    assert over_examples(twice, p, resamples=50).value == pytest.approx(
        p.student.max(axis=1).mean() - p.twin.max(axis=1).mean()
    )


def test_together_or_alone_in_chunks_or_whole_is_the_same():
    p = pair()
    measures = with_twins([deviation.MEASURES["tls_slope"], agreement.MEASURES["kl"], calibration.MEASURES["ece"]])
    together = all_over_examples(measures, p, resamples=100)
    assert list(together) == [measure.name for measure in measures]
    for measure in measures:
        assert over_examples(measure, p, resamples=100) == together[measure.name]
    assert estimates(read(measures, p, chunk=7 * p.n_classes), resamples=100) == together


def test_shared_columns_are_computed_once():
    calls = []

    def columns(p):
        calls.append(len(p))
        return (p.student.max(axis=1),)

    first, second = Measure("a", columns, mean), Measure("b", columns, mean)
    all_over_examples([first, second], pair(), resamples=10)
    assert calls == [300]
    all_over_examples([minus_twin(first), minus_twin(second)], pair(), resamples=10)
    assert calls == [300, 300, 300]  # once for the student, once for the twin


def test_forms_put_others_in_the_students_place():
    p = pair()
    nll = calibration.MEASURES["nll"]
    assert on_twin(nll)(p) == nll(p.with_student(p.twin))
    assert on_teacher(nll)(p) == nll(p.with_student(p.teacher))
    assert minus_twin(nll)(p) == pytest.approx(nll(p) - on_twin(nll)(p))
    assert minus_teacher(nll)(p) == pytest.approx(nll(p) - on_teacher(nll)(p))
    assert minus_twin(nll).name == "nll.minus_twin"


def test_paired_over_examples_is_the_difference_over_common_resamples():
    p = pair()
    other = p.with_student(p.twin)
    for measure in (calibration.MEASURES["nll"], deviation.MEASURES["ols_slope"]):
        a, b = paired_over_examples(measure, p, other), over_examples(minus_twin(measure), p)
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), abs=1e-12)
    same = paired_over_examples(calibration.MEASURES["nll"], p, p)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    # Pairing pays: the interval is narrower than one from independent resamples.
    single = over_examples(calibration.MEASURES["nll"], p)
    paired = paired_over_examples(calibration.MEASURES["nll"], p, other)
    assert paired.high - paired.low < single.high - single.low


def test_pairs_with_different_examples_on_each_side():
    p = pair()
    measure = agreement.MEASURES["student_right_where_they_differ"]
    other = p.with_student(p.twin)
    estimate = paired_over_examples(measure, p, other, resamples=200)
    assert estimate.value == pytest.approx(measure(p) - measure(other))
    top = [x.argmax(1) for x in (p.teacher, p.student, p.twin)]
    assert estimate.n == ((top[0] != top[1]) | (top[0] != top[2])).sum()
    assert estimate.low < estimate.value < estimate.high


def test_errors_say_what_is_missing():
    p = pair()
    with refuses("measure-needs", "twin", "'kl.twin'"):
        over_examples(on_twin(agreement.MEASURES["kl"]), replace(p, twin=None))
    with refuses("measure-needs", "labels"):
        over_examples(calibration.MEASURES["nll"], replace(p, labels=None))
    with refuses("other-examples"):
        paired_over_examples(agreement.MEASURES["kl"], p, replace(p, ids=p.ids + 1))
    kept = applicable(agreement.MEASURES.values(), replace(p, labels=None))
    assert "kl" in {m.name for m in kept}
    assert "student_accuracy" not in {m.name for m in kept}


def test_no_examples_no_number_and_one_example_no_interval():
    p = pair(mislabelled=np.zeros(300, dtype=bool))
    for name in ("ols_slope.mislabelled", "share_below.mislabelled"):
        none = over_examples(deviation.MEASURES[name], p)
        assert none.n == 0
        assert np.isnan(none.value)
        assert not none.known
    one = over_examples(calibration.MEASURES["nll"], p.take(slice(1)))
    assert one.value > 0
    assert not one.known


def test_over_runs_is_students_t():
    values = np.array([0.7, 0.74, 0.69, 0.75])
    estimate = mean_over_runs(values, "accuracy", level=0.9)
    assert mean_over_runs(values, "risk", over="draws").over == "draws"
    oracle = stats.t.interval(0.9, 3, values.mean(), stats.sem(values))
    assert (estimate.low, estimate.high) == pytest.approx(oracle)
    assert (estimate.n, estimate.over) == (4, "runs")
    assert not mean_over_runs([0.7], "accuracy").known
    with refuses("no-runs"):
        mean_over_runs([], "accuracy")
    runs, measure = [pair(seed=s) for s in range(3)], agreement.MEASURES["kl"]
    assert over_runs(measure, runs) == mean_over_runs([measure(run) for run in runs], "kl")
    twins = [run.with_student(run.twin) for run in runs]
    assert over_runs(measure, runs, minus=twins).value == pytest.approx(over_runs(minus_twin(measure), runs).value)


def test_paired_difference_pairs_by_seed():
    a, b = {0: 1.0, 1: 2.0, 2: 4.0}, {2: 3.0, 0: 0.5, 1: 1.0}
    estimate = paired_difference(a, b)
    assert estimate == paired_difference([1.0, 2.0, 4.0], [0.5, 1.0, 3.0])
    differences = [0.5, 1.0, 1.0]
    oracle = stats.ttest_1samp(differences, 0).confidence_interval()
    assert (estimate.low, estimate.high) == pytest.approx(tuple(oracle))
    with refuses("unpaired-runs", "[0]", "[1]"):
        paired_difference({0: 1.0}, {1: 1.0})
    with refuses("unpaired-runs", "(2,)", "(1,)"):
        paired_difference([1.0, 2.0], [1.0])


def test_two_way_intervals_cover_seeds_and_examples():
    """Runs and examples both vary; an interval over the examples of one run, or over runs, misses half of that."""
    rng = np.random.default_rng(8)
    column = Measure("m", lambda p: (p.student[:, 0] - p.student[:, 1],), mean)
    two_way, runs_only = 0, 0
    for replicate in range(60):
        of_run, of_example = 0.1 * rng.normal(size=(8, 1)), rng.normal(size=60)
        values = of_run + of_example
        runs = [Predictions.from_logits(np.zeros((60, 2)), np.stack([v, np.zeros(60)], axis=1)) for v in values]
        estimate = over_runs_and_examples(column, runs, resamples=200, seed=replicate)
        two_way += estimate.low <= 0 <= estimate.high
        estimate = over_runs(column, runs)
        runs_only += estimate.low <= 0 <= estimate.high
    assert two_way >= 0.87 * 60
    assert runs_only <= 0.85 * 60
    with refuses("few-runs", "4"):
        over_runs_and_examples(column, runs[:4])
