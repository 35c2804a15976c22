"""A tiny causal language model distilled from another, compared by top-k log-probabilities (characters, seconds).

    python examples/causal_lm_pair.py && disobey diagnose causal-lm-pair.npz

The text is a module of the standard library, which is there offline. Only the 8 most likely characters of the
teacher are saved for every position, with the log-probabilities that the student and its twin (the same network,
trained on the text alone) give the same characters: the layout for vocabularies that are too large to save whole.
"""

from __future__ import annotations

import copy
import sys
import unittest.mock

import numpy as np
import torch
from torch import nn

K, CONTEXT, T = 8, 8, 2.0


class Model(nn.Module):
    """The next character from the last eight: embeddings, one hidden layer."""

    def __init__(self, characters: int, width: int):
        super().__init__()
        self.embed = nn.Embedding(characters, 16)
        self.net = nn.Sequential(nn.Linear(16 * CONTEXT, width), nn.ReLU(), nn.Linear(width, characters))

    def forward(self, context):
        """Logits (B, characters) of contexts (B, 8)."""
        return self.net(self.embed(context).flatten(1))


def text() -> str:
    """A few tens of thousands of characters that are there offline."""
    with open(unittest.mock.__file__, encoding="utf-8") as file:
        return file.read()[:60_000]


def train(model: nn.Module, x, y, steps: int, seed: int, teacher: nn.Module | None = None) -> nn.Module:
    """Trains a model on the text, or on text and teacher; equal seeds, equal batches."""
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        rows = torch.randint(len(x), (256,), generator=order)
        logits = model(x[rows])
        loss = nn.functional.cross_entropy(logits, y[rows])
        if teacher is not None:
            with torch.no_grad():
                target = (teacher(x[rows]) / T).log_softmax(1)
            soft = nn.functional.kl_div((logits / T).log_softmax(1), target, reduction="batchmean", log_target=True)
            loss = 0.1 * loss + 0.9 * T * T * soft
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def main(path: str = "causal-lm-pair.npz", steps: int = 600) -> None:
    """Trains teacher, student and twin, and saves their top-k lists."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    letters = text()
    vocabulary = sorted(set(letters))
    numbers = torch.tensor([vocabulary.index(c) for c in letters])
    x, y = numbers.unfold(0, CONTEXT, 1)[:-1], numbers[CONTEXT:]
    cut = len(x) * 4 // 5
    teacher = train(Model(len(vocabulary), 256), x[:cut], y[:cut], steps, 0)
    start = Model(len(vocabulary), 32)
    student = train(copy.deepcopy(start), x[:cut], y[:cut], steps, 1, teacher)
    twin = train(start, x[:cut], y[:cut], steps, 1)
    with torch.no_grad():
        t, s, w = (m(x[cut:]).log_softmax(1) for m in (teacher, student, twin))
    best = t.topk(K, dim=1)
    true = y[cut:, None]
    arrays = {"topk_ids": best.indices.to(torch.int32), "topk_teacher": best.values, "labels": true[:, 0]}
    for name, logs in {"teacher": t, "student": s, "twin": w}.items():
        arrays[f"label_{name}"] = logs.gather(1, true)[:, 0]
        if name != "teacher":
            arrays |= {f"topk_{name}": logs.gather(1, best.indices), f"topk_{name}_top": logs.argmax(1)}
    np.savez(path, **{name: array.numpy() for name, array in arrays.items()})
    print(f"wrote {path}; now: disobey diagnose {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
