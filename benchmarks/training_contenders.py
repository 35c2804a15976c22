"""The contenders of benchmarks/training.py: ours, a plain loop and torchdistill's box, on equal networks and images.

A contender is a function ``(case, what)`` that gives a block: called with a number of steps, it trains so many.
"""

from __future__ import annotations

import functools
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

EXAMPLES, CLASSES, BATCH = 4000, 10, 128
TEMPERATURE, WEIGHT = 4.0, 0.9
LR, MOMENTUM, DECAY = 0.05, 0.9, 5e-4
UNIT = {"cnn": 8, "lenet": 3, "resnet8": 8}  # teachers' widths are multiples of it
HELD: list = []
Block = Callable[[int], object]  # trains that many steps


@dataclass(frozen=True)
class Case:
    """What is trained: everything that two contenders must share."""

    model: str
    side: int  # 28: one channel; 32: three
    augment: str  # none | crop-flip
    optimizer: str
    factor: float = 1.0  # the teacher's operations over the student's

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return (1 if self.side == 28 else 3, self.side, self.side)


# ---- what all contenders share


def images(case: Case):
    """Random images (N, H, W, channels) uint8 and labels (N,) int64: the same for everybody."""
    import numpy as np

    generator = np.random.default_rng(0)
    channels, *sides = case.shape
    return generator.integers(0, 256, (EXAMPLES, *sides, channels), np.uint8), generator.integers(0, CLASSES, EXAMPLES)


def network(case: Case, width: int | None = None):
    """The model of a case, or one of another width."""
    import torch

    from disobey.models.build import build
    from disobey.models.spec import ModelSpec

    torch.manual_seed(0)
    return build(ModelSpec(case.model, width=width), shape=case.shape, classes=CLASSES)


