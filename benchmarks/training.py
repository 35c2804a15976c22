"""Samples a second of distillation: our loop beside a plain loop and beside torchdistill's box, interleaved.

    python benchmarks/training.py                                 our loop, its floor and a plain loop
    python benchmarks/training.py --torchdistill                  the same with torchdistill, in an environment of its own
    python benchmarks/training.py --models cnn --sides 28 --augment none --optimizer adam
    python benchmarks/training.py --study                         whole studies: two workers against one (idle machine!)
    python benchmarks/training.py --repeats 2 --study deviation --seeds 0 1 2

Every contender lives in a process of its own with one thread (ours with the worker's allocator settings, which must not
leak into the peers) and trains a few steps when asked; the driver asks them in turn, round after round, so a ratio
compares times that were taken next to each other. The primary number is the ratio of process CPU time (others may use
the machine); wall time is beside it. All train the same network from `disobey.models` with batch 128, SGD with momentum
and weight decay (or Adam), Hinton's objective at temperature 4 with weight .9, on random images and labels: speed does
not depend on what they show.

    kd           `fit` as `train` calls it, the teacher's answers from a table ("plain", or "replay" with augmentation)
    labels       the same without a teacher
    floor        forward and backward of the student on batches that lie ready, in the same process and memory format
    table        making the table for as many examples as the steps see: what the first arm of a study pays on top
    plain        DataLoader, per-image transforms in numpy, online teacher under no_grad, torch's default formats
    torchdistill DistillationBox with KDLoss, torchvision's per-image transforms, as in its examples but without logging

Teachers are wider networks of the same kind, chosen by operations: forward passes of 2 and 4 times the student's.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
EXAMPLES, CLASSES, BATCH = 4000, 10, 128
TEMPERATURE, WEIGHT = 4.0, 0.9
LR, MOMENTUM, DECAY = 0.05, 0.9, 5e-4
STEPS = {"cnn": 40, "lenet": 30, "resnet8": 8}  # of a block: a few tenths of a second
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

    from disobey.models.build import ModelSpec, build

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
    from disobey.records.store import Store
    from disobey.targets.schedule import distill, labels
    from disobey.training.batches import order_of
    from disobey.training.execution.workers import prepare_worker
    from disobey.training.loop import fit
    from disobey.training.objective import Objective
    from disobey.training.observers import Heartbeat
    from disobey.training.recipe import ModelSpec, OptimSpec, Recipe, Run
    from disobey.training.teacher_table import asker, table_for
    from disobey.training.train import on_device

    prepare_worker()
    x, y = images(case)
    split = Split(x, y, np.arange(EXAMPLES))
    moments = (np.full(x.shape[-1], 0.5), np.full(x.shape[-1], 0.25))
    names = tuple(str(c) for c in range(CLASSES))
    dataset = Dataset(
        "noise", "image", names, split, split.take(np.arange(9)), split.take(np.arange(9)), moments=moments
    )
    cpu, given = torch.device("cpu"), torch.from_numpy(y)
    model = on_device(network(case), dataset, cpu)
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
        wide = on_device(network(case, run.recipe.teacher.model.width), dataset, cpu)  # pyright: ignore
        teacher = wide.eval().requires_grad_(False)
        return table_for(run, asker(run, [teacher], [], dataset), inputs, order, Store(root), CLASSES)

    def trains(steps: int) -> object:
        run, order, objective = prepared(steps)
        return fit(model, run, inputs, order, objective, observers=[Heartbeat(Path(temporary.name) / "beat")])

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


def plain(case: Case, what: str) -> Block:
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


def torchdistill(case: Case, what: str) -> Block:
    """torchdistill's DistillationBox, its KDLoss, torchvision's transforms on PIL images as in its configurations."""
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


# ---- a contender's process, and who asks it

MAKERS: dict[str, Callable[[Case, str], Block]] = {"ours": ours, "plain": plain, "torchdistill": torchdistill}


def serve(contender: str) -> None:
    """Reads {case, what, steps} line by line, trains, answers with the CPU and wall seconds that it took."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print goes beside
    blocks: dict[tuple[Case, str], Block] = {}
    for line in sys.stdin:
        request = json.loads(line)
        key = (Case(**request["case"]), request["what"])
        if key not in blocks:
            if any(held.model != key[0].model or held.side != key[0].side for held, _ in blocks):
                blocks.clear()
            blocks[key] = MAKERS[contender](*key)
            blocks[key](request["steps"])
        cpu, wall = time.process_time(), time.perf_counter()
        blocks[key](request["steps"])
        answers.write(json.dumps([time.process_time() - cpu, time.perf_counter() - wall]) + "\n")
        answers.flush()


