"""A model's scores on a fixed set of batches, taken in the middle of training without disturbing it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from disobey.diagnosis.input.predict import evaluating, logits_of, moved, parted


def scores(model: torch.nn.Module, batches: Iterable[Any], device: torch.device | str) -> torch.Tensor:
    """Logits (N, C) of all batches in evaluation mode; the mode is restored, random generators are not touched."""
    parts = []
    with evaluating({"student": model}), torch.no_grad():
        for batch in batches:
            inputs = moved(parted(batch)[0], device)
            output = model(**inputs) if isinstance(inputs, dict) else model(inputs)
            parts.append(logits_of(output, "student").float().cpu())
    return torch.cat(parts)
