"""What several or altered teachers say, from what each of them says: pure functions of logits.

Shapes: M teachers, N examples, C classes. All give (N, C) log-probabilities, except one teacher alone, whose logits
stay as they are so that losses on raw logits have them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def averaged(logits: Tensor) -> Tensor:
    """Log of the mean probability of an ensemble: (M, N, C) to (N, C).

    >>> averaged(torch.tensor([[[0.0, 0.0]], [[0.0, 0.0]]])).exp()
    tensor([[0.5000, 0.5000]])
    """
    if len(logits) == 1:
        return logits[0]
    return torch.logsumexp(torch.log_softmax(logits, dim=-1), dim=0) - math.log(len(logits))


def cross_fitted(logits: Tensor, saw: Tensor) -> Tensor:
    """The mean answer of those teachers that did not see the example; of all where every one or none did.

    logits: (M, N, C); saw: (M, N) bool, whether the teacher was trained on the example. An example that every
    teacher saw has no honest answer: `ValueError`.
    """
    if bool(saw.all(dim=0).any()):
        raise ValueError(
            f"{int(saw.all(dim=0).sum())} examples were seen by every cross-fitted teacher; "
            "expected each to be left out by at least one (folds >= 2, the same training set)"
        )
    log_probs = torch.log_softmax(logits, dim=-1).masked_fill(saw.unsqueeze(-1), -torch.inf)
    return torch.logsumexp(log_probs, dim=0) - (~saw).sum(dim=0).log().unsqueeze(-1)


def permuted_rows(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Every example gets the answer to another one: keeps all marginals, destroys the link to the input."""
    return logits[torch.randperm(len(logits), generator=generator).to(logits.device)]


def permuted_classes(logits: Tensor, generator: torch.Generator) -> Tensor:
    """One renaming of the classes for all examples: keeps structure, destroys meaning."""
    return logits[:, torch.randperm(logits.shape[-1], generator=generator).to(logits.device)]
