"""One distillation step of a CIFAR ResNet: which of the speed-run habits pay, as ratios to a plain loop.

    python benchmarks/cifar_step.py                        ResNet-8 from a ResNet-20, 32x32, batch 128
    python benchmarks/cifar_step.py --device cuda --rounds 7 --steps 200
    python benchmarks/cifar_step.py --model resnet20 --teacher resnet56 --rounds 3 --without bf16 "bf16 compiled"

All contenders live in one process with one thread and take turns, block by block, so that a ratio compares times taken
next to each other: process CPU time, on a GPU wall time until it is idle. They train the same student with SGD,
momentum and weight decay, on random images with crop and flip, at T=4 with weight 0.9.

    plain            what a short script does: views by slicing and flipping, teacher online, torch's defaults
    box              what general training boxes do, re-created in their style (not their code): a DataLoader without
                     workers over a data set with transforms, teacher online, outputs of named layers collected by
                     hooks into dictionaries, a list of weighted terms, the loss read and printed every step
    disobey          the product's own loop, as `disobey run` trains: views and the teacher's answers lie on the device
                     (asking the teacher is paid once, by the first arm of a study, and not counted)
    bf16, tf32       the same with another precision in the recipe
    compiled         the same with --compile; building is timed apart
    captured         the same with --capture, on a GPU

On a GPU plain and box have torch's defaults (TF32 convolutions, kernels that need not repeat themselves), disobey has
full float32 and deterministic kernels.
"""

from __future__ import annotations

import argparse
import io
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from disobey.data.augment import Views
from disobey.data.dataset import DataSpec
from disobey.models.build import build
from disobey.models.spec import model_spec
from disobey.targets.schedule import distill
from disobey.training.accelerated import step_of
from disobey.training.acceleration import PLAIN, Acceleration
from disobey.training.batches import order_of
from disobey.training.devices import deterministic, on_device
from disobey.training.loop import fit
from disobey.training.objective import Objective
from disobey.training.prepare import Prepared
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec
from disobey.training.teacher_table import Table

CLASSES, T, WEIGHT, IMAGES = 10, 4.0, 0.9, 1024
OPTIM = OptimSpec("sgd", 0.01, batch=128, weight_decay=5e-4, decay="constant")
Block = Callable[[], None]  # some steps


@dataclass(frozen=True)
class Setting:
    """What all contenders share: the words of both networks, images (N, 3, 32, 32), labels (N,), where they train."""

    student: str
    teacher: str
    images: Tensor
    labels: Tensor
    batch: int
    steps: int
    device: torch.device

    def network(self, word: str, seed: int) -> nn.Module:
        """The same first weights for every contender."""
        torch.manual_seed(seed)
        return build(model_spec(word), shape=(3, 32, 32), classes=CLASSES)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """What CIFAR ResNets are trained with, as torch makes it."""
        return torch.optim.SGD(model.parameters(), lr=OPTIM.lr, momentum=OPTIM.momentum, weight_decay=5e-4)


def plain(setting: Setting) -> Block:
    """A short script's loop."""
    student, teacher = (setting.network(word, i) for i, word in enumerate((setting.student, setting.teacher)))
    student, teacher = student.to(setting.device), teacher.to(setting.device).eval()
    opt, padded = setting.optimizer(student), F.pad(setting.images, (4, 4, 4, 4)).to(setting.device)
    labels = setting.labels.to(setting.device)

    def step() -> None:
        rows = torch.randint(len(padded), (setting.batch,))
        views = []
        for row in rows.tolist():
            top, left = torch.randint(9, (2,)).tolist()
            view = padded[row, :, top : top + 32, left : left + 32]
            views.append(view.flip(2) if torch.rand(()) < 0.5 else view)
        x, y = torch.stack(views), labels[rows.to(setting.device)]
        with torch.no_grad():
            target = F.softmax(teacher(x) / T, dim=1)
        logits = student(x)
        loss = WEIGHT * T * T * F.kl_div(F.log_softmax(logits / T, dim=1), target, reduction="batchmean")
        opt.zero_grad()
        (loss + (1 - WEIGHT) * F.cross_entropy(logits, y)).backward()
        opt.step()

    return lambda: [step() for _ in range(setting.steps)] and None


class Examples(Dataset[tuple[Tensor, Tensor]]):
    """One example at a time, transformed when it is asked for."""

    def __init__(self, images: Tensor, labels: Tensor):
        self.images, self.labels = F.pad(images, (4, 4, 4, 4)), labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        top, left = torch.randint(9, (2,)).tolist()
        view = self.images[index, :, top : top + 32, left : left + 32]
        return (view.flip(2) if torch.rand(()) < 0.5 else view), self.labels[index]


@dataclass(eq=False)
class Tapped:
    """A network whose named layers write what comes in and goes out into a dictionary at every pass."""

    network: nn.Module
    layers: tuple[str, ...]
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, module in self.network.named_modules():
            if name in self.layers:
                self.seen[name] = {}
                module.register_forward_hook(lambda _m, got, gave, name=name: self.keep(name, got, gave))

    def keep(self, name: str, got: Any, gave: Any) -> None:
        """What a hook does."""
        self.seen[name].update(input=got, output=gave)

    def __call__(self, x: Tensor) -> dict[str, dict[str, Any]]:
        """Everything that was tapped of one pass."""
        self.network(x)
        taken = {name: dict(entry) for name, entry in self.seen.items()}
        for entry in self.seen.values():
            entry.clear()
        return taken


