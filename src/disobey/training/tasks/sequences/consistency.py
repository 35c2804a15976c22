"""A loss that makes letters multiply: the state after a word is tied to the state after the one letter it equals.

Every element of a group is a letter, so the word g_1 ... g_t and the letter g_1 · ... · g_t must leave a tracker in
states that mean the same. Answers alone ask only that both be read alike, and small errors then add up with the length
of the word; along g, g, g, ... they add up in one direction. The tie asks for equal states, which is what makes the
transitions of a linear layer a representation of the group. It uses no more than the labels.

Shapes: B batch, T time, D state, G elements.
"""

from __future__ import annotations

import torch
from torch import Tensor

from disobey.models.recurrent.sequence import SequenceModel

SMALLEST = (
    1e-4  # mean square of states below which the share is no longer one: a network may shrink them all to nothing
)


def inconsistency(model: SequenceModel, states: Tensor, products: Tensor) -> Tensor:
    """Mean squared distance of states from those of the letters that equal the words, as a share of the latter's, ().

    Args:
        model: gives the letters' states, with gradients.
        states: of its last layer, ``(B, T, D)``.
        products: of every prefix, ``(B, T)``: the answers.
    """
    letters = torch.arange(model.head.out_features, device=states.device)[:, None]
    wanted = model.trace(letters)[1][:, 0][products]
    size = wanted.detach().square().sum().clamp_min(SMALLEST * wanted.numel())
    return (states - wanted).square().sum() / size
