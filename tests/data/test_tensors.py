import numpy as np
import pytest
import torch

from disobey.data.dataset import Dataset, DataSpec, Split
from disobey.data.load import load
from disobey.data.tensors import black, inputs_tensor, moments


def dataset(inputs, kind):
    split = Split(inputs, np.arange(len(inputs)) % 2, np.arange(len(inputs)))
    return Dataset("x", kind, ("a", "b"), split, split.take(np.arange(2)), split.take(np.arange(3)))


def test_images_are_standardized_channel_by_channel():
    images = np.random.default_rng(0).integers(0, 256, (50, 6, 7, 3), dtype=np.uint8)
    images[..., 1] //= 5
    tensor = inputs_tensor(dataset(images, "image"), "train")
    assert tensor.shape == (50, 3, 6, 7)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    expected = images / 255.0
    expected = (expected - expected.mean((0, 1, 2))) / expected.std((0, 1, 2))
    np.testing.assert_allclose(tensor.permute(0, 2, 3, 1), expected, atol=2e-6)


def test_black_is_what_a_zero_pixel_becomes():
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 2), dtype=np.uint8)
    images[3] = 0
    data = dataset(images, "image")
    torch.testing.assert_close(inputs_tensor(data, "train")[3, :, 0, 0], black(data))


def test_features_are_standardized_and_constants_stay_finite():
    features = np.random.default_rng(0).normal(5, 3, (40, 3)).astype(np.float32)
    features[:, 2] = 7.3
    tensor = inputs_tensor(dataset(features, "features"), "train")
    np.testing.assert_allclose(tensor[:, :2].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(tensor[:, :2].std(0, correction=0), 1, atol=1e-5)
    np.testing.assert_allclose(tensor[:, 2], 0, atol=1e-5)


def test_texts_stay_whole_numbers():
    data = dataset(np.arange(40).reshape(10, 4), "text")
    assert moments(data) is None
    assert torch.equal(inputs_tensor(data, "test"), torch.arange(12).view(3, 4))


def test_every_subset_and_fold_shares_one_scale():
    whole = load(DataSpec("digits-8x8"), 0)
    part = load(DataSpec("digits-8x8", train=50, fold=(0, 3)), 4)
    assert torch.equal(inputs_tensor(whole, "test"), inputs_tensor(part, "test"))
    row = np.flatnonzero(np.isin(whole.train.ids, part.train.ids))
    assert torch.equal(inputs_tensor(whole, "train")[row], inputs_tensor(part, "train"))


@pytest.mark.parametrize("name", ["validation", "test"])
def test_a_split_may_be_given_by_name_or_by_itself(name):
    data = load(DataSpec("digits-8x8"), 0)
    assert torch.equal(inputs_tensor(data, name), inputs_tensor(data, data.split(name)))
