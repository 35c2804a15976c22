"""Distillation in Lightning: a callback holds the teacher, a mixin gives the loss.

    python examples/lightning_module.py

Needs `pip install 'disobey[lightning]'`. The teacher is on the module's device, in no checkpoint and no optimizer.
"""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from disobey import distill, labels, switch
from disobey.integrations.lightning import Distilled, HoldTeacher


class Student(Distilled, pl.LightningModule):
    """A network of 16 units."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        """The loss of a batch."""
        x, y = batch
        return self.kd_loss(x, self.layers(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam; the teacher is not among the parameters."""
        return torch.optim.Adam(self.parameters(), 1e-2)


def main(epochs: int = 15) -> float:
    """Trains a teacher and a student; gives the share of test images on which they agree."""
    images, digits = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(digits)
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(teacher.parameters(), 1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(teacher(x[:900]), y[:900]).backward()
        optimizer.step()

    student = Student()
    trainer = pl.Trainer(
        max_epochs=epochs,
        callbacks=[HoldTeacher(teacher, switch(labels(), distill(4.0), at=0.2))],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(student, DataLoader(TensorDataset(x[:900], y[:900]), batch_size=64, shuffle=True))
    with torch.no_grad():
        agree = (student.layers(x[900:]).argmax(1) == teacher(x[900:]).argmax(1)).float().mean().item()
    print(f"student and teacher agree on {agree:.1%} of the test images")
    return agree


if __name__ == "__main__":
    main()