@functools.cache
def operations(model: str, side: int, width: int | None) -> int:
    """Multiplications and additions of one forward pass of one example."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    case = Case(model, side, "none", "sgd")
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(case, width).eval()(torch.zeros(1, *case.shape))
    return counter.get_total_flops()


@functools.cache
def teacher_width(model: str, side: int, factor: float) -> int:
    """The usual width whose operations come nearest to ``factor`` times those of the default student.

    A width of 23 takes longer than one of 24: a peer that had to ask such a teacher would look slower than it is.
    """
    wanted = factor * operations(model, side, None)
    return min(range(UNIT[model], 65, UNIT[model]), key=lambda width: abs(operations(model, side, width) - wanted))


def peer_optimizer(case: Case, parameters):
    """The optimizer of a case, as the peers build it."""
    import torch

    if case.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=LR / 25)
    return torch.optim.SGD(parameters, lr=LR, momentum=MOMENTUM, weight_decay=DECAY)


# ---- our loop


def ours(case: Case, what: str) -> Block:
    """Blocks of our loop, with the objects that `disobey.training.train` builds."""
    import numpy as np
    import torch

    from disobey.data.augment import Views
    from disobey.data.dataset import Dataset, DataSpec, Split
    from disobey.models.spec import ModelSpec
    from disobey.records.store import Store
    from disobey.targets.schedule import distill, labels
    from disobey.training.batches import ExampleBatches, order_of
    from disobey.training.devices import on_device
    from disobey.training.execution.workers import prepare_worker
    from disobey.training.loop import fit
    from disobey.training.objective import Objective
    from disobey.training.observers import Heartbeat
    from disobey.training.recipe import Recipe, Run
    from disobey.training.specs import OptimSpec
    from disobey.training.teacher_table import table_for, teacher_fn

    prepare_worker()
    x, y = images(case)
    split = Split(x, y, np.arange(EXAMPLES))
    moments = (np.full(x.shape[-1], 0.5), np.full(x.shape[-1], 0.25))
    names = tuple(str(c) for c in range(CLASSES))
    dataset = Dataset(
        "noise", "image", names, split, split.take(np.arange(9)), split.take(np.arange(9)), moments=moments
    )
    cpu, given = torch.device("cpu"), torch.from_numpy(y)
    model = on_device(network(case), dataset.kind, cpu)
    inputs = Views.of(dataset, case.augment)
    temporary = tempfile.TemporaryDirectory()

    def run_of(steps: int) -> Run:
        lr = LR / 25 if case.optimizer == "adam" else LR
        decay = 0.0 if case.optimizer == "adam" else DECAY
        name = "adam" if case.optimizer == "adam" else "sgd"
        optim = OptimSpec(name, lr=lr, steps=steps, batch=BATCH, momentum=MOMENTUM, weight_decay=decay)
        data = DataSpec(augment=case.augment)  # pyright: ignore[reportArgumentType]
        wider = ModelSpec(case.model, width=teacher_width(case.model, case.side, case.factor))
        teacher = Recipe(data, wider, optim)
        targets = labels() if what == "labels" else distill(TEMPERATURE, weight=WEIGHT)
        return Run(Recipe(data, ModelSpec(case.model), optim, targets, teacher))

    @functools.cache
    def prepared(steps: int):
        run = run_of(steps)
        order = order_of(run, len(inputs), inputs.count)
        table = None
        if what == "kd":
            table = made(run, order, Path(temporary.name) / "kept")
        return run, order, Objective(run.recipe.targets, steps, given, table)

    def made(run: Run, order, root: Path):
        wide = on_device(network(case, run.recipe.teacher.model.width), dataset.kind, cpu)  # pyright: ignore
        teacher = wide.eval().requires_grad_(False)
        return table_for(run, teacher_fn(run, [teacher], [], dataset), inputs, order, Store(root), CLASSES)

    def trains(steps: int) -> object:
        run, order, objective = prepared(steps)
        beat = Heartbeat(Path(temporary.name) / "beat")
        return fit(model, run, ExampleBatches(run, inputs, order), objective.backward, observers=[beat])

    def makes_table(steps: int) -> object:
        run, order, _ = prepared(steps)
        with tempfile.TemporaryDirectory() as root:
            return made(run, order, Path(root))

    @functools.cache
    def ready(steps: int) -> list:
        _, order, _ = prepared(steps)
        views = [None] * steps if order.views is None else list(order.views)
        return [inputs.take(r, v) for r, v in zip(order.rows, views, strict=True)]

    gradient = torch.randn(BATCH, CLASSES) / BATCH

    def passes(steps: int) -> None:
        model.train()
        for batch in ready(steps):
            model(batch).backward(gradient)
            for parameter in model.parameters():
                parameter.grad = None

    return {"kd": trains, "labels": trains, "floor": passes, "table": makes_table}[what]


# ---- the peers


def forever(loader) -> Iterator:
    """A loader's batches, again and again."""
    while True:
        yield from loader


def plain(case: Case, _what: str) -> Block:
    """The loop of the field's reference repositories, without their logging."""
    import numpy as np
    import torch
    import torch.nn.functional as F
    from torch.utils.data import DataLoader, Dataset

    x, y = images(case)

    class Images(Dataset):
        def __init__(self) -> None:
            self.mean = torch.full((case.shape[0], 1, 1), 0.5)
            self.deviation = torch.full((case.shape[0], 1, 1), 0.25)

        def __len__(self) -> int:
            return len(x)

        def __getitem__(self, i: int):
            image = x[i]
            if case.augment == "crop-flip":
                side = case.side
                padded = np.zeros((side + 8, side + 8, image.shape[2]), np.uint8)
                padded[4:-4, 4:-4] = image
                top, left = random.randrange(9), random.randrange(9)
                image = padded[top : top + side, left : left + side]
                if random.random() < 0.5:
                    image = image[:, ::-1]
            tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float().div_(255)
            return tensor.sub_(self.mean).div_(self.deviation), int(y[i])

    torch.set_num_threads(1)
    student = network(case).train()
    teacher = network(case, teacher_width(case.model, case.side, case.factor)).eval()
    optimizer = peer_optimizer(case, student.parameters())
    batches = forever(DataLoader(Images(), BATCH, shuffle=True, drop_last=True))

    def trains(steps: int) -> None:
        for _ in range(steps):
            inputs, labels = next(batches)
            with torch.no_grad():
                answers = teacher(inputs)
            logits = student(inputs)
            soft = F.kl_div(
                F.log_softmax(logits / TEMPERATURE, 1), F.softmax(answers / TEMPERATURE, 1), reduction="batchmean"
            )
            loss = WEIGHT * TEMPERATURE**2 * soft + (1 - WEIGHT) * F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()

    return trains


