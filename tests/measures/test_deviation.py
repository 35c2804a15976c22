from dataclasses import replace

import mpmath
import numpy as np
import pytest

from disobey.measures.deviation import (
    MEASURES,
    best_classes,
    binned_medians,
    confidence,
    fitted_line,
    log_odds,
    top_slope,
)
from disobey.measures.inference.examples import all_over_examples, over_examples
from disobey.measures.inference.measure import minus_twin, on_twin
from disobey.measures.inference.statistics import ols_slope, tail_mean, tls_slope
from disobey.records.predictions import Predictions


def pair(n=400, classes=5, seed=0, **columns) -> Predictions:
    rng = np.random.default_rng(seed)
    teacher = 2 * rng.normal(size=(n, classes))
    student, twin = (teacher + rng.normal(size=teacher.shape) for _ in range(2))
    labels = np.where(rng.random(n) < 0.8, teacher.argmax(1), rng.integers(classes, size=n))
    columns = {"twin": twin, "mislabelled": rng.random(n) < 0.2} | columns
    return Predictions.from_logits(teacher, student, labels, **columns)


def binary(x, y, **columns) -> Predictions:
    """Two classes, so that log-odds can be planted: x ≥ 0 is the teacher's, in nats."""
    zero = np.zeros_like(x)
    return Predictions.from_logits(np.stack([x, zero], 1), np.stack([y, zero], 1), **columns)


def test_log_odds_are_right_at_extreme_logits():
    rng = np.random.default_rng(0)
    mpmath.mp.dps = 60
    for scale in (1, 30, 1e3, 1e4):
        logits = scale * rng.normal(size=(5, 4))
        logits[0] = [scale, -scale, -scale, -scale]
        p = Predictions.from_logits(logits, logits)
        for c in range(4):
            got = log_odds(p.teacher, np.full(5, c))
            for row, value in zip(logits, got, strict=True):
                others = mpmath.log(mpmath.fsum(mpmath.exp(mpmath.mpf(z)) for i, z in enumerate(row) if i != c))
                assert value == pytest.approx(float(mpmath.mpf(row[c]) - others), rel=1e-12, abs=1e-12)


def test_a_sure_teacher_has_finite_log_odds():
    """log p − log(1 − p) would be infinite here: p rounds to 1."""
    p = Predictions.from_logits(np.array([[50.0, 0.0, 0.0]]), np.array([[1e4, 0.0, -1e4]]))
    assert np.exp(p.teacher[0, 0]) == 1
    x, y, *_ = confidence(p)
    assert x == pytest.approx(50 - np.log(2))
    assert y == pytest.approx(1e4)


def test_extreme_predictions_give_numbers_everywhere():
    rng = np.random.default_rng(1)
    logits = rng.choice([-1e4, -30.0, 0.0, 30.0, 1e4], size=(200, 6)) + rng.normal(size=(200, 6))
    p = Predictions.from_logits(logits, logits[::-1].copy(), logits.argmax(1) * (rng.random(200) < 0.7))
    for estimate in all_over_examples([m for m in MEASURES.values() if m.needs in ((), ("labels",))], p).values():
        assert np.isfinite([estimate.value, estimate.low, estimate.high]).all(), estimate


def test_infinite_log_odds_are_left_out_and_counted():
    teacher = np.log([[0.7, 0.3], [0.9, 0.1], [0.6, 0.4], [0.8, 0.2]])
    student = teacher.copy()
    with np.errstate(divide="ignore"):
        student[1] = np.log([0.0, 1.0])
    p = Predictions(teacher, student, None, np.arange(4))
    assert MEASURES["infinite_share"](p) == 0.25
    slope = over_examples(MEASURES["ols_slope"], p)
    assert (slope.n, slope.value) == (3, pytest.approx(1))
    assert over_examples(MEASURES["mean_deviation"], p).value == pytest.approx(0, abs=1e-15)
    assert MEASURES["share_below"](p) == pytest.approx((1 + 3 * 0.5) / 4)  # the order is known where the gap is not
    assert MEASURES["high_below"](p) == 1
    both = replace(p, twin=teacher)
    assert over_examples(minus_twin(MEASURES["mean_deviation"]), both).n == 3