class Server:
    """A contender in a process of its own, asked line by line."""

    def __init__(self, contender: str, python: str = sys.executable):
        command = [python, __file__, "--serve", contender]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | THREADS
        )

    def seconds(self, case: Case, what: str, steps: int) -> tuple[float, float]:
        """(CPU, wall) of that many steps; the first call of a kind warms up first."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {"case": dataclasses.asdict(case), "what": what, "steps": steps}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.process.args} ended with {self.process.wait()} at {request}")
        cpu, wall = json.loads(answer)
        return cpu, wall

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def environment(folder: Path) -> tuple[str | None, str]:
    """The interpreter of an environment with torchdistill beside this one's torch, made where missing; else why not."""
    python = folder / "bin" / "python"
    try:
        if not python.is_file():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            mine = [p for p in sys.path if p.endswith("site-packages")]
            target = next(folder.glob("lib/python*/site-packages")) / "beside.pth"
            target.write_text("".join(f"import site; site.addsitedir({p!r})\n" for p in mine))
        if subprocess.run(
            [python, "-c", "import importlib.metadata as m; m.version('torchdistill')"], capture_output=True
        ).returncode:
            install = [str(python), "-m", "pip", "install", "-q", "--no-deps", "torchdistill", "torchvision"]
            subprocess.run(install, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return None, f"torchdistill could not be installed in {folder}: {error}"
    return str(python), ""


# ---- measuring


def contenders(case: Case, factors: list[float], peers: list[str]) -> dict[str, tuple[str, Case, str]]:
    """Label to (server, case, what) of everything that takes its turn in a round."""
    lines = {what: ("ours", case, what) for what in ("kd", "labels", "floor")}
    for factor in factors:
        larger = dataclasses.replace(case, factor=factor)
        lines[f"table x{factor:g}"] = ("ours", larger, "table")
        lines |= {f"{peer} x{factor:g}": (peer, larger, "kd") for peer in peers}
    return lines


def measured(servers: dict[str, Server], case: Case, factors: list[float], rounds: int, scale: float):
    """Label to [(CPU, wall) of every round]; in turn, the order reversed from round to round."""
    steps = max(2, round(STEPS[case.model] * scale))
    lines = contenders(case, factors, [name for name in servers if name != "ours"])
    times: dict[str, list[tuple[float, float]]] = {label: [] for label in lines}
    for index in range(rounds):
        labels = list(lines) if index % 2 == 0 else list(reversed(lines))
        for label in labels:
            server, of, what = lines[label]
            times[label].append(servers[server].seconds(of, what, steps))
    return times, steps


def ratio(over: list, under: list, clock: int = 0) -> str:
    """Median of the rounds' ratios and their range."""
    ratios = [a[clock] / b[clock] for a, b in zip(over, under, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


def report(case: Case, factors: list[float], times: dict[str, list[tuple[float, float]]], steps: int) -> None:
    """Prints the table of one case."""
    step = {label: 1e3 * statistics.median(cpu for cpu, _ in spent) / steps for label, spent in times.items()}
    kd, floor = times["kd"], times["floor"]
    print(f"\n## {case.model} {case.side}x{case.side}x{case.shape[0]}, {case.augment}, {case.optimizer}")
    print(
        f"CPU ms a step: kd {step['kd']:.2f}, labels {step['labels']:.2f}, floor {step['floor']:.2f}; "
        f"kd/floor {ratio(kd, floor)}, labels/floor {ratio(times['labels'], floor)}, "
        f"kd/labels {ratio(kd, times['labels'])}"
    )
    for factor in factors:
        width = teacher_width(case.model, case.side, factor)
        true = operations(case.model, case.side, width) / operations(case.model, case.side, None)
        first = [(a + b, c + d) for (a, c), (b, d) in zip(kd, times[f"table x{factor:g}"], strict=True)]
        for label in (label for label in times if label.endswith(f" x{factor:g}") and not label.startswith("table")):
            peer = times[label]
            print(
                f"| {case.model} | {case.side} | {case.augment} | x{true:.1f} (width {width}) | {label.split()[0]} | "
                f"{ratio(peer, kd)} | {ratio(peer, kd, 1)} | {ratio(peer, first)} | {step[label]:.2f} |",
                flush=True,
            )


HEADER = """
| model | side | views | teacher | peer | times its samples/s, CPU | wall | table included, CPU | peer ms a step |
|---|---|---|---|---|---|---|---|---|"""


# ---- whole studies


def study(arguments: list[str], repeats: int) -> None:
    """Wall seconds of a whole study with one worker and with two, in turn, each into an empty store.

    ``again`` is the same command on the finished store: what starts, analyzes and draws, which no worker shortens.
    """
    ratios = []
    for index in range(repeats):
        seconds, again = {}, {}
        for workers in (1, 2) if index % 2 == 0 else (2, 1):
            with tempfile.TemporaryDirectory() as out:
                command = [sys.executable, "-c", "from disobey.cli.main import entry; entry()", "run", *arguments]
                command += ["--out", out, "--workers", str(workers), "--quiet"]
                for times in (seconds, again):
                    start = time.perf_counter()
                    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | THREADS)
                    times[workers] = time.perf_counter() - start
        ratios.append(seconds[1] / seconds[2])
        training = (seconds[1] - again[1]) / (seconds[2] - again[2])
        print(
            f"one worker {seconds[1]:.1f} s, two {seconds[2]:.1f} s, ratio {ratios[-1]:.2f}; again {again[1]:.1f} s "
            f"and {again[2]:.1f} s, ratio without that {training:.2f}; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    print(f"median {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) of {repeats}")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--sides", nargs="+", type=int, choices=(28, 32), default=[28, 32])
    parser.add_argument("--augment", nargs="+", choices=("none", "crop-flip"), default=["none", "crop-flip"])
    parser.add_argument("--optimizer", choices=("sgd", "adam"), default="sgd")
    parser.add_argument("--teachers", nargs="*", type=float, default=[2.0, 4.0], help="operations over the student's")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scale", type=float, default=1.0, help="of the steps in a block")
    parser.add_argument(
        "--torchdistill",
        nargs="?",
        type=Path,
        metavar="FOLDER",
        const=Path(tempfile.gettempdir()) / "disobey-torchdistill",
    )
    parser.add_argument("--repeats", type=int, default=3, help="of --study")
    parser.add_argument("--study", nargs=argparse.REMAINDER, help="last; what follows is for `disobey run`")
    parser.add_argument("--serve", choices=list(MAKERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve)
    if options.study is not None:
        return study(options.study or ["loss-switching", "--seeds", "0", "1"], options.repeats)
    servers = {"ours": Server("ours"), "plain": Server("plain")}
    if options.torchdistill:
        python, why = environment(options.torchdistill)
        print(why) if python is None else servers.update(torchdistill=Server("torchdistill", python))
    else:
        print("torchdistill left out: ask for it with --torchdistill")
    print(f"{time.strftime('%Y-%m-%d')}, {platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(HEADER)
    try:
        for model in options.models:
            for side in options.sides:
                for augment in options.augment:
                    case = Case(model, side, augment, options.optimizer)
                    times, steps = measured(servers, case, options.teachers, options.rounds, options.scale)
                    report(case, options.teachers, times, steps)
    finally:
        for server in servers.values():
            server.close()


if __name__ == "__main__":
    main()
