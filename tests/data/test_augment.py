import numpy as np
import pytest
import torch

from disobey.data.augment import PAD, Views, draw_mixup, mixup, plain_view
from disobey.data.dataset import DataSpec
from disobey.data.load import load
from disobey.data.tensors import black, inputs_tensor
from tests.support.refusals import refuses


def slow_view(image, view, fill):
    """Pad, slice, mirror: one image (channels, H, W)."""
    flip, offset = divmod(view, (2 * PAD + 1) ** 2)
    dy, dx = divmod(offset, 2 * PAD + 1)
    _, height, width = image.shape
    padded = fill[:, None, None].repeat(1, height + 2 * PAD, width + 2 * PAD).clone()
    padded[:, PAD:-PAD, PAD:-PAD] = image.flip(2) if flip else image
    return padded[:, dy : dy + height, dx : dx + width]


@pytest.mark.parametrize("shape", [(5, 1, 8, 8), (4, 3, 6, 9)])
@pytest.mark.parametrize("spec", ["crop", "crop-flip"])
def test_every_view_equals_the_slow_twin(shape, spec):
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    fill = torch.arange(shape[1]) - 7.5
    views = Views(spec, images.to(memory_format=torch.channels_last), fill)
    assert views.count == {"crop": 81, "crop-flip": 162}[spec]
    for row in range(shape[0]):
        numbers = torch.arange(views.count)
        batch = views.take(torch.full_like(numbers, row), numbers)
        assert batch.is_contiguous(memory_format=torch.channels_last)
        for view in range(views.count):
            assert torch.equal(batch[view], slow_view(images[row], view, fill))


def test_the_last_window_of_the_table_is_reachable():
    images = torch.randn(2, 3, 5, 5)
    views = Views("crop-flip", images)
    assert views.take(torch.tensor([1]), torch.tensor([161])).shape == (1, 3, 5, 5)


@pytest.mark.parametrize("spec", ["none", "crop", "crop-flip", "mixup"])
def test_without_a_view_comes_the_image_itself(spec):
    images = torch.randn(6, 2, 8, 8)
    rows = torch.tensor([3, 0, 3])
    views = Views(spec, images)
    assert len(views) == 6
    assert torch.equal(views.take(rows), images[rows])
    assert torch.equal(views.to("cpu").take(rows), images[rows])
    if views.count > 1:
        assert torch.equal(views.take(rows, torch.full((3,), plain_view())), images[rows])
    assert views.take(rows).is_contiguous(memory_format=torch.channels_last)


def test_texts_and_features_pass_through():
    for inputs in (torch.randint(9, (5, 7)), torch.randn(5, 3)):
        views = Views("none", inputs)
        assert views.count == 1
        assert torch.equal(views.take(torch.tensor([4, 1]), views.draw(2, torch.Generator())), inputs[[4, 1]])
    with refuses("augment-kind", "(5, 3)"):
        Views("crop", torch.randn(5, 3))
    with refuses("unknown-augment", "rotate"):
        Views("rotate", torch.randn(5, 1, 8, 8))


def test_draws_are_uniform_and_repeat_with_the_generator():
    views = Views("crop-flip", torch.randn(1, 1, 8, 8))
    first = views.draw(162_000, torch.Generator().manual_seed(1))
    again = views.draw(162_000, torch.Generator().manual_seed(1))
    assert torch.equal(first, again)
    counts = torch.bincount(first, minlength=162)
    assert len(counts) == 162
    assert ((counts - 1000) ** 2 / 1000).sum() < 161 + 6 * np.sqrt(2 * 161)


def test_moving_keeps_the_overlap_of_the_table():
    views = Views("crop", torch.randn(3, 3, 8, 8))
    moved = views.to("meta")
    assert moved._lines.stride() == views._lines.stride()


def test_views_of_a_dataset_are_black_beyond_the_border():
    data = load(DataSpec("digits-8x8", train=30), 0)
    views = Views.of(data, "crop")
    corner = views.take(torch.arange(30), torch.zeros(30, dtype=torch.int64))
    assert torch.equal(corner[:, 0, :PAD], black(data).expand(30, PAD, 8))
    assert torch.equal(corner[:, :, PAD:, PAD:], inputs_tensor(data, "train")[:, :, :-PAD, :-PAD])


def test_mixup_in_logs_equals_mixup_of_probabilities():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(6, 1, 4, 4, generator=generator)
    log_probs = torch.randn(6, 5, generator=generator).log_softmax(1)
    for lam in (0.3, torch.rand(6, generator=generator)):
        perm = torch.randperm(6, generator=generator)
        mixed, targets = mixup(inputs, log_probs, lam, perm, log=True)
        same, probabilities = mixup(inputs, log_probs.exp(), lam, perm)
        assert torch.equal(mixed, same)
        torch.testing.assert_close(targets.exp(), probabilities)
        torch.testing.assert_close(targets.exp().sum(1), torch.ones(6))
    mixed, targets = mixup(inputs, torch.eye(6), 1.0, perm)
    assert torch.equal(mixed, inputs)
    assert torch.equal(targets, torch.eye(6))
    _, targets = mixup(inputs, log_probs, 1.0, perm, log=True)
    torch.testing.assert_close(targets, log_probs)


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0])
def test_mixup_shares_follow_the_beta_law(alpha):
    from scipy import stats

    generator = torch.Generator().manual_seed(0)
    shares = [float(draw_mixup(4, generator, alpha)[0]) for _ in range(1500)]
    assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    assert sorted(draw_mixup(4, generator)[1].tolist()) == [0, 1, 2, 3]
    with refuses("mixup-alpha", "2.0"):
        draw_mixup(4, generator, 2.0)