def box(setting: Setting) -> Block:
    """A general box's loop."""
    names = [setting.student, setting.teacher]
    networks = [setting.network(word, i).to(setting.device) for i, word in enumerate(names)]
    student, teacher = (Tapped(network, (last_linear(network),)) for network in networks)
    teacher.network.eval().requires_grad_(False)
    opt = setting.optimizer(student.network)
    rates = torch.optim.lr_scheduler.MultiStepLR(opt, [10**6])
    data = Examples(setting.images, setting.labels)
    loader = DataLoader(data, setting.batch, shuffle=True, num_workers=0, drop_last=True)
    log, state = io.StringIO(), {"batches": iter(loader)}
    terms: list[tuple[float, Callable[[dict, dict, Tensor], Tensor]]] = [
        (WEIGHT * T * T, lambda s, t, _y: F.kl_div(_soft(s), _soft(t).exp(), reduction="batchmean")),
        (1 - WEIGHT, lambda s, _t, y: F.cross_entropy(next(iter(s.values()))["output"], y)),
    ]

    def step() -> None:
        began = time.perf_counter()
        try:
            x, y = next(state["batches"])
        except StopIteration:
            state["batches"] = iter(loader)
            x, y = next(state["batches"])
        x, y = x.to(setting.device), y.to(setting.device)
        with torch.no_grad():
            taught = teacher(x)
        given = student(x)
        loss = torch.stack([weight * term(given, taught, y) for weight, term in terms]).sum()
        opt.zero_grad()
        loss.backward()
        opt.step()
        rates.step()
        rate, speed = opt.param_groups[0]["lr"], len(x) / (time.perf_counter() - began)
        print(f"loss: {loss.item():.4f}  lr: {rate}  img/s: {speed:.1f}", file=log)

    return lambda: [step() for _ in range(setting.steps)] and None


def _soft(seen: dict[str, dict[str, Any]]) -> Tensor:
    return F.log_softmax(next(iter(seen.values()))["output"] / T, dim=1)


def last_linear(network: nn.Module) -> str:
    """The name of the layer that gives logits."""
    return [name for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1]


def disobey(setting: Setting, precision: str = "float32", how: Acceleration = PLAIN) -> Block:
    """The product's loop on a prepared run, whose teacher has answered for every view."""
    data = DataSpec("random images", augment="crop-flip")
    optim = replace(OPTIM, steps=setting.steps, batch=setting.batch, precision=cast(Any, precision))
    recipe = Recipe(data, model_spec(setting.student), optim, distill(T, weight=WEIGHT), Recipe(data))
    run, views = Run(recipe), Views("crop-flip", setting.images).to(setting.device)
    table = torch.randn(len(views) * views.count, CLASSES, device=setting.device)
    labels = setting.labels.to(setting.device)
    objective = Objective(recipe.targets, setting.steps, labels, Table(table, "views", views.count))
    model = on_device(setting.network(setting.student, 0), "image", setting.device)
    order = order_of(run, len(views), views.count).to(setting.device)
    one = Prepared(run, cast(Any, None), model, views, order, objective)
    step = step_of(one, how)
    if step.reasons:
        print(f"not as asked: {step.reasons}", flush=True)

    def block() -> None:
        with deterministic(setting.device, optim.precision):
            fit(model, run, one.batches, step.backward)

    return block


def contenders(cuda: bool) -> dict[str, Callable[[Setting], Block]]:
    """All of them by name: those that a device has."""
    compiled, captured = Acceleration(compile=True), Acceleration(capture=True)
    every: dict[str, Callable[[Setting], Block]] = {
        "plain": plain,
        "box": box,
        "disobey": disobey,
        "compiled": lambda s: disobey(s, how=compiled),
        "bf16": lambda s: disobey(s, "bfloat16"),
        "bf16 compiled": lambda s: disobey(s, "bfloat16", compiled),
    }
    of_gpus: dict[str, Callable[[Setting], Block]] = {
        "tf32": lambda s: disobey(s, "tf32"),
        "captured": lambda s: disobey(s, how=captured),
        "bf16 captured": lambda s: disobey(s, "bfloat16", captured),
        "bf16 compiled captured": lambda s: disobey(s, "bfloat16", Acceleration(True, True)),
    }
    return every | (of_gpus if cuda else {})


def clock(device: torch.device) -> float:
    """Seconds: of the processor, or of the wall once the GPU is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def main() -> None:
    """Builds, warms up, takes turns, prints medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet8")
    parser.add_argument("--teacher", default="resnet20")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="of a block")
    parser.add_argument("--without", nargs="*", default=())
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(2)
    images, labels = torch.randn(IMAGES, 3, 32, 32), torch.randint(CLASSES, (IMAGES,))
    device = torch.device(options.device)
    setting = Setting(options.model, options.teacher, images, labels, options.batch, options.steps, device)
    blocks: dict[str, Block] = {}
    for name, make in contenders(device.type == "cuda").items():
        if name not in options.without:
            began = time.perf_counter()
            blocks[name] = make(setting)
            blocks[name]()
            print(f"{name:>22}: first block {time.perf_counter() - began:.1f} s (wall)", flush=True)
    taken: dict[str, list[float]] = {name: [] for name in blocks}
    for _ in range(options.rounds):
        for name, block in blocks.items():
            began = clock(device)
            block()
            taken[name].append((clock(device) - began) / options.steps)
    where = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    print(f"{options.model} from {options.teacher}, batch {options.batch}, torch {torch.__version__}, {where}")
    for name, seconds in taken.items():
        print(f"{name:>22}: {1000 * statistics.median(seconds):7.1f} ms a step", end="")
        for peer in ("plain", "box"):
            if peer in taken:
                ratios = sorted(p / s for p, s in zip(taken[peer], seconds, strict=True))
                print(f", {peer} / this {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})", end="")
        print()


if __name__ == "__main__":
    main()
