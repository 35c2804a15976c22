"""Softening, shared by all losses: division by T, the dtype it needs, and targets with probabilities of 0."""

from __future__ import annotations

import torch
from torch import Tensor

from disobey.errors import refusal

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 1e-6, 1e6
# Above this temperature losses are computed in float64: T² multiplies the rounding error of float32 (1e4 * 1e-7 at
# T = 100), which would be visible in the value.
FLOAT64_ABOVE = 32.0
MANY_ROWS, FEW_CLASSES = 2048, 16  # from and up to which rows are normalized by columns


def dot(first: Tensor, second: Tensor) -> Tensor:
    """Sum of products over the last axis."""
    return torch.linalg.vecdot(first, second)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def check_temperature(temperature: float) -> None:
    """Refuses temperatures at which float64 loses the loss."""
    if not LOWEST_TEMPERATURE <= temperature <= HIGHEST_TEMPERATURE:
        raise refusal(
            "temperature-range",
            f"a temperature from {LOWEST_TEMPERATURE:g} to {HIGHEST_TEMPERATURE:g}",
            temperature,
            "the loss mse_centred (the limit of high temperatures) or the control 'argmax' (the limit of low ones)",
        )


def check_smoothing(smoothing: float) -> None:
    """Refuses label smoothing outside [0, 1]."""
    if not 0 <= smoothing <= 1:
        raise refusal("smoothing-range", "label smoothing in [0, 1]", smoothing)


def tempered(logits: Tensor, temperature: float, dtype: torch.dtype | None = None) -> Tensor:
    """Divides logits by T, at least in float32, and in float64 at high temperatures (except on MPS, which has none)."""
    check_temperature(temperature)
    if dtype is None:
        wide = temperature > FLOAT64_ABOVE and logits.device.type != "mps"
        dtype = torch.float64 if wide else torch.promote_types(logits.dtype, torch.float32)
    if logits.dtype != dtype:
        logits = logits.to(dtype)
    return logits if temperature == 1.0 else logits / temperature


def log_softmax(logits: Tensor, temperature: float, dtype: torch.dtype | None = None) -> Tensor:
    """Log-probabilities at this temperature.

    Of many rows with few classes (pixels) the transposed copy is normalized: PyTorch vectorizes over the columns there
    and not within rows as short as these, which takes four times as long.
    """
    rows = tempered(logits, temperature, dtype)
    if rows.ndim == 2 and rows.shape[0] >= MANY_ROWS and rows.shape[1] <= FEW_CLASSES and rows.device.type == "cpu":
        return torch.log_softmax(rows.t().contiguous(), 0).t().contiguous()
    return torch.log_softmax(rows, -1)


def soft_target(targets: Tensor, temperature: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The target's probabilities p and a finite log p: where p is 0, p log p must be 0 and not 0 times −inf."""
    log_p = log_softmax(targets.detach(), temperature, dtype)
    return log_p.exp(), log_p.clamp_min(-1e30)


def times_squared(temperature: float, value: Tensor, logits: Tensor) -> Tensor:
    """Multiplies the value by T² and returns it in the student's dtype (at least float32)."""
    if temperature != 1.0:
        value = value * temperature**2
    return value.to(torch.promote_types(logits.dtype, torch.float32))
