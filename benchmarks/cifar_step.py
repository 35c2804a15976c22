"""One distillation step of a CIFAR ResNet on a CPU: which of the speed-run habits pay, as ratios to a plain loop.

    python benchmarks/cifar_step.py                        ResNet-8 from a ResNet-20, 32x32, batch 128
    python benchmarks/cifar_step.py --model resnet20 --teacher resnet56 --rounds 3 --without bf16

All contenders live in one process with one thread and take turns, block by block, so that a ratio compares times taken
next to each other; process CPU time. They train the same student with SGD, momentum and weight decay, on random images
with crop and flip, at T=4 with weight 0.9. Each adds one thing to the one before it:

    plain          views by slicing and flipping on the fly, teacher online, torch's default format and optimizer
    resident       pre-padded rows gathered in one call, fused optimizer, the teacher's answers read from a table
    channels_last  the same in that memory format: what `disobey run` does
    bf16           the same with the student's forward pass under autocast
    compile        channels_last with the student compiled; building is timed apart
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from disobey.data.augment import Views
from disobey.models.build import build
from disobey.models.spec import model_spec
from disobey.targets.gradients import kl_with_gradient, label_cross_entropy_with_gradient, soft_targets

CLASSES, T, WEIGHT, IMAGES = 10, 4.0, 0.9, 1024
Step = Callable[[], None]


def network(word: str, seed: int) -> nn.Module:
    """The same first weights for every contender."""
    torch.manual_seed(seed)
    return build(model_spec(word), shape=(3, 32, 32), classes=CLASSES)


def optimizer(model: nn.Module, *, fused: bool) -> torch.optim.Optimizer:
    """What CIFAR ResNets are trained with."""
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=fused)


def plain(student: str, teacher: str, images: torch.Tensor, labels: torch.Tensor, batch: int) -> Step:
    """What a short script does."""
    model, guide = network(student, 0), network(teacher, 1).eval()
    opt, padded = optimizer(model, fused=False), F.pad(images, (4, 4, 4, 4))

    def step() -> None:
        rows = torch.randint(len(images), (batch,))
        views = []
        for row in rows.tolist():
            top, left = torch.randint(9, (2,)).tolist()
            view = padded[row, :, top : top + 32, left : left + 32]
            views.append(view.flip(2) if torch.rand(()) < 0.5 else view)
        x = torch.stack(views)
        with torch.no_grad():
            target = F.softmax(guide(x) / T, dim=1)
        logits = model(x)
        loss = WEIGHT * T * T * F.kl_div(F.log_softmax(logits / T, dim=1), target, reduction="batchmean")
        opt.zero_grad()
        (loss + (1 - WEIGHT) * F.cross_entropy(logits, labels[rows])).backward()
        opt.step()

    return step


def resident(
    student: str, images: torch.Tensor, labels: torch.Tensor, batch: int, *, format: str = "", more: str = ""
) -> Step:
    """Everything lies ready; the pieces that `training.loop.fit` runs."""
    model = network(student, 0)
    views = Views("crop-flip", images)
    if format == "channels_last":
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    opt = optimizer(model, fused=True)
    table = torch.randn(len(images) * views.count, CLASSES)
    soft = soft_targets(table, T)
    run = torch.compile(model) if more == "compile" else model

    def step() -> None:
        rows, seen = torch.randint(len(images), (batch,)), torch.randint(views.count, (batch,))
        x = views.take(rows, seen)
        x = x if format == "channels_last" else x.contiguous(memory_format=torch.contiguous_format)
        with torch.autocast("cpu", torch.bfloat16, enabled=more == "bf16"):
            logits = run(x)
        found = logits.detach().float()
        _, taught = kl_with_gradient(found, soft[rows * views.count + seen], scale=WEIGHT / batch)
        _, labelled = label_cross_entropy_with_gradient(found, labels[rows], scale=(1 - WEIGHT) / batch)
        logits.backward((taught + labelled).to(logits.dtype))
        opt.step()
        opt.zero_grad()

    return step


def contenders(student: str, teacher: str, batch: int) -> dict[str, Step]:
    """All of them, by name, on the same random images."""
    torch.manual_seed(2)
    images, labels = torch.randn(IMAGES, 3, 32, 32), torch.randint(CLASSES, (IMAGES,))
    common = (student, images, labels, batch)
    return {
        "plain": plain(student, teacher, images, labels, batch),
        "resident": resident(*common),
        "channels_last": resident(*common, format="channels_last"),
        "bf16": resident(*common, format="channels_last", more="bf16"),
        "compile": resident(*common, format="channels_last", more="compile"),
    }


def main() -> None:
    """Builds, warms up, takes turns, prints medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet8")
    parser.add_argument("--teacher", default="resnet20")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="of a block")
    parser.add_argument("--without", nargs="*", default=())
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps = contenders(options.model, options.teacher, options.batch)
    steps = {name: step for name, step in steps.items() if name not in options.without}
    for name, step in steps.items():
        began = time.perf_counter()
        step()
        print(f"{name:>14}: first step {time.perf_counter() - began:.1f} s (wall)", flush=True)
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, step in steps.items():
            began = time.process_time()
            for _ in range(options.steps):
                step()
            taken[name].append((time.process_time() - began) / options.steps)
    print(f"{options.model} from {options.teacher}, batch {options.batch}, torch {torch.__version__}, ", end="")
    print(f"{platform.processor() or platform.machine()}, bf16 units: {torch.cpu._is_avx512_bf16_supported()}")
    for name, seconds in taken.items():
        ratios = sorted(p / s for p, s in zip(taken["plain"], seconds, strict=True))
        print(
            f"{name:>14}: {1000 * statistics.median(seconds):7.1f} ms a step, "
            f"plain / this {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
