"""Counts against the published ones, and the shortcut of option A against its definition."""

import pytest
import torch

from disobey.models.resnet import ResidualBlock, ResNet
from tests.support.refusals import refuses


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_parameters_are_those_of_table_6(depth, millions):
    count = sum(p.numel() for p in ResNet((3, 32, 32), 10, depth=depth).parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.05 if depth == 110 else 0.006)


@pytest.mark.parametrize("depth", [8, 14, 20, 56])
def test_depth_counts_convolutions_and_the_linear_layer(depth):
    model = ResNet((3, 32, 32), 10, depth=depth)
    assert sum(isinstance(m, (torch.nn.Conv2d, torch.nn.Linear)) for m in model.modules()) == depth


@pytest.mark.parametrize("depth", [2, 10, 18, 21])
def test_other_depths_are_refused(depth):
    with refuses("resnet-depth", str(depth)):
        ResNet((3, 32, 32), 10, depth=depth)


def test_with_silent_convolutions_a_block_is_its_shortcut():
    block = ResidualBlock(4, 8, 2).eval()
    torch.nn.init.zeros_(block.norm2.weight)
    x = torch.rand(2, 4, 6, 6)  # positive: the last ReLU lets it through
    expected = torch.zeros(2, 8, 3, 3)
    for row in range(3):
        for column in range(3):
            expected[:, 2:6, row, column] = x[:, :, 2 * row, 2 * column]
    assert torch.equal(block(x), expected)
