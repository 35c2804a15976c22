"""Reliability diagrams and CKA, whose intervals do not come from a measure, are over clusters as well."""

import numpy as np

from disobey.measures.calibration import reliability_curve
from disobey.measures.similarity import cka_interval
from disobey.records.predictions import Predictions


def test_reliability():
    rng = np.random.default_rng(0)
    texts = np.repeat(np.arange(40), 25)
    right = np.repeat(rng.random(40) < 0.7, 25)
    logits = np.stack([rng.uniform(0.5, 2, 1000), np.zeros(1000)], axis=1)
    labels = np.where(right, 0, 1)
    alone = reliability_curve(Predictions.from_logits(logits, logits, labels))
    known = reliability_curve(Predictions.from_logits(logits, logits, labels, cluster=texts))
    assert np.allclose(alone.accuracy, known.accuracy)
    assert np.mean(known.high - known.low) > 1.1 * np.mean(alone.high - alone.low)


def test_cka():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(20), 20)
    x = rng.normal(size=(20, 5))[codes] + 0.3 * rng.normal(size=(400, 5))
    y = x + rng.normal(size=(20, 5))[codes]
    alone, known = cka_interval(x, y), cka_interval(x, y, codes=codes)
    assert alone[0] == known[0]
    assert known[2] - known[1] > 1.5 * (alone[2] - alone[1])
    assert np.isnan(cka_interval(x, y, codes=codes // 5)[1])
