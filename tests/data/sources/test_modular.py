"""Modular addition: the task itself, its splits, and the symmetry that leaves nothing in class means."""

import numpy as np
import pytest
import torch

from disobey.data.dataset import DataSpec
from disobey.data.load import load, resolve
from disobey.data.sources.modular import all_pairs, modular_addition, one_hot_pairs
from disobey.data.tensors import inputs_tensor
from disobey.targets.controls import class_mean
from tests.support.refusals import refuses


@pytest.mark.parametrize("p", [5, 31])
def test_every_pair_once_with_its_sum(p):
    data = modular_addition(p=p)
    splits = (data.train, data.validation, data.test)
    ids = np.concatenate([split.ids for split in splits])
    assert sorted(ids) == list(range(p * p))
    for split in splits:
        for row, label, number in zip(split.inputs, split.labels, split.ids, strict=True):
            a, b = np.flatnonzero(row)
            assert (a, b - p) == divmod(int(number), p)
            assert label == (a + b - p) % p
    assert len(data.classes) == p
    assert abs(len(data.validation) - p * p / 10) <= 1
    assert np.ptp(np.bincount(data.test.labels, minlength=p)) <= 1  # stratified


def test_by_name_with_p_and_nested_subsets_by_seed():
    spec = DataSpec("modular-addition#p=7", train=14)
    assert resolve(spec) == spec  # made, no fingerprint needed
    small, large, other = load(spec, 0), load(DataSpec("modular-addition#p=7", train=28), 0), load(spec, 1)
    assert set(small.train.ids) < set(large.train.ids)
    assert np.array_equal(np.bincount(small.train.labels), np.full(7, 2))
    assert set(small.train.ids) != set(other.train.ids)
    assert np.array_equal(small.test.ids, other.test.ids)
    assert len(load(DataSpec("modular-addition"), 0).classes) == 31


@pytest.mark.parametrize(
    ("tail", "id", "part"),
    [
        ("p=32", "no-prime", "32"),
        ("p=3", "no-prime", "3"),
        ("p=211", "no-prime", "211"),
        ("q=31", "synthetic-parameter", "p=int"),
    ],
)
def test_errors(tail, id, part):
    with refuses(id, part):
        load(DataSpec(f"modular-addition#{tail}"), 0)


def test_inputs_are_standardized_not_broken():
    """Two values a column, so its scaling is an affine map of the one-hot vector: same order, same rank."""
    data = load(DataSpec("modular-addition#p=7"), 0)
    inputs = inputs_tensor(data, "train")
    assert torch.allclose(inputs.mean(0), torch.zeros(14), atol=1e-6)
    assert torch.equal(inputs > 0, torch.from_numpy(data.train.inputs > 0.5))


def affine_images(p):
    """Row and class permutations of every symmetry (a, b) -> (u a + s, u b + t), y -> u y + s + t."""
    pairs = all_pairs(p)
    for u in range(1, p):
        for s in range(p):
            for t in range(p):
                moved = (u * pairs + [s, t]) % p
                yield moved[:, 0] * p + moved[:, 1], (u * np.arange(p) + s + t) % p


def test_class_means_of_a_symmetric_teacher_are_uniform_off_the_label():
    """Any predictions, averaged over the symmetries of the task, are uniform over all classes but their own."""
    p = 5
    labels = torch.from_numpy(all_pairs(p).sum(1) % p)
    answers = np.random.default_rng(0).dirichlet(np.full(p, 0.5), p * p)
    symmetric = np.mean([answers[rows][:, classes] for rows, classes in affine_images(p)], axis=0)
    for rows, classes in affine_images(p):  # it has the symmetry, and is no class mean itself
        assert np.allclose(symmetric[rows][:, classes], symmetric)
    means = class_mean(torch.from_numpy(symmetric).log(), labels).exp().numpy()
    off = means[np.arange(p) != labels.numpy()[:, None]].reshape(p * p, p - 1)
    assert np.allclose(off, off.mean(), atol=1e-12)
    # translations alone would not do it: they leave a circulant that may favour neighbours
    only_moved = np.mean([answers[r][:, c] for r, c in list(affine_images(p))[: p * p]], axis=0)
    circulant = class_mean(torch.from_numpy(only_moved).log(), labels).exp().numpy()
    assert np.ptp(circulant[0, 1:]) > 1e-3


def test_instances_of_a_symmetric_teacher_may_differ():
    """What is left to dark knowledge: a symmetric teacher can still tell pairs of one class apart by a - b."""
    p = 7
    pairs = all_pairs(p)
    sums, gaps = pairs.sum(1) % p, (pairs[:, 0] - pairs[:, 1]) % p
    logits = np.zeros((p * p, p))
    logits[np.arange(p * p), sums] = 3
    logits[np.arange(p * p), (sums + gaps) % p] += 1  # "class y + (a - b)" is carried along by u, and by s = t
    rng = np.random.default_rng(0)
    for _ in range(5):
        u, s = rng.integers(1, p), rng.integers(p)
        moved = (u * pairs + s) % p
        rows, classes = moved[:, 0] * p + moved[:, 1], (u * np.arange(p) + 2 * s) % p
        assert np.array_equal(logits[rows][:, classes], logits)
    means = class_mean(torch.log_softmax(torch.from_numpy(logits), -1), torch.from_numpy(sums)).exp().numpy()
    off = means[np.arange(p) != sums[:, None]]
    assert np.allclose(off, off[0], atol=1e-12)
    assert np.std(logits[sums == 0], axis=0).max() > 0.1


def test_one_hot_twin():
    pairs = all_pairs(5)
    assert np.array_equal(one_hot_pairs(pairs, 5), np.hstack([np.eye(5)[pairs[:, 0]], np.eye(5)[pairs[:, 1]]]))
