"""The cost of a distillation loss compared with cross-entropy: value and gradient on the logits, one thread.

    python benchmarks/losses.py [--rounds 25]

All candidates take the same logits, pass them through one operation (so that each pays autograd's startup, as in a
network) and end with a gradient at the leaf. They take turns within a round. Reported are the medians over rounds of
the ratio to `torch.nn.functional.cross_entropy` in the same round, and the fastest time of each.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from disobey.targets.losses import (
    kl,
    kl_prepared,
    kl_with_gradient,
    label_cross_entropy,
    label_cross_entropy_with_gradient,
    soft_targets,
)

TEMPERATURE = 4.0


def candidates(batch: int, classes: int) -> dict[str, Callable[[], object]]:
    """Name to one forward and backward pass."""
    leaf = torch.randn(batch, classes, requires_grad=True)
    teacher = 3 * torch.randn(batch, classes)
    labels = teacher.argmax(-1)
    soft = soft_targets(teacher, TEMPERATURE)
    network: Callable[[], Tensor] = lambda: leaf * 1.0

    def traced(loss: Callable[[Tensor], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(loss(network()), leaf)

    def direct(pair: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Callable[[], object]:
        def step() -> object:
            logits = network()
            value, gradient = pair(logits)
            return value, torch.autograd.grad(logits, leaf, gradient)

        return step

    def usual(logits: Tensor) -> Tensor:  # as most distillation loops write it
        log_q, p = F.log_softmax(logits / TEMPERATURE, -1), F.softmax(teacher / TEMPERATURE, -1)
        return F.kl_div(log_q, p, reduction="batchmean") * TEMPERATURE**2

    return {
        "F.cross_entropy": traced(lambda z: F.cross_entropy(z, labels)),
        "F.cross_entropy, per example": traced(lambda z: F.cross_entropy(z, labels, reduction="none").mean()),
        "F.cross_entropy, smoothing": traced(lambda z: F.cross_entropy(z, labels, label_smoothing=0.1)),
        "F.kl_div loop": traced(usual),
        "kl": traced(lambda z: kl(z, teacher, temperature=TEMPERATURE).mean()),
        "kl_prepared": traced(lambda z: kl_prepared(z, soft).mean()),
        "kl_with_gradient": direct(lambda z: kl_with_gradient(z, soft, scale=1 / batch)),
        "label_cross_entropy": traced(lambda z: label_cross_entropy(z, labels).mean()),
        "label_cross_entropy_with_gradient": direct(
            lambda z: label_cross_entropy_with_gradient(z, labels, scale=1 / batch)
        ),
        "the same, smoothing": direct(
            lambda z: label_cross_entropy_with_gradient(z, labels, smoothing=0.1, scale=1 / batch)
        ),
    }


def measure(batch: int, classes: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Name to (median ratio to F.cross_entropy, fastest microseconds)."""
    steps = candidates(batch, classes)
    repeats = max(20, 20000 // (classes + 90))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.process_time()  # the time of this process only, because the machine may be shared
            for _ in range(repeats):
                step()
            times[name].append((time.process_time() - start) / repeats)
    base = times["F.cross_entropy"]
    return {
        name: (statistics.median(a / b for a, b in zip(spent, base, strict=True)), 1e6 * min(spent))
        for name, spent in times.items()
    }


def main() -> None:
    """Parses the options and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for shape in ((128, 10), (128, 100), (128, 1000)):
        print(f"(B, C) = {shape}, torch {torch.__version__}")
        for name, (ratio, fastest) in measure(*shape, rounds).items():
            print(f"  {name:36s} x{ratio:5.2f}  {fastest:8.1f} us")


if __name__ == "__main__":
    main()
