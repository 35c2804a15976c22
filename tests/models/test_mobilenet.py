"""Counts against the published ones."""

import pytest
import torch

from disobey.models.mobilenet import MobileNetV2


def test_parameters_with_a_thousand_classes_are_the_published_three_and_a_half_million():
    # 3.50M in the model zoos; strides do not count. The paper's table 4 says 3.4M.
    assert sum(p.numel() for p in MobileNetV2((3, 32, 32), 1000).parameters()) == 3_504_872


def test_parameters_with_ten_classes():
    assert sum(p.numel() for p in MobileNetV2((3, 32, 32), 10).parameters()) / 1e6 == pytest.approx(2.24, abs=0.01)


def test_small_images_end_as_four_by_four_maps():
    model = MobileNetV2((3, 32, 32), 10, width=8).eval()
    shapes = []
    model.last.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape)))
    model(torch.zeros(2, 3, 32, 32))
    assert shapes == [(2, 1280, 4, 4)]
