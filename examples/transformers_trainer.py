"""Distillation in Transformers' `Trainer` from a cached teacher: four arguments, no subclass.

    python examples/transformers_trainer.py

Needs `pip install 'disobey[hub]' accelerate`. A small network on 8x8 digits stands for your model: anything whose
``forward`` returns ``logits``.
"""

from __future__ import annotations

import tempfile

import torch
from sklearn.datasets import load_digits
from torch import nn
from transformers import Trainer, TrainingArguments

from disobey import TeacherCache, distill
from disobey.integrations.transformers import CachedTeacher


class Network(nn.Module):
    """Two layers; answers as models of Transformers do."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits (B, 10)."""
        return {"logits": self.layers(x)}


def main(folder: str = "", steps: int = 200) -> float:
    """Trains a teacher and a student; gives the share of test images on which they agree."""
    folder = folder or tempfile.mkdtemp()
    images, digits = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(digits)
    torch.manual_seed(0)
    teacher, student = Network(128), Network(16)
    optimizer = torch.optim.Adam(teacher.parameters(), 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(teacher(x[:900])["logits"], y[:900]).backward()
        optimizer.step()

    rows = [{"x": x[i], "labels": int(y[i])} for i in range(900)]
    cache = TeacherCache(teacher.layers, x[:900], f"{folder}/cache")
    kd = CachedTeacher(cache, distill(4.0, weight=0.9))
    arguments = TrainingArguments(
        folder,
        max_steps=steps,
        per_device_train_batch_size=64,
        learning_rate=1e-2,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=True,
    )
    Trainer(
        student,
        arguments,
        train_dataset=kd.rows(rows),
        data_collator=kd.collator,
        compute_loss_func=kd.loss,
        callbacks=[kd],
    ).train()
    with torch.no_grad():
        agree = (student(x[900:])["logits"].argmax(1) == teacher(x[900:])["logits"].argmax(1)).float().mean().item()
    print(f"student and teacher agree on {agree:.1%} of the test images")
    return agree


if __name__ == "__main__":
    main()
