"""What is read off a language model on the test text, at temperature 1, in nats and shares.

Means over the positions of each window, (W,), and over all: ``nll`` of the true token; ``right``, whether the most
likely token is the true one; ``overconfidence``, the largest probability minus ``right``; and, of a student beside its
teacher, ``kl`` from teacher to student. The teacher's own ``mass`` (C,): mean probability of its k + 1 most likely
tokens together, softened as the student's targets are; and ``collision``, its mean Σ p².

Shapes: W windows, T positions of a window, C pieces.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disobey.data.sources.passages import Passages
from disobey.models.language import CausalTransformer
from disobey.training.tasks.next_token.network import LENGTH

WINDOWS = 256  # of the test text, evenly over it
CHUNK = 16


def read_windows(text: Passages) -> NDArray:
    """The windows that every run is read on, (W, T + 1)."""
    windows = text.windows("test", LENGTH)
    return windows[np.linspace(0, len(windows) - 1, min(WINDOWS, len(windows))).astype(np.int64)]


@torch.inference_mode()
def readings(
    model: CausalTransformer, teacher: CausalTransformer | None, text: Passages, temperature: float = 1.0
) -> Mapping[str, NDArray]:
    """Arrays (W,) by name; with a teacher ``mass`` (C,) and ``collision`` (1,) as well.

    temperature: at which the teacher's mass is read.
    """
    windows = torch.from_numpy(read_windows(text).copy())
    device = model.tokens.device
    found: dict[str, list[Tensor]] = {}
    for start in range(0, len(windows), CHUNK):
        batch = windows[start : start + CHUNK].to(device)
        log_q = _log_probs(model, batch[:, :-1])
        rows = _student(log_q, batch[:, 1:])
        if teacher is not None:
            logits = teacher(batch[:, :-1]).double()
            log_p = logits.log_softmax(-1)
            rows["kl"] = (log_p.exp() * (log_p - log_q)).sum(-1)
            soft = (logits / temperature).softmax(-1)
            rows["mass"] = soft.sort(-1, descending=True).values.cumsum(-1)
            rows["collision"] = soft.square().sum(-1)
        for name, values in rows.items():
            found.setdefault(name, []).append(values.mean(dim=1).cpu())
    means = {name: torch.cat(parts).numpy() for name, parts in found.items()}
    wide = {
        name: means.pop(name).mean(axis=0, keepdims=name == "collision")
        for name in ("mass", "collision")
        if name in means
    }
    return means | wide


def _log_probs(model: CausalTransformer, inputs: Tensor) -> Tensor:
    return model(inputs).double().log_softmax(-1)


def _student(log_q: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """(W, T) by name."""
    best = log_q.max(-1)
    right = (best.indices == labels).double()
    nll = -log_q.gather(-1, labels[..., None])[..., 0]
    return {"nll": nll, "right": right, "overconfidence": best.values.exp() - right}