def test_an_obedient_student_lies_on_the_diagonal():
    p = pair()
    p = replace(p, student=p.teacher)
    for name, measure in MEASURES.items():
        estimate = over_examples(measure, p, resamples=100)
        expected = {"slope": 1, "sd_ratio": 1, "deviation": 0, "below": 0.5, "infinite": 0}
        (value,) = {v for key, v in expected.items() if key in name.split(".")[0]}
        assert estimate.value == pytest.approx(value, abs=1e-12), name
        if not measure.share_of:
            assert estimate.high - estimate.low < 1e-12, name


@pytest.mark.parametrize("slope", [0.7, 1.0, 1.4])
def test_planted_exaggeration_is_found_exactly(slope):
    x = np.random.default_rng(2).exponential(2, size=300)
    p = binary(x, slope * x - 0.3, labels=(x < 1).astype(int))
    for subset in ("", ".teacher_right", ".teacher_wrong"):
        for name in ("ols_slope", "tls_slope", "swapped_slope", "sd_ratio"):
            assert MEASURES[name + subset](p) == pytest.approx(slope), name
    low = np.sort(x)[:75]
    assert MEASURES["low_deviation"](p) == pytest.approx(((slope - 1) * low - 0.3).mean())
    assert MEASURES["low_below"](p) == pytest.approx(np.mean((slope - 1) * low < 0.3))


def test_slopes_under_noise_on_both_axes_bracket_the_structural_one():
    rng = np.random.default_rng(3)
    u = 1.5 * rng.normal(size=200_000)
    x, y = u + 0.5 * rng.normal(size=u.size), 1.3 * u + 0.5 * rng.normal(size=u.size)
    p = binary(np.abs(x), y * np.sign(x))  # the teacher's choice is the sign: reflect both
    x, y = np.abs(x), y * np.sign(x)
    ols, swapped, sd = (MEASURES[name](p) for name in ("ols_slope", "swapped_slope", "sd_ratio"))
    assert ols < sd < swapped
    assert sd**2 == pytest.approx(ols * swapped)
    assert ols == pytest.approx(np.polyfit(x, y, 1)[0])
    assert swapped == pytest.approx(1 / np.polyfit(y, x, 1)[0])
    full = u + 0.5 * rng.normal(size=u.size), 1.3 * u + 0.5 * rng.normal(size=u.size)
    assert float(tls_slope(*full)) == pytest.approx(1.3, abs=0.01)
    assert float(ols_slope(*full)) == pytest.approx(1.3 * 2.25 / 2.5, abs=0.01)  # attenuated as theory says


def test_total_least_squares_is_the_principal_axis():
    x, y = np.random.default_rng(4).normal(size=(2, 100))
    y = y + 0.8 * x
    axis = np.linalg.eigh(np.cov(x, y))[1][:, 1]
    assert float(tls_slope(x, y)) == pytest.approx(axis[1] / axis[0])


def test_tail_means_are_those_of_sorted_rows():
    rng = np.random.default_rng(5)
    x, d = rng.normal(size=(2, 50))
    order = np.argsort(x)
    low = (d[order[:12]].sum() + 0.5 * d[order[12]]) / 12.5  # a quarter of 50 ends in the middle of an example
    assert float(tail_mean(x, d, share=0.25)) == pytest.approx(low)
    assert float(tail_mean(-x, d, share=0.25, upper=True)) == pytest.approx(low)
    whole = float(tail_mean(x, d, share=1.0))
    assert whole == pytest.approx(d.mean())
    tied = np.zeros(50)
    shuffle = rng.permutation(50)
    assert float(tail_mean(tied, d, share=0.3)) == pytest.approx(float(tail_mean(tied, d[shuffle], share=0.3)))


