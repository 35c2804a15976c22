"""Intervals over clusters: wider where examples of a cluster are alike, the same where they are not."""

import numpy as np
import pytest

from disobey import measure
from disobey.measures import agreement, calibration
from disobey.measures.inference import clusters
from disobey.measures.inference.examples import all_over_examples, mean_of, over_examples, paired_over_examples
from disobey.measures.inference.measure import Measure, minus_twin
from disobey.measures.inference.statistics import mean
from disobey.records.predictions import Predictions
from tests.support.planted_clusters import planted
from tests.support.refusals import refuses

KL = agreement.MEASURES["kl"]


def test_a_planted_design_effect_is_paid():
    """Correlation ρ within m examples: variances grow by 1 + (m − 1) ρ, shown over many draws of one world."""
    size, rho, hits, widths = 20, 0.3, {"clusters": 0, "examples": 0}, []
    for seed in range(150):
        column, codes = planted(40, size, rho, seed)
        for over, known in (("clusters", codes), ("examples", None)):
            found = mean_of("m", column, codes=known)
            assert found.over == over
            hits[over] += found.low <= 0 <= found.high
        widths.append(clusters.design_effect(column, codes))
    assert abs(np.mean(widths) - (1 + (size - 1) * rho)) < 0.8
    assert hits["clusters"] >= 135  # 0.95 of 150 is 142
    assert hits["examples"] <= 105


def test_jackknife_is_the_closed_form_for_means():
    column, codes = planted(30, 8, 0.5, 3)
    sample = Measure("m", lambda p: (column,), mean)
    parts = clusters.parts_of(codes, 0)
    assert parts.groups == parts.clusters == 30
    error = clusters.error_over(lambda w: sample.statistic(column[parts.rows], weights=w), parts)
    assert error == pytest.approx(clusters.mean_error(column, codes), rel=0.02)


def test_many_clusters_and_examples_give_the_same_error():
    column, codes = planted(4_000, 20, 0.3, 1)
    parts = clusters.parts_of(codes, 0)
    assert parts.groups == 100
    assert len(parts.rows) < 60_000
    error = clusters.error_over(lambda w: mean(column[parts.rows], weights=w), parts)
    assert error == pytest.approx(clusters.mean_error(column, codes), rel=0.25)


def pair(cluster=None, seed=0, n=400):
    rng = np.random.default_rng(seed)
    teacher = 2 * rng.normal(size=(n, 4))
    shift = np.repeat(rng.normal(size=(n // 10, 4)), 10, axis=0)
    twin = teacher + 1.5 * rng.normal(size=(n, 4))
    return Predictions.from_logits(
        teacher,
        teacher + shift,
        rng.integers(4, size=n),
        twin=twin,
        **({} if cluster is None else {"cluster": cluster}),
    )


def test_every_measure_says_what_it_is_over():
    asked = [KL, agreement.MEASURES["agreement"], minus_twin(agreement.MEASURES["agreement.low"])]
    asked += [calibration.MEASURES["ece_debiased"], minus_twin(calibration.MEASURES["ece_debiased"])]
    cluster = np.repeat([f"text {i}" for i in range(40)], 10)
    found, naive = all_over_examples(asked, pair(cluster)), all_over_examples(asked, pair())
    assert {(e.over, e.n) for e in found.values()} == {("clusters", 40)}
    assert all(e.known for e in found.values())
    assert all(found[name].value == pytest.approx(naive[name].value) for name in found)
    assert found["kl"].high - found["kl"].low > 1.5 * (naive["kl"].high - naive["kl"].low)
    assert 0 <= found["agreement"].low < found["agreement"].high <= 1


def test_clusters_of_one_example_are_examples():
    alone = over_examples(KL, pair(np.arange(400)))
    naive = over_examples(KL, pair())
    assert alone.high - alone.low == pytest.approx(naive.high - naive.low, rel=0.3)


def test_order_of_rows_and_names_of_clusters_do_not_matter():
    cluster = np.repeat(np.arange(40), 10)
    p = pair(cluster)
    order = np.random.default_rng(0).permutation(400)
    a, b = over_examples(KL, p), over_examples(KL, p.take(order))
    assert a.low == pytest.approx(b.low)
    assert over_examples(KL, pair(cluster * 7 + 3)) == a


def test_shares_of_nothing_count_clusters():
    same = Predictions.from_logits(np.eye(2)[[0] * 60], np.eye(2)[[0] * 60], cluster=np.repeat(np.arange(6), 10))
    found = over_examples(agreement.MEASURES["agreement"], same)
    assert found.value == 1
    assert found.low < 0.7  # six independent things, not sixty


def test_pairs_of_predictions():
    cluster = np.repeat(np.arange(40), 10)
    a = pair(cluster)
    b = a.with_student(a.twin)
    found = paired_over_examples(KL, a, b)
    assert (found.over, found.n, found.known) == ("clusters", 40, True)
    with refuses("other-clusters"):
        paired_over_examples(KL, a, pair())


def test_too_few_are_refused():
    with refuses("few-clusters"):
        over_examples(KL, pair(np.repeat(np.arange(4), 100)))
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(40, 3))
    found = measure(scores + 1e-3, scores, cluster=np.repeat(list("abcdefgh"), 5), names=("kl",))["kl"]
    assert found.over == "clusters"
    with refuses("bad-shape"):
        measure(scores, scores, cluster=np.arange(3))
