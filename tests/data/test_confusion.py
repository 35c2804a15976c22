"""The fast model: planted confusions are found, at any number of features, and wrong labels are not believed."""

from dataclasses import replace

import numpy as np

from disobey.data.confusion import MOST, confusions, cross_fitted_scores, fast_features
from disobey.data.dataset import DataSpec
from disobey.data.load import load


def test_planted_pairs_are_confused_with_each_other():
    rng = np.random.default_rng(0)
    places = np.eye(6)
    places[1], places[4] = places[0] + 0.2 * places[1], places[3] + 0.2 * places[4]  # 0 and 1 are alike, 3 and 4
    base = load(DataSpec("synthetic:planted#examples=2400,classes=6,features=6"), 0)
    inputs = places[base.train.labels] + 0.2 * rng.normal(size=(len(base.train), 6))
    table = confusions(base.with_train(replace(base.train, inputs=inputs.astype(np.float32))))
    np.testing.assert_array_equal(table, table.T)
    assert min(table[0, 1], table[3, 4]) > 0.1
    table[[0, 1, 3, 4], [1, 0, 4, 3]] = 0.0
    assert table.max() < 0.03


def test_many_features_are_projected_and_few_are_kept():
    wide = load(DataSpec("mnist-5k", train=60), 0)
    assert fast_features(wide).shape == (60, MOST)
    narrow = load(DataSpec("digits-8x8", train=60), 0)
    assert fast_features(narrow).shape == (60, 64)


def test_wrong_labels_lower_all_scores_alike():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 4, 4000)
    x = np.eye(4)[y] + 0.1 * rng.normal(size=(4000, 4))
    wrong = rng.random(4000) < 0.3
    seen = np.where(wrong, (y + rng.integers(1, 4, 4000)) % 4, y)
    scores = cross_fitted_scores(x, seen, 4)
    assert (scores.argmax(axis=1) == y).mean() > 0.99
    np.testing.assert_allclose(scores[np.arange(4000), y].mean(), 0.7, atol=0.03)
