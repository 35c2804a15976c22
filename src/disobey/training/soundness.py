"""Whether a network is one that can be trained and repeated: found out on two examples, before hours are spent on it.

Ours are; networks from users' files and from the hub are looked at. Shapes: N examples, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from disobey.errors import refusal
from disobey.models.build import is_file
from disobey.training.recipe import Run
from disobey.training.seeds import seeded


def check_network(run: Run, model: nn.Module, inputs: Tensor, classes: int, again: Callable[[], nn.Module]) -> None:
    """Looks at a network that is not ours: its outputs on a few examples, and whether they can be repeated.

    Args:
        run: whose network it is.
        model: on the device of ``inputs``; its mode and buffers are left as they were.
        inputs: a few training examples, (N, ...).
        classes: C, how many columns its outputs must have.
        again: builds it anew, from the same seed.

    Raises:
        Refusal: ``wrong-outputs``, ``not-finite-outputs``, ``unseeded-weights`` or ``unseeded-outputs``.
    """
    name = run.recipe.model.name
    if not (is_file(name) or name.startswith("hf:")):
        return
    state = {key: value.detach().clone() for key, value in model.state_dict().items()}
    first, second = (_outputs(run, model, inputs, state) for _ in range(2))
    if not isinstance(first, Tensor) or first.shape != (len(inputs), classes):
        got = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
        raise refusal(
            "wrong-outputs",
            f"logits of shape ({len(inputs)}, {classes})",
            got,
            "a last layer of that width",
            where=name,
        )
    if not bool(torch.isfinite(first).all()):
        raise refusal(
            "not-finite-outputs",
            "finite logits from the first weights",
            "NaN or infinity",
            "another initialization",
            where=name,
        )
    if not torch.equal(first, second):
        raise refusal("unseeded-outputs", "the same outputs from the same seed", "others", _SEEDS, where=name)
    if is_file(name):
        other = again().state_dict()
        if other.keys() != state.keys() or any(
            not torch.equal(other[key], value.cpu()) for key, value in state.items()
        ):
            raise refusal("unseeded-weights", "the same weights from the same seed", "others", _SEEDS, where=name)


_SEEDS = "torch's own generators in the factory and in forward(), not numpy's or Python's: only those follow the seed"


def _outputs(run: Run, model: nn.Module, inputs: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    """As in training, dropout included; running statistics are put back."""
    mode = model.training
    try:
        with torch.no_grad(), seeded(run.seed, "dropout", run.recipe.replica):
            return model.train()(inputs)
    finally:
        model.train(mode)
        model.load_state_dict(state)


def check_predictions(predictions: Mapping[str, NDArray]) -> None:
    """Raises `Refusal` (``not-finite-predictions``) where a trained network says NaN or infinity: (N, C) by split."""
    for split, array in predictions.items():
        wrong = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if len(wrong):
            got = f"NaN or infinity in {len(wrong):,} rows of {split}, first in row {wrong[0]}"
            attempt = "a lower learning rate, or clip=1"
            raise refusal("not-finite-predictions", "finite log-probabilities after training", got, attempt)
