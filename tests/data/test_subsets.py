import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from disobey.data.subsets import base_splits, carve, stratified_order, stratified_parts, stream

labelled = st.lists(st.integers(0, 6), min_size=1, max_size=60).map(np.array)


@given(labelled, st.integers(0, 1000))
@settings(max_examples=200, deadline=None)
def test_every_prefix_is_stratified(labels, seed):
    order = stratified_order(labels, stream(seed, "subset"))
    assert sorted(order) == list(range(len(labels)))
    counts = np.bincount(labels)
    classes = np.count_nonzero(counts)
    for n in range(1, len(labels) + 1):
        taken = np.bincount(labels[order[:n]], minlength=len(counts))
        if n >= classes:
            assert (taken[counts > 0] >= 1).all()
        assert (np.abs(taken - n * counts / len(labels)) < classes + 1).all()


def test_balanced_classes_stay_within_one_example():
    labels = np.repeat(np.arange(10), 50)
    order = stratified_order(labels, stream(3, "subset"))
    for n in range(1, 501):
        counts = np.bincount(labels[order[:n]], minlength=10)
        assert counts.max() - counts.min() <= 1


def test_seeds_draw_different_examples_and_streams_are_apart():
    labels = np.repeat(np.arange(2), 500)
    first, again, other = (stratified_order(labels, stream(seed, "subset")) for seed in (0, 0, 1))
    assert (first == again).all()
    overlap = len(np.intersect1d(first[:100], other[:100]))
    assert overlap < 30  # 10 expected
    assert stream(0, "subset").random() != stream(0, "noise").random()


@given(labelled, st.integers(2, 7), st.integers(0, 1000))
@settings(max_examples=200, deadline=None)
def test_parts_are_balanced_within_every_class_and_every_prefix(labels, parts, seed):
    order = stratified_order(labels, stream(seed, "subset"))
    part = stratified_parts(labels, order, parts, stream(seed, "fold"))
    assert set(part) <= set(range(parts))
    for n in (len(labels), len(labels) // 2):
        for c in np.unique(labels):
            rows = [row for row in order[:n] if labels[row] == c]
            counts = np.bincount(part[rows], minlength=parts)
            assert counts.max() - counts.min() <= 1


def test_carving_leaves_rare_classes_where_they_can_be_learned():
    labels = np.array([0] * 50 + [1] * 50 + [2])
    rows, rest = carve(labels, 20, "test")
    assert np.bincount(labels[rows]).tolist() == [10, 10]
    assert sorted([*rows, *rest]) == list(range(101))


def test_base_splits_are_disjoint_and_keep_their_rows():
    labels = np.arange(100) % 4
    splits = base_splits(np.arange(100) * 7, labels, validation=12, test=20)
    assert [len(s) for s in splits] == [68, 12, 20]
    assert sorted(np.concatenate([s.ids for s in splits])) == list(range(100))
    for split in splits:
        assert (split.inputs == split.ids * 7).all()
        assert (split.labels == labels[split.ids]).all()
        assert len(set(np.bincount(split.labels))) == 1


def test_the_numbers_of_a_stream_are_pinned():
    """They are part of every result: a change here is a change of every subset ever drawn."""
    assert stream(7, "subset").integers(10**6, size=3).tolist() == [316986, 784583, 628586]
