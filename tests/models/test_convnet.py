"""Sizes of the default network, and that it can learn by heart."""

import pytest
import torch
from torch.nn import functional as F

from disobey.models.convnet import ConvNet, LeNet


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("side", range(4, 71))
def test_the_linear_layer_fits_every_size(side):
    model = ConvNet((1, side, side + 5), 3, width=2).eval()
    with torch.inference_mode():
        assert model(torch.zeros(1, 1, side, side + 5)).shape == (1, 3)


@pytest.mark.parametrize("side", range(12, 45))
def test_lenet_fits_every_size_from_12_up(side):
    model = LeNet((1, side, side + 5), 3).eval()
    with torch.inference_mode():
        assert model(torch.zeros(1, 1, side, side + 5)).shape == (1, 3)


def test_lenet_has_the_parameters_of_its_paper_with_all_maps_connected():
    # 156 + 2,416 + 48,120 + 10,164 + 850
    assert count(LeNet((1, 32, 32), 10)) == count(LeNet((1, 28, 28), 10)) == 61_706


def test_large_images_do_not_make_a_large_linear_layer():
    assert count(ConvNet((3, 224, 224), 10)) < 1.3 * count(ConvNet((3, 32, 32), 10))


def test_random_labels_are_learned_by_heart():
    torch.manual_seed(0)
    x, labels = torch.randn(64, 1, 28, 28), torch.randint(10, (64,))
    model = ConvNet((1, 28, 28), 10, width=8).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, fused=True)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()
    with torch.inference_mode():
        assert (model.eval()(x).argmax(1) == labels).float().mean() > 0.99


def test_where_a_stroke_is_matters():
    torch.manual_seed(0)
    model = ConvNet((1, 28, 28), 10).eval()
    x = torch.zeros(1, 1, 28, 28)
    x[..., 4:10, 4:10] = 1
    with torch.inference_mode():
        assert not torch.allclose(model(x), model(x.roll((12, 12), (2, 3))), atol=1e-3)
