"""Crop, flip and mixup as whole-batch tensor operations with an explicit generator.

An augmentation is a finite, numbered list of views: ``crop`` has 81 (the offsets of a crop from 4 pixels of padding),
``crop-flip`` has 162 (the second half mirrored). Views have numbers so that a teacher's predictions can be cached by
(example, view).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from disobey.data.dataset import Dataset, Split
from disobey.data.tensors import black, inputs_tensor
from disobey.errors import refusal

PAD = 4  # pixels on every side (He et al. 2016, section 4.2)


class Views:
    """The views of the inputs of a split, ready to be gathered.

    Images are stored padded (and mirrored beside it), so ``crop-flip`` of 28x28 takes 3.3 times their memory.

    Args:
        spec: ``none``, ``crop``, ``crop-flip`` or ``mixup``, which has only the plain view (see `mixup`).
        inputs: as `inputs_tensor` returns them.
        fill: the value beyond the border (channels,); 0, the mean colour, by default.

    Raises:
        Refusal: ``unknown-augment`` or ``augment-kind``.
    """

    def __init__(self, spec: str, inputs: Tensor, fill: Tensor | None = None):
        if spec not in ("none", "crop", "crop-flip", "mixup"):
            raise refusal("unknown-augment", "augment 'none', 'crop', 'crop-flip' or 'mixup'", repr(spec))
        self._crops = spec in ("crop", "crop-flip")
        if self._crops and inputs.ndim != 4:
            expected = f"images (N, channels, H, W) for augment={spec!r}"
            raise refusal("augment-kind", expected, tuple(inputs.shape))
        self.spec = spec
        self.examples = len(inputs)
        self.count = {"crop": 1, "crop-flip": 2}.get(spec, 0) * (2 * PAD + 1) ** 2 or 1
        nhwc = inputs.permute(0, 2, 3, 1).contiguous() if inputs.ndim == 4 else inputs.contiguous()
        self._shape = nhwc.shape[1:]
        if self._crops:
            self._lines, self._starts = _lines(nhwc, fill, flip=spec == "crop-flip")
            self._stride = (self._shape[0] + 2 * PAD) * (self._shape[1] + 2 * PAD)
        else:
            self._lines = nhwc

    @classmethod
    def of(cls, dataset: Dataset, augment: str, split: str | Split = "train") -> Views:
        """The views of a split of a data set; images have black beyond their border."""
        inputs = inputs_tensor(dataset, split)
        return cls(augment, inputs, black(dataset).to(inputs.device) if dataset.kind == "image" else None)

    def __len__(self) -> int:
        """Number of examples."""
        return self.examples

    def to(self, device: torch.device | str) -> Views:
        """The same views on another device."""
        other = object.__new__(Views)
        other.__dict__ = self.__dict__ | {"_lines": _moved(self._lines, device)}
        if self._crops:
            other._starts = self._starts.to(device)
        return other

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Uniform view numbers for n examples, (n,) int64, on the generator's device."""
        if self.count == 1:
            return torch.zeros(n, dtype=torch.int64, device=generator.device)
        return torch.randint(self.count, (n,), generator=generator, device=generator.device)

    def take(self, rows: Tensor, views: Tensor | None = None) -> Tensor:
        """Gathers examples, each in its view.

        Args:
            rows: row numbers (B,).
            views: view numbers (B,); by default the plain inputs, as in evaluation.

        Returns:
            Images (B, channels, H, W) in channels_last memory, or other inputs (B, ...).
        """
        if not self._crops:
            batch = self._lines.index_select(0, rows)
            return batch.permute(0, 3, 1, 2) if batch.ndim == 4 else batch
        if views is None:
            views = torch.full_like(rows, plain_view())
        first = self._starts.index_select(0, views) + (rows * self._stride)[:, None]
        return F.embedding(first, self._lines).view(len(rows), *self._shape).permute(0, 3, 1, 2)


def plain_view() -> int:
    """The number of the view that is the image itself: no offset, not mirrored.

    >>> plain_view()
    40
    """
    return PAD * (2 * PAD + 1) + PAD


