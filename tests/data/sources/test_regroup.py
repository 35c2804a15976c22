"""Merged and split classes: the same examples, other labels, and similarity taken away or put in."""

import numpy as np

from disobey.data.dataset import DataSpec
from disobey.data.load import load, resolve
from disobey.data.noise import mean_similarity
from disobey.data.sources.regroup import similar_pairs
from tests.support.refusals import refuses


def distances(dataset):
    """Smallest distance between class means, entry by entry."""
    x = dataset.train.inputs.reshape(len(dataset.train), -1).astype(float)
    means = [x[dataset.train.labels == c].mean(0) for c in range(len(dataset.classes))]
    return min(np.linalg.norm(a - b) for i, a in enumerate(means) for b in means[:i])


def test_examples_stay_and_labels_nest():
    base, split, merged = (load(DataSpec(f"{p}digits-8x8"), 0) for p in ("", "split:", "merged:"))
    for part in ("train", "validation", "test"):
        a, b, c = (d.split(part) for d in (base, split, merged))
        assert np.array_equal(a.inputs, b.inputs)
        assert np.array_equal(a.labels, b.labels // 2)
        assert all(len(np.unique(c.labels[a.labels == k])) == 1 for k in range(10))
    assert (len(split.classes), len(merged.classes)) == (20, 5)
    counts = np.bincount(split.train.labels)
    assert (np.abs(counts[::2] - counts[1::2]) <= 1).all()
    assert split.moments is base.moments
    assert base.fingerprint != split.fingerprint


def test_splitting_brings_classes_closer_merging_parts_them():
    base, split, merged = (load(DataSpec(f"{p}digits-8x8"), 0) for p in ("", "split:", "merged:"))
    assert distances(split) < distances(base) < distances(merged)


def test_pairs_are_the_nearest_first():
    points = np.array([[0.0], [10.0], [0.5], [11.0], [30.0]])
    assert similar_pairs(mean_similarity(points)).tolist() == [0, 1, 0, 1, 2]


def test_options_apply_to_the_new_classes():
    data = load(DataSpec("split:digits-8x8", train=100, noise=0.2), 0)
    assert int(data.train.mislabelled.sum()) == 20
    assert data.train.labels.max() > 9
    assert resolve(DataSpec("split:digits-8x8")) == DataSpec("split:digits-8x8")


def test_text_and_unknown_names_are_refused():
    with refuses("regroup-text", "languages"):
        load(DataSpec("merged:languages"), 0)
    with refuses("unknown-data", "try 'mnist-5k'"):
        load(DataSpec("split:mnist-5"), 0)