def test_quartiles_are_the_full_samples_and_means_the_subsets():
    p = pair()
    x, y, right, mislabelled = confidence(p)
    low = x <= np.sort(x)[99]  # 100 of 400
    for subset, members in (("teacher_right", right), ("teacher_wrong", ~right), ("mislabelled", mislabelled)):
        assert MEASURES[f"low_deviation.{subset}"](p) == pytest.approx((y - x)[low & members].mean())
        assert MEASURES[f"low_below.{subset}"](p) == pytest.approx((y < x)[low & members].mean())
        assert MEASURES[f"tls_slope.{subset}"](p) == pytest.approx(MEASURES["tls_slope"](p.take(members)))
        assert over_examples(MEASURES[f"tls_slope.{subset}"], p, resamples=10).n == members.sum()


def test_invariant_to_the_names_of_classes_and_the_order_of_examples():
    p = pair()
    classes, rows = np.random.default_rng(6).permutation(5), np.random.default_rng(7).permutation(400)
    renamed = replace(
        p.take(rows),
        teacher=p.teacher[rows][:, classes],
        student=p.student[rows][:, classes],
        labels=np.argsort(classes)[p.labels[rows]],
    )
    shifted = Predictions.from_logits(p.teacher + 100, p.student - 7, p.labels, mislabelled=p.mislabelled)
    for name, measure in MEASURES.items():
        assert measure(renamed) == pytest.approx(measure(p), abs=1e-9), name
        assert measure(shifted) == pytest.approx(measure(p), abs=1e-9), name


def test_selection_alone_makes_an_independent_model_look_less_sure():
    """Why the twin is there: no distillation, no deviation planted, yet the low quartile lies below the diagonal."""
    rng = np.random.default_rng(8)
    truth = rng.normal(size=(20_000, 5))
    teacher, student, twin = (truth + rng.normal(size=truth.shape) for _ in range(3))
    p = Predictions.from_logits(teacher, student, twin=twin)
    alone = over_examples(MEASURES["low_deviation"], p)
    against = over_examples(minus_twin(MEASURES["low_deviation"]), p)
    assert alone.high < -0.1
    assert abs(against.value) < against.high - against.low < 0.5 * abs(alone.value)  # four standard errors
    slope = over_examples(MEASURES["ols_slope"], p)
    assert slope.high < 0.9
    assert over_examples(on_twin(MEASURES["ols_slope"]), p).value == pytest.approx(slope.value, abs=0.05)
    # Positive control: a student that really is less sure shows it against the twin.
    doubted = np.where(p.teacher.max(axis=1) < np.log(0.5), 0.5, 0.0)
    student[np.arange(len(p)), teacher.argmax(axis=1)] -= doubted
    unsure = Predictions.from_logits(teacher, student, twin=twin)
    assert over_examples(minus_twin(MEASURES["low_deviation"]), unsure).high < 0


def test_slope_over_the_top_classes():
    p = pair(classes=6)
    rank = np.argsort(-p.teacher, axis=1)
    points = [[log_odds(q, rank[:, k]) for k in range(3)] for q in (p.teacher, p.student)]
    assert top_slope(3)(p) == pytest.approx(np.polyfit(np.ravel(points[0]), np.ravel(points[1]), 1)[0])
    assert top_slope(1)(p) == pytest.approx(MEASURES["ols_slope"](p))
    assert np.isfinite(top_slope(50)(p))  # at most as many as there are


def test_binned_medians_and_line():
    x = np.random.default_rng(9).normal(size=1000)
    bins = binned_medians(x, 3 * x, bins=10)
    assert bins.median == pytest.approx(3 * bins.x)
    assert bins.n.tolist() == [100] * 10
    assert (bins.low <= bins.median).all()
    assert len(binned_medians(x[:4], x[:4], bins=10).n) == 4
    slope, intercept = fitted_line(np.append(x, np.inf), np.append(2 * x + 1, 0.0))
    assert (slope, intercept) == pytest.approx((2, 1))


def test_best_classes_are_those_of_a_stable_sort():
    log_probs = np.random.default_rng(4).integers(-3, 0, size=(200, 7)).astype(float)
    log_probs[::3, 1:] = -np.inf
    expected = np.argsort(-log_probs, axis=1, kind="stable")
    for k in (1, 3, 7):
        np.testing.assert_array_equal(best_classes(log_probs, k), expected[:, :k])
