"""Attention against the formula written out, and what masks must hide."""

import math

import pytest
import torch

from disobey.models.attention import Block, TokenMean, heads_for
from disobey.models.vit import ViT, patch_size, positions


def attended_slowly(block: Block, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """One example, one head and one token at a time."""
    batch, tokens, width = x.shape
    size = width // block.heads
    queries, keys, values = (x @ block.joined.weight.T + block.joined.bias).split(width, dim=-1)
    mixed = torch.zeros_like(x)
    for b in range(batch):
        for head in range(block.heads):
            part = slice(head * size, (head + 1) * size)
            for t in range(tokens):
                scores = [
                    (queries[b, t, part] @ keys[b, s, part]) / math.sqrt(size) if keep[b, s] else -torch.inf
                    for s in range(tokens)
                ]
                shares = torch.softmax(torch.tensor(scores), dim=0)
                mixed[b, t, part] = sum(share * values[b, s, part] for s, share in enumerate(shares))
    return block.output(mixed)


@torch.no_grad()
def test_attention_is_the_formula():
    torch.manual_seed(0)
    block = Block(32)
    assert block.heads == 2
    x = torch.randn(2, 5, 32)
    keep = torch.tensor([[True] * 5, [True, True, True, False, False]])
    assert torch.allclose(block.attend(x, keep), attended_slowly(block, x, keep), atol=1e-5)
    everything = torch.ones_like(keep)
    assert torch.allclose(block.attend(x, None), attended_slowly(block, x, everything), atol=1e-5)


@pytest.mark.parametrize("width", [1, 8, 20, 30, 64, 96, 512])
def test_heads_divide_the_width(width):
    heads = heads_for(width)
    assert width % heads == 0
    assert heads == 1 or width // heads >= 16


def test_the_mean_counts_kept_tokens_only():
    x = torch.tensor([[[2.0], [4.0], [99.0]]])
    assert TokenMean()(x, torch.tensor([[True, True, False]])).item() == 3
    assert TokenMean()(x).item() == 35


@pytest.mark.parametrize(("sides", "patch"), [((28, 28), 7), ((32, 32), 4), ((8, 8), 2), ((9, 9), 1), ((64, 48), 4)])
def test_patches_cover_the_image(sides, patch):
    assert patch_size(*sides) == patch


def test_positions_differ_and_tell_neighbours():
    places = positions(4, 4, 32)
    distance = torch.cdist(places, places)
    assert distance[~torch.eye(16, dtype=torch.bool)].min() > 0.3
    assert distance[0, 1] < distance[0, 3]


def test_a_vit_sees_where_its_patches_are():
    torch.manual_seed(0)
    model, x = ViT((1, 28, 28), 5).eval(), torch.randn(1, 1, 28, 28)
    with torch.inference_mode():
        assert not torch.allclose(model(x), model(x.roll(7, 2)), atol=1e-4)
        model.positions.zero_()  # without positions, the order of patches is invisible
        assert torch.allclose(model(x), model(x.roll(7, 2)), atol=1e-4)
