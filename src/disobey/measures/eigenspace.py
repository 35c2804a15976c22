"""Along which directions of its inputs have a layer's weights changed? Spectra, bands, and the bias to the top ones.

A layer's weights (out, D), or their change since initialization, are projected on the eigenvectors of the covariance of
that layer's inputs. Directions are ordered by eigenvalue; bands are runs of them that hold given shares of
the input variance, the top band first. Bias is compared on normalized axes, lower band over top band, because a
student's weights may differ from its control's in overall scale (a temperature does that) without any bias.

N input rows, D input features, K bands. float64 throughout. After arXiv 2301.12923, section on eigenspaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from disobey.errors import refusal


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues and eigenvectors of a covariance.

    Attributes:
        values: (D,) descending variances.
        directions: (D, D), one unit direction a column.
    """

    values: Tensor
    directions: Tensor


def spectrum(inputs: Tensor) -> Spectrum:
    """Eigenvalues and eigenvectors of the covariance of a layer's inputs, in float64.

    Args:
        inputs: (N, D), two rows or more. Their mean is subtracted: a layer with a bias learns along it separately.

    Raises:
        Refusal: ``input-rows``, for another shape.

    >>> spectrum(torch.tensor([[3.0, 1.0], [-3.0, 1.0], [3.0, -1.0], [-3.0, -1.0]])).values
    tensor([9., 1.], dtype=torch.float64)
    """
    if inputs.ndim != 2 or len(inputs) < 2:
        raise refusal("input-rows", "at least two rows of inputs (N, D)", f"shape {tuple(inputs.shape)}")
    x = inputs.detach().double()
    x = x - x.mean(0)
    values, directions = torch.linalg.eigh(x.T @ x / len(x))
    return Spectrum(values.flip(0).clamp_min(0), directions.flip(1))


def patches(images: Tensor, kernel: int, *, stride: int = 1, padding: int = 0) -> Tensor:
    """The inputs of a convolution, place by place.

    Args:
        images: (N, c, H, W).
        kernel: width of the square kernel.
        stride: of the convolution.
        padding: of the convolution.

    Returns:
        (N · places, c · kernel²), ordered as the convolution's weights are.

    >>> patches(torch.arange(9.0).view(1, 1, 3, 3), 2)[0]
    tensor([0., 1., 3., 4.])
    """
    columns = F.unfold(images, kernel, stride=stride, padding=padding)
    return columns.transpose(1, 2).reshape(-1, columns.shape[1])


def bands(values: Tensor, shares: Sequence[float] = (0.5, 0.9, 0.99)) -> tuple[slice, ...]:
    """Runs of directions up to each cumulative share of the variance; at least one direction each, the rest left out.

    Args:
        values: (D,) descending variances.
        shares: rising, in (0, 1]; K bands, at most D.

    Returns:
        K slices of directions, the top band first.

    Raises:
        Refusal: ``band-shares``.

    >>> bands(torch.tensor([6.0, 2.0, 1.0, 0.9, 0.1]))
    (slice(0, 1, None), slice(1, 3, None), slice(3, 4, None))
    """
    if len(values) < len(shares) or list(shares) != sorted(set(shares)) or not 0 < shares[0] <= shares[-1] <= 1:
        raise refusal("band-shares", f"rising shares in (0, 1], at most one a direction ({len(values)})", shares)
    held = values.double().cumsum(0) / values.double().sum()
    found, start = [], 0
    for index, share in enumerate(shares):
        last = len(values) - (len(shares) - 1 - index)  # room for one direction of every later band
        end = int((held < share - 1e-6).sum()) + 1
        end = min(max(end, start + 1), last)
        found.append(slice(start, end))
        start = end
    return tuple(found)


def direction_norms(weights: Tensor, of: Spectrum) -> Tensor:
    """Length of the weights along every direction, over all outputs.

    Args:
        weights: (..., out, D).
        of: the spectrum of the layer's inputs.

    Returns:
        (..., D).

    >>> direction_norms(torch.tensor([[3.0, 1.0], [4.0, 0.0]]), Spectrum(torch.ones(2), torch.eye(2).double()))
    tensor([5., 1.], dtype=torch.float64)
    """
    return (weights.detach().double() @ of.directions).norm(dim=-2)


def band_norms(weights: Tensor, of: Spectrum, within: Sequence[slice]) -> NDArray:
    """Length of the weights within every band, over all outputs: from (..., out, D) to (..., K)."""
    norms = direction_norms(weights, of)
    return torch.stack([norms[..., band].norm(dim=-1) for band in within], dim=-1).numpy()


def top_bias(student: NDArray, twin: NDArray) -> NDArray:
    """How much more a student prefers the top band than its control (twin) does, for every lower band.

    For gradient flow on a linear model it is log f_1(T)/f_2(T) at all equal times (`theory.matched_progress`).

    Args:
        student: (..., K) lengths within the bands, top band first.
        twin: (..., K) the control's.

    Returns:
        (..., K − 1) in nats: log of (top / lower) of the student over (top / lower) of the control; 0 for equal
        directions whatever their scale.

    >>> top_bias(np.array([2.0, 1.0]), np.array([10.0, 10.0])).round(3)
    array([0.693])
    """
    logs = np.log(student) - np.log(twin)
    return logs[..., :1] - logs[..., 1:]


def matched_bias(student: NDArray, twin: NDArray) -> NDArray:
    """How far a student's lower bands are behind its control's at equal length of the top band.

    Unlike `top_bias` it depends on scale: compare it at one temperature only.

    Args:
        student: (T, K) lengths at T moments, top band first.
        twin: (T, K) the control's.

    Returns:
        (K − 1,) in nats: mean over the student's own moments of the log of the control's lower band minus that of the
        student's, the control's interpolated between its moments (linear in logs). Moments at which the control's top
        band never was so long are left out; NaN where none remains.

    >>> path = np.array([[1.0, 1.0], [2.0, 4.0], [4.0, 16.0]])
    >>> matched_bias(np.array([[2.0, 2.0]]), path).round(3)
    array([0.693])
    """
    own, other = np.log(student), np.log(twin)
    order = np.argsort(other[:, 0], kind="stable")
    tops = other[order, 0]
    inside = (own[:, 0] >= tops[0]) & (own[:, 0] <= tops[-1])
    if not inside.any():
        return np.full(student.shape[1] - 1, np.nan)
    behind = [
        np.mean(np.interp(own[inside, 0], tops, other[order, k]) - own[inside, k]) for k in range(1, student.shape[1])
    ]
    return np.array(behind)
