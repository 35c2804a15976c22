from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import entropy

from disobey.measures.inference.examples import over_examples
from disobey.measures.information import (
    MEASURES,
    dark_knowledge,
    partial_correlation,
    shuffled_teacher,
    similarity_blocks,
    softness_measures,
)
from disobey.records.predictions import Predictions
from tests.support.refusals import refuses


def planted(within: float, n=3000, seed=0) -> Predictions:
    """Six classes in three pairs; each teacher row is its class's mean logits plus noise of size ``within``."""
    rng = np.random.default_rng(seed)
    means = 4 * np.eye(6) + 2 * np.eye(6)[[1, 0, 3, 2, 5, 4]]
    labels = rng.integers(6, size=n)
    logits = means[labels] + within * rng.normal(size=(n, 6))
    return Predictions.from_logits(logits, logits, labels)


def test_similar_classes_are_found():
    known = dark_knowledge(planted(0.5))
    assert known.similarity.sum(axis=1) == pytest.approx(np.ones(6))
    assert np.diag(known.similarity).tolist() == [0] * 6
    assert known.similarity.argmax(axis=1).tolist() == [1, 0, 3, 2, 5, 4]
    assert similarity_blocks(known.similarity, 3).tolist() == [0, 0, 1, 1, 2, 2]


def test_class_and_instance_knowledge_are_told_apart():
    assert dark_knowledge(planted(0.0)).instance_share == pytest.approx(0, abs=1e-12)
    rng = np.random.default_rng(1)
    teacher = rng.normal(size=(3000, 6))
    noise = Predictions.from_logits(teacher, teacher, rng.integers(6, size=3000))
    # The class fixes which entry is 0, so a little is left between classes even here.
    assert dark_knowledge(noise).instance_share > 0.7
    shares = [dark_knowledge(planted(s)).instance_share for s in (0.2, 0.6, 1.5)]
    assert shares == sorted(shares)


def test_variances_add_up():
    p = planted(0.8, n=200)
    known = dark_knowledge(p, temperature=2.0)
    rest = p.teacher / 2.0
    rest[np.arange(200), p.labels] = -np.inf
    rest = np.exp(log_softmax(rest, axis=1))
    assert known.within + known.between == pytest.approx(rest.var(axis=0).sum())
    means = np.stack([rest[p.labels == c].mean(axis=0) for c in range(6)])
    assert known.within == pytest.approx(((rest - means[p.labels]) ** 2).sum(axis=1).mean())


def test_softness_is_scipys_entropy():
    p = planted(0.5, n=100)
    probs = np.exp(log_softmax(p.teacher / 3, axis=1))
    bits, rest = softness_measures(3.0)
    assert bits(p) == pytest.approx(entropy(probs, axis=1).mean())
    assert rest(p) == pytest.approx((1 - probs.max(axis=1)).mean())
    sure = Predictions.from_logits(np.array([[90.0, 0.0]]), np.array([[0.0, 0.0]]))
    assert softness_measures(1.0)[1](sure) == pytest.approx(np.exp(-90))  # 1 − max would say 0


def test_partial_correlation_is_that_of_residuals():
    x, y, z = np.random.default_rng(2).normal(size=(3, 80))
    x, y = x + z, y - 0.5 * z + 0.3 * x
    residuals = [v - np.polyval(np.polyfit(z, v, 1), z) for v in (x, y)]
    assert float(partial_correlation(x, y, z)) == pytest.approx(np.corrcoef(*residuals)[0, 1])


def test_only_a_taught_student_is_explained_beyond_its_twin():
    rng = np.random.default_rng(3)
    truth, own = rng.normal(size=(2, 2000, 4))
    twin, untaught, noise = (truth + rng.normal(size=truth.shape) for _ in range(3))
    teacher = truth + own
    taught = 0.5 * teacher + 0.5 * noise
    beyond = MEASURES["explained_beyond_twin"]
    p = Predictions.from_logits(teacher, taught, truth.argmax(1), twin=twin)
    assert over_examples(beyond, p).low > 0.3
    # A teacher's rows dealt out anew inside each class explain less; dealt out over all, nothing.
    everywhere = over_examples(beyond, shuffled_teacher(p, within_classes=False))
    inside = over_examples(beyond, shuffled_teacher(p, within_classes=True))
    assert everywhere.value == pytest.approx(0, abs=0.1)
    assert inside.high < over_examples(beyond, p).low
    assert over_examples(beyond, p.with_student(log_softmax(untaught, axis=1))).value < over_examples(beyond, p).low


def test_shuffling_within_classes_keeps_the_classes():
    p = planted(0.5, n=500)
    shuffled = shuffled_teacher(p, within_classes=True, seed=1)
    assert not np.array_equal(shuffled.teacher, p.teacher)
    for c in range(6):
        a, b = shuffled.teacher[p.labels == c], p.teacher[p.labels == c]
        assert np.array_equal(a[np.lexsort(a.T)], b[np.lexsort(b.T)])
    assert np.array_equal(shuffled.student, p.student)
    assert np.array_equal(shuffled_teacher(p, within_classes=True, seed=1).teacher, shuffled.teacher)
    with refuses("missing-labels"):
        shuffled_teacher(replace(p, labels=None), within_classes=True)
