"""A model's answers on many examples, in fixed chunks: the same bits whoever asks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CHUNK = 256  # fixed: the last bits of a matrix product depend on the number of rows


@torch.inference_mode()
def logits(model: nn.Module, inputs: Tensor, chunk: int = CHUNK) -> Tensor:
    """(N, C) float32 in evaluation mode; the model's mode is put back."""
    return in_chunks(model, len(inputs), lambda rows: inputs[rows], chunk)


@torch.inference_mode()
def in_chunks(model: nn.Module, n: int, take: Callable[[slice], Tensor], chunk: int = CHUNK) -> Tensor:
    """(n, C) float32 logits of inputs that ``take`` makes chunk by chunk."""
    mode = model.training
    model.eval()
    try:
        return torch.cat([model(take(slice(i, min(i + chunk, n)))).float() for i in range(0, n, chunk)])
    finally:
        model.train(mode)


def log_probabilities(model: nn.Module, inputs: Tensor) -> Tensor:
    """(N, C) float32 log-probabilities. From float64 logits, so that small ones keep their digits."""
    return torch.log_softmax(logits(model, inputs).double(), dim=-1).float()
