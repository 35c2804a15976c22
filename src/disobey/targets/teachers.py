"""Predictions of an ensemble, of cross-fitted teachers and of permuted teachers, as pure functions of logits.

Shapes: M teachers, N examples, C classes. All functions return (N, C) log-probabilities. The exception is an ensemble
of one teacher, whose logits are returned unchanged so that losses on raw logits can use them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disobey.errors import refusal


def averaged(logits: Tensor) -> Tensor:
    """Log of the mean probability of an ensemble.

    Args:
        logits: of every teacher, (M, N, C).

    Returns:
        Log-probabilities (N, C); the logits themselves if M = 1.

    Example:
        >>> averaged(torch.tensor([[[0.0, 0.0]], [[0.0, 0.0]]])).exp()
        tensor([[0.5000, 0.5000]])
    """
    if len(logits) == 1:
        return logits[0]
    return torch.logsumexp(torch.log_softmax(logits, dim=-1), dim=0) - math.log(len(logits))


def cross_fitted(logits: Tensor, saw: Tensor) -> Tensor:
    """For every example the mean prediction of the teachers that were not trained on it.

    Args:
        logits: of every teacher, (M, N, C).
        saw: whether the teacher was trained on the example, (M, N) bool.

    Returns:
        Log-probabilities (N, C).

    Raises:
        Refusal: ``no-held-out-teacher`` if some example was seen by every teacher.
    """
    if bool(saw.all(dim=0).any()):
        expected = "every example to be left out by at least one cross-fitted teacher"
        got = f"{int(saw.all(dim=0).sum())} examples that every teacher was trained on"
        raise refusal("no-held-out-teacher", expected, got, "at least 2 folds of the same training set")
    log_probs = torch.log_softmax(logits, dim=-1).masked_fill(saw.unsqueeze(-1), -torch.inf)
    return torch.logsumexp(log_probs, dim=0) - (~saw).sum(dim=0).log().unsqueeze(-1)


def permuted_rows(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Every example gets the prediction for another example: keeps all marginals, destroys the link to the input."""
    return logits[torch.randperm(len(logits), generator=generator).to(logits.device)]


def permuted_classes(logits: Tensor, generator: torch.Generator) -> Tensor:
    """One permutation of the classes for all examples: keeps structure, destroys meaning."""
    return logits[:, torch.randperm(logits.shape[-1], generator=generator).to(logits.device)]