def _lines(nhwc: Tensor, fill: Tensor | None, *, flip: bool) -> tuple[Tensor, Tensor]:
    """A table of all runs of W pixels in the padded images, and the start of the H lines of every view in it.

    Why: the rows of the table overlap in memory (each starts one pixel after the previous one), so a crop is a gather
    of H rows and computes nothing. This is 3.5 to 7 times as fast as gathering pixels and 6 to 19 times as fast as
    slicing example by example (benchmarks/views.py). Mirrored crops are crops of the mirrored image.
    """
    n, height, width, channels = nhwc.shape
    tall, wide = height + 2 * PAD, width + 2 * PAD
    padded = torch.empty((1 + flip, n, tall, wide, channels), dtype=nhwc.dtype, device=nhwc.device)
    padded[:] = 0.0 if fill is None else fill
    padded[0, :, PAD:-PAD, PAD:-PAD] = nhwc
    if flip:
        padded[1, :, PAD:-PAD, PAD:-PAD] = nhwc.flip(2)
    windows = (1 + flip) * n * tall * wide - width + 1
    table = padded.view(-1).as_strided((windows, width * channels), (channels, 1))
    offsets = torch.arange(2 * PAD + 1, device=nhwc.device)
    lines = torch.arange(height, device=nhwc.device)
    starts = (offsets[:, None, None] + lines) * wide + offsets[None, :, None]  # (dy, dx, line)
    starts = starts.reshape(-1, height)
    if flip:
        starts = torch.cat([starts, starts + n * tall * wide])
    return table, starts


def _moved(table: Tensor, device: torch.device | str) -> Tensor:
    """The table on another device with its overlapping rows (``Tensor.to`` would write out every row)."""
    storage = table.as_strided(((table.shape[0] - 1) * table.stride(0) + table[0].numel(),), (1,))
    return storage.to(device).as_strided(table.shape, table.stride())


def mixup(
    inputs: Tensor, targets: Tensor, lam: Tensor | float, perm: Tensor, *, log: bool = False
) -> tuple[Tensor, Tensor]:
    """Blends every example with another one: ``lam * x + (1 - lam) * x[perm]``, and the targets likewise.

    Args:
        inputs: (B, ...).
        targets: probabilities (B, C), one-hot labels included, or log-probabilities with ``log``; both are blended as
            probabilities.
        lam: one share, or one per example (B,).
        perm: the other example of every example (B,).
        log: whether the targets are log-probabilities.

    Returns:
        Blended inputs and targets.

    Reference:
        Zhang et al., "mixup: beyond empirical risk minimization", 2018.

    Example:
        >>> x, y = torch.tensor([[0.0], [4.0]]), torch.eye(2)
        >>> mixup(x, y, 0.75, torch.tensor([1, 0]))
        (tensor([[1.], [3.]]), tensor([[0.7500, 0.2500], [0.2500, 0.7500]]))
    """
    share = torch.as_tensor(lam, dtype=inputs.dtype, device=inputs.device)
    wide = share.view(-1, *[1] * (inputs.ndim - 1)) if share.ndim else share
    mixed = inputs * wide + inputs[perm] * (1 - wide)
    column = (share.view(-1, 1) if share.ndim else share).to(targets.dtype)
    if log:
        return mixed, torch.logaddexp(targets + column.log(), targets[perm] + (1 - column).log())
    return mixed, targets * column + targets[perm] * (1 - column)


def draw_mixup(n: int, generator: torch.Generator, alpha: float = 1.0) -> tuple[Tensor, Tensor]:
    """Random numbers for `mixup`.

    Args:
        n: examples in the batch.
        generator: of the random numbers; decides the device.
        alpha: of the Beta distribution, in (0, 1]; 1, the uniform share, is the default of the paper for CIFAR.

    Returns:
        One share () from Beta(alpha, alpha) for the batch, and a permutation (n,).

    Raises:
        Refusal: ``mixup-alpha``.
    """
    if not 0 < alpha <= 1:
        raise refusal("mixup-alpha", "alpha in (0, 1]", alpha)
    device = generator.device
    perm = torch.randperm(n, generator=generator, device=device)
    # Jöhnk's rejection method takes two uniform numbers per try and accepts at least half of the tries. 64 tries at
    # once avoid a loop, which would wait for the device.
    powers = torch.rand((2, 64), generator=generator, device=device).double() ** (1 / alpha)
    total = powers.sum(0)
    accepted = (total <= 1) & (total > 0)
    first = accepted.int().argmax()
    lam = torch.where(
        accepted[first], powers[0, first] / total[first].clamp_min(1e-300), torch.tensor(0.5, device=device)
    )
    return lam.float(), perm
