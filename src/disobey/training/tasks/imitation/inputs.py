"""What a student is shown: training inputs, altered ones, those of another data set, or noise.

Everything is drawn from the run's own streams, so the arms of a seed see the same inputs in the same order.
Shapes: N inputs that repeat, B batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from disobey.data.dataset import Dataset, DataSpec
from disobey.data.load import load
from disobey.data.tensors import inputs_tensor
from disobey.errors import refusal
from disobey.training.batches import order_of, steps_of
from disobey.training.recipe import Run, imitation_spec
from disobey.training.seeds import stream_seed, torch_stream


class Shown(NamedTuple):
    """What one step shows. rows: (B,) which of the inputs that repeat; None for noise."""

    inputs: Tensor
    rows: Tensor | None


def repeating(run: Run, dataset: Dataset) -> Tensor | None:
    """The inputs that are shown again and again, (N, ...); None for noise, which is new at every step.

    Raises:
        Refusal: ``other-shape``, for other data that the network cannot read.
    """
    spec = imitation_spec(run.recipe)
    if spec.inputs in ("noise", "gaussian"):
        return None
    own = inputs_tensor(dataset, "train")
    if spec.inputs == "other":
        return _other(run, own)
    generator = torch_stream(run.seed, "control")
    if spec.inputs == "permuted":
        pixels = torch.randperm(own[0, :1].numel() if own.ndim == 4 else own[0].numel(), generator=generator)
        flat = own.flatten(2)[:, :, pixels] if own.ndim == 4 else own[:, pixels]
        return flat.reshape(own.shape)
    return phase_randomized(own, generator) if spec.inputs == "phase" else own


def _other(run: Run, own: Tensor) -> Tensor:
    spec = imitation_spec(run.recipe)
    found = load(DataSpec(spec.other), run.seed)
    x = inputs_tensor(found, "train")
    if x.ndim != own.ndim:
        raise refusal("other-shape", f"inputs like {tuple(own.shape[1:])}", tuple(x.shape[1:]), where=spec.other)
    if x.ndim == 4 and x.shape[1:] != own.shape[1:]:
        x = x.mean(dim=1, keepdim=True) if own.shape[1] == 1 else x.expand(-1, own.shape[1], -1, -1)
        x = F.interpolate(x, own.shape[2:], mode="bilinear", antialias=True, align_corners=False)
    if x.shape[1:] != own.shape[1:]:
        raise refusal("other-shape", f"inputs like {tuple(own.shape[1:])}", tuple(x.shape[1:]), where=spec.other)
    return x[torch.randperm(len(x), generator=torch_stream(run.seed, "control"))[: len(own)]]


def phase_randomized(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images (N, channels, H, W) with their own spectra and random phases, the same phases in all channels of one.

    >>> x = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    >>> y = phase_randomized(x, torch.Generator().manual_seed(1))
    >>> torch.allclose(torch.fft.fft2(x).abs(), torch.fft.fft2(y).abs(), atol=1e-4)
    True
    """
    noise = torch.randn(len(images), 1, *images.shape[2:], generator=generator)
    phases = torch.fft.fft2(noise).angle()  # those of real images, so that the result is real
    phases[..., 0, 0] = 0.0  # the mean keeps its sign
    return torch.fft.ifft2(torch.fft.fft2(images) * torch.polar(torch.ones_like(phases), phases)).real


class ShownBatches:
    """The batches of a run: `loop.Batches` of `Shown`. Every step's noise has a seed of its own, so nothing is kept."""

    def __init__(self, run: Run, shape: tuple[int, ...], inputs: Tensor | None):
        spec = imitation_spec(run.recipe)
        self.run, self.shape, self.inputs = run, shape, inputs
        self.gaussian, self.dtype = spec.inputs == "gaussian", torch.float64 if spec.precision == "float64" else None
        self.order = None if inputs is None else order_of(run, len(inputs)).rows

    def __len__(self) -> int:
        return steps_of(self.run)

    def __call__(self, step: int) -> Shown:
        """What a step shows."""
        if self.inputs is not None and self.order is not None:
            rows = self.order[step]
            return Shown(self._typed(self.inputs[rows]), rows)
        seed = stream_seed(self.run.seed, "views", self.run.recipe.replica)
        generator = torch.Generator().manual_seed((seed + step) % 2**63)
        size = (self.run.recipe.optim.batch, *self.shape)
        x = torch.randn(size, generator=generator) if self.gaussian else torch.rand(size, generator=generator) * 2 - 1
        return Shown(self._typed(x), None)

    def _typed(self, x: Tensor) -> Tensor:
        x = x if self.dtype is None else x.to(self.dtype)
        return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
