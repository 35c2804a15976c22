"""Probes against scikit-learn and a twin that votes one example at a time; planted truth and controls."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from disobey.measures.probes import logistic_probe, neighbour_probe
from tests.support.refusals import refuses

C = 4


def example(sizes=(200, 150, 150), features=8, signal=1.5, seed=0):
    """Overlapping Gaussian classes with features of very different scales."""
    generator = np.random.default_rng(seed)
    means = signal * generator.normal(size=(C, features)) / np.sqrt(features) * 2
    labels = generator.integers(0, C, sum(sizes))
    inputs = (means[labels] + generator.normal(size=(len(labels), features))) * 10.0 ** np.linspace(-3, 3, features) + 5
    cuts = np.cumsum(sizes)[:-1]
    return np.split(inputs, cuts), np.split(labels, cuts)


def probed(probe, x, y, **options):
    return probe(x[0], y[0], x[1], y[1], x[2], **options)


@pytest.mark.parametrize(("features", "strength"), [(8, 0.01), (8, 1.0), (260, 0.03)])
def test_logistic_equals_scikit_learn(features, strength):
    x, y = example(features=features)
    scaler = StandardScaler().fit(x[0])
    theirs = LogisticRegression(C=strength, tol=1e-8, max_iter=5000).fit(scaler.transform(x[0]), y[0])
    ours = probed(logistic_probe, x, y, strengths=[strength], tolerance=1e-9)
    assert ours.iterations[0] < 1000
    assert np.array_equal(ours.test_answers, theirs.predict(scaler.transform(x[2])))
    assert np.array_equal(ours.validation_answers, theirs.predict(scaler.transform(x[1])))


def test_default_tolerance_is_convergence():
    x, y = example(features=30)
    loose, tight = (probed(logistic_probe, x, y, tolerance=tolerance, limit=5000) for tolerance in (1e-5, 1e-9))
    assert loose.setting == tight.setting
    assert (loose.test_answers == tight.test_answers).mean() > 0.995


def test_strength_is_chosen_on_validation_alone():
    x, y = example(sizes=(60, 200, 200), features=40)
    probe = probed(logistic_probe, x, y)
    accuracies = []
    for strength in probe.settings:
        single = probed(logistic_probe, x, y, strengths=[strength])
        accuracies.append((single.validation_answers == y[1]).mean())
    np.testing.assert_allclose(probe.validation_accuracies, accuracies, atol=0.011)
    best = np.flatnonzero(probe.validation_accuracies == probe.validation_accuracies.max())[0]
    assert probe.setting == probe.settings[best]
    flipped = logistic_probe(x[0], y[0], x[1], y[1], x[2][::-1])
    assert np.array_equal(flipped.test_answers, probe.test_answers[::-1])


def test_patience_leaves_out_only_what_loses():
    x, y = example(sizes=(60, 200, 200), features=40)
    short, whole = (probed(logistic_probe, x, y, patience=patience) for patience in (2, 99))
    assert len(short.settings) < len(whole.settings)
    assert np.array_equal(short.validation_accuracies, whole.validation_accuracies[: len(short.settings)])
    assert short.setting == whole.setting


@pytest.mark.parametrize(("metric", "count"), [("euclidean", 20), ("cosine", 20), ("euclidean", 1)])
def test_neighbours_equal_scikit_learn_where_votes_are_not_tied(metric, count):
    x, y = example()
    x = [side / 10.0 ** np.linspace(-3, 3, 8) for side in x]
    theirs = KNeighborsClassifier(count, metric=metric, algorithm="brute").fit(x[0], y[0])
    votes = np.sort(theirs.predict_proba(x[2]), axis=1)
    clear = votes[:, -1] > votes[:, -2]
    ours = probed(neighbour_probe, x, y, neighbours=count, metric=metric)
    assert clear.mean() > 0.8
    assert np.array_equal(ours.test_answers[clear], theirs.predict(x[2])[clear])
    assert ours.validation_accuracies[0] == (ours.validation_answers == y[1]).mean()


def test_neighbours_equal_a_slow_twin_ties_included():
    x, y = example()
    answers = []
    for row in x[2]:
        distance = np.linalg.norm(x[0] - row, axis=1)
        near = np.argsort(distance)[:6]
        counts = np.bincount(y[0][near], minlength=C)
        answers.append(next(y[0][i] for i in near if counts[y[0][i]] == counts.max()))
    assert np.array_equal(probed(neighbour_probe, x, y, neighbours=6).test_answers, answers)


@pytest.mark.parametrize("probe", [logistic_probe, neighbour_probe])
def test_planted_truth_and_controls(probe):
    generator = np.random.default_rng(1)
    x, y = example(sizes=(300, 300, 1000), signal=12)
    x = [side / 10.0 ** np.linspace(-3, 3, 8) for side in x]
    assert probed(probe, x, y).accuracy(y[2]) > 0.99
    told = [generator.permutation(side) for side in y]
    chance = probed(probe, x, told).accuracy(told[2])
    assert abs(chance - 1 / C) < 4 * np.sqrt(0.25 * 0.75 / 1000) + 0.03  # classes are not quite equally many
    noise = [generator.normal(size=side.shape) for side in x]
    assert abs(probed(probe, noise, y).accuracy(y[2]) - 1 / C) < 4 * np.sqrt(0.25 * 0.75 / 1000) + 0.03


def test_scale_free():
    x, y = example()
    base, moved = probed(logistic_probe, x, y), probed(logistic_probe, [side * 1e4 - 7 for side in x], y)
    assert np.array_equal(base.test_answers, moved.test_answers)
    near = probed(neighbour_probe, x, y)
    assert np.array_equal(near.test_answers, probed(neighbour_probe, [side * 64.0 for side in x], y).test_answers)


def test_constant_features_missing_classes_and_few_examples():
    x, y = example(sizes=(12, 150, 150))
    x = [np.hstack([side, np.full((len(side), 1), 3.0)]) for side in x]
    keep = y[0] != 2  # a class that training lacks is never answered
    for probe in (logistic_probe, neighbour_probe):
        found = probe(x[0][keep], y[0][keep], x[1], y[1], x[2])
        assert set(found.test_answers) <= set(y[0][keep])
    only = logistic_probe(
        np.ones((5, 2)), np.array([3, 3, 3, 3, 1]), np.ones((2, 2)), np.array([3, 3]), np.ones((4, 2))
    )
    assert only.test_answers.tolist() == [3, 3, 3, 3]
    assert neighbour_probe(x[0], y[0], x[1], y[1], x[2]).setting == 12


def test_errors():
    x, y = example()
    with refuses("feature-shapes"):
        logistic_probe(x[0], y[0], x[1][:, 1:], y[1], x[2])
    with refuses("label-shape"):
        neighbour_probe(x[0], y[1], x[1], y[1], x[2])
    with refuses("not-finite"):
        logistic_probe(x[0] * np.nan, y[0], x[1], y[1], x[2])
    with refuses("strengths", "[0.0]"):
        probed(logistic_probe, x, y, strengths=[0.0])
    with refuses("neighbours", "0 and"):
        probed(neighbour_probe, x, y, neighbours=0)
