"""A PyTorch pair with its controls: a small network learns from a larger one, on real data (8x8 digits).

    python examples/digits_pair.py && disobey diagnose digits-pair.npz

The teacher learns from 898 labelled images, the students see only 100 of them. Three students learn from the teacher's
soft answers on these images; their three controls (twins) have the same initializations and batches and learn from the
labels. Everything is compared on the other half of the images.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

TEMPERATURE = 4.0
SEEDS = (0, 1, 2)
STUDENT_IMAGES = 100


def network(width: int, seed: int) -> nn.Module:
    """A network with one hidden layer; equal seeds, equal initializations."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def train(model: nn.Module, x: Tensor, y: Tensor, steps: int, seed: int, teacher: nn.Module | None = None) -> nn.Module:
    """Trains a model on the labels ``y``, or on the answers of a teacher; equal seeds, equal batches."""
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3, weight_decay=1e-4)
    for _ in range(steps):
        rows = torch.randint(len(x), (64,), generator=order)
        logits = model(x[rows])
        if teacher is None:
            loss = nn.functional.cross_entropy(logits, y[rows])
        else:
            with torch.no_grad():
                soft = (teacher(x[rows]) / TEMPERATURE).softmax(1)
            loss = TEMPERATURE**2 * nn.functional.cross_entropy(logits / TEMPERATURE, soft)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def main(path: str = "digits-pair.npz", steps: int = 600) -> None:
    """Trains teacher, students and twins, and saves their logits on the other half of the images."""
    torch.set_num_threads(1)
    images, digits = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(images / 16, digits, test_size=0.5, random_state=0)
    x, y = torch.tensor(x_train, dtype=torch.float32), torch.tensor(y_train)
    test = torch.tensor(x_test, dtype=torch.float32)

    teacher = train(network(128, seed=100), x, y, steps, seed=100)
    saved = {"teacher": teacher(test)}
    few, labels = x[:STUDENT_IMAGES], y[:STUDENT_IMAGES]
    for seed in SEEDS:
        saved[f"student/seed{seed}"] = train(network(32, seed), few, labels, steps, seed, teacher)(test)
        saved[f"twin/seed{seed}"] = train(network(32, seed), few, labels, steps, seed)(test)
    arrays = {name: logits.detach().numpy() for name, logits in saved.items()}
    shown = (255 * x_test.reshape(-1, 8, 8)).astype(np.uint8)
    np.savez(path, labels=y_test, images=shown, class_names=np.array(list("0123456789")), **arrays)
    print(f"wrote {path}; now: disobey diagnose {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
