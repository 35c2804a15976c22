"""The pieces in a plain PyTorch loop: a cached teacher, a schedule as a loss, measures with intervals.

    python examples/pieces_in_a_loop.py

A network teaches a smaller one on 8x8 digits (from scikit-learn). The student learns from labels first and from the
teacher in the second half; its control (twin) has the same initialization and batches and learns from labels only.
One training of each says nothing about other seeds: the intervals are over test images.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from disobey import KDLoss, Schedule, TeacherCache, distill, labels, measure, switch

STEPS = 300


def network(width: int) -> nn.Module:
    """Two layers, with the initialization of seed 0."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def train(width: int, schedule: Schedule, x: Tensor, y: Tensor, cache: TeacherCache | None = None) -> nn.Module:
    """A network after `STEPS` steps of Adam."""
    model, loss = network(width), KDLoss(schedule)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    order = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        rows = torch.randint(len(x), (64,), generator=order)
        teacher = None if cache is None else cache[rows]
        optimizer.zero_grad()
        loss(model(x[rows]), y[rows], teacher, progress=step / STEPS).backward()
        optimizer.step()
    return model


def main(folder: str = "teacher-cache") -> None:
    """Trains teacher, student and control, and prints measures of the student."""
    images, digits = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(digits)
    x_train, y_train, x_test, y_test = x[:900], y[:900], x[900:], y[900:]
    teacher = train(128, labels(), x_train, y_train)
    cache = TeacherCache(teacher, x_train, folder)  # asks the teacher once; the next start reads the file
    print(cache)
    student = train(16, switch(labels(), distill(4.0), at=0.5), x_train, y_train, cache)
    twin = train(16, labels(), x_train, y_train)
    with torch.no_grad():
        found = measure(student(x_test), teacher(x_test), y_test, twin=twin(x_test))
    for name in ("student_accuracy", "student_accuracy.minus_twin", "agreement", "agreement.minus_twin"):
        print(f"{name}: {found[name]}")


if __name__ == "__main__":
    main()