def torchdistill(case: Case, _what: str) -> Block:
    """The DistillationBox of torchdistill, its KDLoss, and torchvision's transforms as in its configurations."""
    import torch

    fragment = torch.library.Library("torchvision", "FRAGMENT")  # its kernels ask for CUDA; nothing here calls them
    HELD.append(fragment)  # definitions end with their library
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            fragment.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchdistill.losses.mid_level  # noqa: F401  # pyright: ignore[reportMissingImports]
    from PIL import Image
    from torch.utils.data import Dataset, RandomSampler
    from torchdistill.core.distillation import get_distillation_box  # pyright: ignore[reportMissingImports]
    from torchvision import transforms  # pyright: ignore[reportMissingImports]

    x, y = images(case)
    channels = case.shape[0]
    crop = [transforms.RandomCrop(case.side, padding=4), transforms.RandomHorizontalFlip()]
    rest = [transforms.ToTensor(), transforms.Normalize([0.5] * channels, [0.25] * channels)]
    transform = transforms.Compose([*(crop if case.augment == "crop-flip" else []), *rest])

    class Images(Dataset):
        def __len__(self) -> int:
            return len(x)

        def __getitem__(self, i: int):
            return transform(Image.fromarray(x[i].squeeze())), int(y[i])

    torch.set_num_threads(1)
    ends = {
        f"{who}_module_{key}": value
        for who in ("student", "teacher")
        for key, value in (("path", "."), ("io", "output"))
    }
    loss = {"key": "KDLoss", "kwargs": ends | {"temperature": TEMPERATURE, "alpha": 1 - WEIGHT}}
    sgd = {"lr": LR, "momentum": MOMENTUM, "weight_decay": DECAY}
    config = {
        "num_epochs": 1,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": RandomSampler},
            "kwargs": {"batch_size": BATCH, "num_workers": 0, "drop_last": True},
        },
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only", "requires_grad": True},
        "optimizer": {"key": "Adam", "kwargs": {"lr": LR / 25}}
        if case.optimizer == "adam"
        else {"key": "SGD", "kwargs": sgd},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": {"criterion": loss, "weight": 1.0}}}},
    }
    student = network(case)
    teacher = network(case, teacher_width(case.model, case.side, case.factor)).eval()
    box = get_distillation_box(teacher, student, {"train": Images()}, config, torch.device("cpu"), None, False, 1)
    check_objective(box.criterion)
    box.pre_epoch_process(epoch=0)
    batches = forever(box.train_data_loader)

    def trains(steps: int) -> None:
        for _ in range(steps):
            sample, targets, extra = next(batches)
            loss = box.forward_process(sample, targets, extra)
            box.post_forward_process(loss=loss)
            loss.item()

    return trains


def check_objective(criterion) -> None:
    """The peer's objective is ours: the same value on the same logits."""
    import torch

    from disobey.targets.losses import distillation

    z, t, y = torch.randn(BATCH, CLASSES), torch.randn(BATCH, CLASSES), torch.randint(CLASSES, (BATCH,))
    theirs = criterion({"student": {".": {"output": z}}, "teacher": {".": {"output": t}}}, {}, y)
    torch.testing.assert_close(theirs, distillation(z, t, y, temperature=TEMPERATURE, weight=WEIGHT).mean())


MAKERS: dict[str, Callable[[Case, str], Block]] = {"ours": ours, "plain": plain, "torchdistill": torchdistill}
