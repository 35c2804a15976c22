"""Half of the classes, alike or unlike, and inputs in few dimensions."""

import numpy as np

from disobey.data.confusion import confusions, cross_fitted_scores, fast_features
from disobey.data.dataset import DataSpec
from disobey.data.load import load
from tests.support.refusals import refuses


def of(name):
    return load(DataSpec(name), 0)


def test_scores_are_probabilities_of_examples_that_were_left_out():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 900)
    x = np.eye(3)[y] + 0.3 * rng.normal(size=(900, 3))
    scores = cross_fitted_scores(x, y, 3)
    assert (scores.argmax(axis=1) == y).mean() > 0.85
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-9)
    noise = cross_fitted_scores(rng.normal(size=(300, 150)), y[:300], 3)  # a fit that saw them would know half of them
    assert (noise.argmax(axis=1) == y[:300]).mean() < 0.45
    with refuses("few-examples"):
        cross_fitted_scores(x[:9], y[:9], 3)


def test_classes_that_are_alike_are_confused_more():
    base, near, far = of("digits-8x8"), of("similar:digits-8x8"), of("distinct:digits-8x8")
    assert len(near.classes) == len(far.classes) == 5
    table = confusions(base)

    def within(names):
        rows = [base.classes.index(name) for name in names]
        return table[np.ix_(rows, rows)].sum()

    assert within(near.classes) > 2 * within(far.classes)
    for data in (near, far):
        for part in ("train", "validation", "test"):
            split = data.split(part)
            old = base.split(part)
            rows = np.searchsorted(old.ids, split.ids)
            assert [data.classes[c] for c in split.labels] == [base.classes[c] for c in old.labels[rows]]
    with refuses("few-classes"):
        of("similar:synthetic:overlap#classes=4,examples=400")


def test_projection_keeps_the_spectrum_and_whitening_levels_it():
    projected, whitened = of("projected:digits-8x8"), of("whitened:digits-8x8")
    assert projected.kind == whitened.kind == "features"
    spread = []
    for data in (projected, whitened):
        assert data.train.inputs.shape[1] == 16
        assert data.moments[0].shape == (16,)
        values = np.linalg.eigvalsh(np.cov(data.train.inputs, rowvar=False))
        spread.append(values[-1] / values[0])
    assert spread[0] > 5
    assert abs(spread[1] - 1) < 0.01
    with refuses("project-text"):
        of("projected:languages")


def test_texts_can_lose_classes_and_many_features_are_projected():
    data = of("similar:languages")
    assert data.kind == "text"
    assert len(data.classes) == 5
    assert data.moments is None
    assert fast_features(data.with_train(data.train.take(np.arange(50)))).shape == (50, 256)
