from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax, rel_entr
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score

from disobey.measures.agreement import MEASURES, divergence_measures, kl_divergence, overlap_measure, rank_agreement
from disobey.measures.inference.examples import over_examples
from disobey.records.predictions import Predictions


def pair(n=300, classes=7, seed=0) -> Predictions:
    rng = np.random.default_rng(seed)
    teacher = 2 * rng.normal(size=(n, classes))
    student = teacher + rng.normal(size=teacher.shape)
    labels = np.where(rng.random(n) < 0.7, teacher.argmax(1), rng.integers(classes, size=n))
    return Predictions.from_logits(teacher, student, labels)


def tops(p):
    return p.teacher.argmax(1), p.student.argmax(1)


def test_accuracies_flips_and_agreement():
    p = pair()
    value = {name: measure(p) for name, measure in MEASURES.items()}
    teacher, student = tops(p)
    assert value["teacher_accuracy"] == pytest.approx(accuracy_score(p.labels, teacher))
    assert value["student_accuracy"] == pytest.approx(accuracy_score(p.labels, student))
    assert value["agreement"] == pytest.approx(accuracy_score(teacher, student))
    assert value["positive_flips"] == pytest.approx(np.mean((teacher != p.labels) & (student == p.labels)))
    assert value["negative_flips"] == pytest.approx(np.mean((teacher == p.labels) & (student != p.labels)))
    assert value["accuracy_gap"] == pytest.approx(value["positive_flips"] - value["negative_flips"])
    right, differ = teacher == p.labels, teacher != student
    assert value["agreement.teacher_right"] == pytest.approx(np.mean(~differ[right]))
    assert value["agreement.teacher_wrong"] == pytest.approx(np.mean(~differ[~right]))
    assert value["student_right_where_they_differ"] == pytest.approx(np.mean((student == p.labels)[differ]))
    assert value["teacher_right_where_they_differ"] == pytest.approx(np.mean(right[differ]))
    assert value["gap_where_they_differ"] * differ.mean() == pytest.approx(value["accuracy_gap"])
    assert over_examples(MEASURES["agreement.teacher_wrong"], p).n == (~right).sum()


def test_the_low_quartile_is_where_the_teacher_is_least_confident():
    p = pair()
    order = np.argsort(p.teacher.max(axis=1))  # the log-odds of the choice rise with its probability
    low = p.take(order[:75])
    for name in ("student_accuracy", "agreement", "negative_flips", "accuracy_gap"):
        assert MEASURES[f"{name}.low"](p) == pytest.approx(MEASURES[name](low))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_divergences_are_scipys(temperature):
    p = pair()
    t, s = (np.exp(log_softmax(x / temperature, axis=1)) for x in (p.teacher, p.student))
    forward, reverse, shannon, variation = (m(p) for m in divergence_measures(temperature))
    assert forward == pytest.approx(rel_entr(t, s).sum(axis=1).mean())
    assert reverse == pytest.approx(rel_entr(s, t).sum(axis=1).mean())
    assert shannon == pytest.approx((jensenshannon(t, s, axis=1) ** 2).mean())
    assert variation == pytest.approx(0.5 * np.abs(t - s).sum(axis=1).mean())


def test_divergence_of_a_teacher_from_itself_is_nothing():
    p = pair()
    p = replace(p, student=p.teacher)
    for name in ("kl", "reverse_kl", "jensen_shannon", "total_variation", "kl.T4"):
        assert MEASURES[name](p) == pytest.approx(0, abs=1e-15)
    for name in ("agreement", "top5_overlap", "rank_correlation"):
        assert MEASURES[name](p) == pytest.approx(1)


def test_divergences_at_extreme_and_at_impossible_classes():
    logits = np.array([[1e4, 0.0, -1e4], [0.0, 1e4, -1e4]])
    p = Predictions.from_logits(logits, logits[::-1].copy())
    assert MEASURES["kl"](p) == pytest.approx(1e4)
    assert MEASURES["jensen_shannon"](p) == pytest.approx(np.log(2))
    assert MEASURES["total_variation"](p) == pytest.approx(1)
    with np.errstate(divide="ignore"):
        never = np.log([[0.5, 0.5, 0.0], [0.5, 0.25, 0.25]])
    p = Predictions(never, never[::-1].copy(), None, np.arange(2))
    infinite = over_examples(MEASURES["kl"], p)
    assert infinite.value == np.inf
    assert not infinite.known
    for name in ("jensen_shannon", "total_variation", "total_variation.T4"):
        assert over_examples(MEASURES[name], p).known
    assert np.array_equal(kl_divergence(never, never), [0, 0])


def test_infinite_divergence_on_many_examples_has_no_interval():
    p = pair(n=6000, classes=2)
    student = p.student.copy()
    student[0] = [-np.inf, 0.0]
    estimate = over_examples(MEASURES["kl"], p.with_student(student))
    assert estimate.value == np.inf
    assert not estimate.known


def test_rank_correlation_is_scipys_without_the_teachers_choice():
    p = pair(n=40)
    (got,) = rank_agreement(p)
    for row, value in enumerate(got):
        others = np.arange(7) != p.teacher[row].argmax()
        assert value == pytest.approx(spearmanr(p.teacher[row, others], p.student[row, others]).statistic)


def test_rank_correlation_is_left_out_where_it_is_not_defined():
    assert over_examples(MEASURES["rank_correlation"], pair(classes=2)).n == 0
    p = pair(n=10)
    flat = p.student.copy()
    flat[3] = -np.log(7)
    assert over_examples(MEASURES["rank_correlation"], p.with_student(flat)).n == 9


@pytest.mark.parametrize("k", [1, 3, 20])
def test_overlap_is_that_of_sets(k):
    p = pair(n=50)
    kept = min(k, 7)
    sets = [[set(np.argsort(-row)[:kept]) for row in x] for x in (p.teacher, p.student)]
    slow = np.mean([len(a & b) / kept for a, b in zip(*sets, strict=True)])
    assert overlap_measure(k)(p) == pytest.approx(slow)


def test_invariant_to_the_names_of_classes():
    p = pair()
    order = np.random.default_rng(1).permutation(7)
    renamed = Predictions.from_logits(p.teacher[:, order], p.student[:, order], np.argsort(order)[p.labels])
    for name, measure in MEASURES.items():
        assert measure(renamed) == pytest.approx(measure(p)), name


def test_measures_without_labels_do_not_need_them():
    p = replace(pair(), labels=None)
    for measure in MEASURES.values():
        if not measure.needs:
            assert over_examples(measure, p, resamples=20).known
