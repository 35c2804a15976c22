"""Stacked training against one network after the other, on one core.

    python benchmarks/stacking.py [--steps 150] [--repeats 5] [--whole]

Every line trains the same K students twice in this process, with `fit` one by one and with `fit_stack` together, in
turns; a ratio is sequential CPU-seconds over stacked ones, the median over the turns with the smallest and largest.
Students are paired arms (labels, KD at T = 4, label smoothing of the teacher's mean entropy, permuted dark knowledge)
of ``cells`` seeds and sizes: the arms of a cell read one batch. The time in both is steps only, without loading and
records; ``--whole`` adds `run_all` with everything (teachers' tables, predictions, files), a cell of 32 runs.

The floor is what the matrix products alone cost: 6 multiply-adds a weight and example (4 in the first layer, whose
inputs need no gradient), at the rate at which this machine multiplies two 512 x 512 matrices. ``of floor`` says how
many times that the stacked step takes. What is left above it are the optimizer's 7 reads and writes of every weight,
the softmax, the gather, and for 784 inputs the cache: 16 first layers of 784 x 100 are 5 MB, read twice and written
once.

``--device cuda`` goes by the wall clock, with other networks and larger stacks, and has no floor: there launching the
kernels of a small network costs more than their work, and that is what a stack saves.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from disobey.data.dataset import DataSpec
from disobey.models.spec import ModelSpec
from disobey.records.store import Store
from disobey.targets.arms import ARMS
from disobey.training.context import Clock
from disobey.training.devices import deterministic
from disobey.training.execution.engine import run_all
from disobey.training.execution.workers import prepare_worker
from disobey.training.loop import fit
from disobey.training.prepare import Prepared, SharedInputs, prepared
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec
from disobey.training.stacked.loop import fit_stack
from disobey.training.tasks import classification

NAMES = ("A0", "A1", "A4", "A9a", "A3", "A7", "A11", "A12")


@dataclass(frozen=True)
class Case:
    """What is trained: data, model, batch size, and how many students share what."""

    data: str
    model: ModelSpec
    batch: int
    arms: int
    cells: int

    @property
    def name(self) -> str:
        """The case in words."""
        kind = "" if self.model.name == "mlp" else f"{self.model.name} "
        size = f"{self.model.width}x{self.model.depth}" if self.model.width else ""
        return f"{self.data} {kind}{size}, batch {self.batch}"


def mlp(width: int, depth: int) -> ModelSpec:
    """A multilayer perceptron of this width and depth."""
    return ModelSpec("mlp", width=width, depth=depth)


CASES = (
    Case("digits-8x8", mlp(32, 1), 128, 8, 1),
    Case("digits-8x8", mlp(32, 1), 128, 4, 4),
    Case("digits-8x8", mlp(32, 1), 128, 1, 16),
    Case("digits-8x8", mlp(32, 1), 128, 8, 8),
    Case("digits-8x8", mlp(128, 2), 128, 4, 4),
    Case("mnist-5k", mlp(100, 1), 64, 4, 1),
    Case("mnist-5k", mlp(100, 1), 64, 8, 1),
    Case("mnist-5k", mlp(100, 1), 64, 4, 4),
    Case("mnist-5k", mlp(100, 1), 64, 8, 4),
    Case("mnist-5k", mlp(100, 1), 128, 4, 4),
    Case("mnist-5k", mlp(128, 2), 128, 4, 4),
    Case("mnist-5k", mlp(256, 2), 128, 4, 2),
    Case("mnist-5k", mlp(512, 2), 128, 4, 1),
)


ON_CUDA = (
    Case("digits-8x8", mlp(32, 1), 128, 8, 4),
    Case("mnist-5k", mlp(100, 1), 64, 8, 1),
    Case("mnist-5k", mlp(100, 1), 64, 8, 4),
    Case("mnist-5k", mlp(100, 1), 64, 8, 16),
    Case("mnist-5k", mlp(512, 2), 128, 8, 4),
    Case("mnist-5k", ModelSpec("deep-linear", width=100, depth=2), 64, 8, 4),
    Case("mnist-5k", ModelSpec("lenet"), 64, 8, 1),
    Case("mnist-5k", ModelSpec("lenet"), 64, 8, 4),
)


def students(case: Case, steps: int) -> list[Run]:
    """Runs of ``cells`` seeds and sizes by ``arms`` arms."""
    optim = OptimSpec(lr=1e-3, steps=steps, batch=case.batch)
    teacher = Recipe(DataSpec(case.data), case.model, replace(optim, steps=100))
    runs = []
    for cell in range(case.cells):
        for name in NAMES[: case.arms]:
            targets = ARMS[name].schedule(4.0)
            data = DataSpec(case.data, train=(400, 1000)[cell % 2])
            asks = teacher if targets.uses_teacher else None
            runs.append(Run(Recipe(data, case.model, optim, targets, asks, replica=1), cell))
    return runs


def floor(case: Case, slices: int, features: int) -> float:
    """Seconds a step of the matrix products alone."""
    width, depth = case.model.width or 128, case.model.depth or 2
    first, rest = features * width, width * width * (depth - 1) + width * 10
    flops = slices * case.batch * (4 * first + 6 * rest)
    a, b = torch.randn(512, 512), torch.randn(512, 512)
    return flops / (2 * 512**3 / _least(lambda: a @ b, 30))


def _least(call: Callable[[], object], times: int) -> float:
    found = []
    for _ in range(times):
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return min(found)


def compare(case: Case, steps: int, repeats: int, store: Store, device: torch.device) -> str:
    """A line of the table: sequential over stacked time of one case."""
    runs = students(case, steps)
    run_all([teacher for run in runs for teacher in run.teachers()], store, workers=0, device=device.type)

    def sequential(slices: list[Prepared]) -> None:
        for one in slices:
            fit(one.model, one.run, one.batches, one.objective.backward)

    spent: dict[str, list[float]] = {"sequential": [], "stacked": []}
    with deterministic(device):
        for _ in range(repeats):
            for name, call in (("sequential", sequential), ("stacked", fit_stack)):
                shared = SharedInputs(store, device)
                slices = [prepared(run, shared) for run in runs]
                began = _now(device)
                call(slices)
                spent[name].append(_now(device) - began)
    ratios = np.array(spent["sequential"]) / np.array(spent["stacked"])
    step = min(spent["stacked"]) / steps
    of_floor = f"{step / floor(case, len(runs), _features(case)):.1f}" if device.type == "cpu" else "-"
    return (
        f"| {case.name} | {len(runs)} in {case.cells} | "
        f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f}) | "
        f"{1e6 * step / len(runs):.0f} | {of_floor} |"
    )


def _now(device: torch.device) -> float:
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def _features(case: Case) -> int:
    return 64 if case.data == "digits-8x8" else 784


def whole(steps: int, repeats: int, device: torch.device) -> str:
    """`run_all` with records, against the sequential loop with the same records, in turns."""
    case = Case("mnist-5k", mlp(100, 1), 64, 8, 4)
    runs = students(case, steps)
    stacked, alone = [], []
    for _ in range(repeats):
        for spent, train in ((stacked, together), (alone, one_by_one)):
            with tempfile.TemporaryDirectory() as folder:
                store = Store(folder)  # type: ignore[arg-type]
                run_all([teacher for run in runs for teacher in run.teachers()], store, workers=0, device=device.type)
                began = _now(device)
                train(runs, store, device)
                spent.append(_now(device) - began)
    ratios = np.array(stacked) / np.array(alone)
    return (
        f"whole run_all, 32 runs of {case.name}, {steps} steps: {np.median(ratios):.2f} "
        f"({ratios.min():.2f} to {ratios.max():.2f}), {stacked[-1] / 32:.3f} seconds a run"
    )


def together(runs: list[Run], store: Store, device: torch.device) -> None:
    """As the engine trains them."""
    assert not run_all(runs, store, workers=0, device=device.type).failed


def one_by_one(runs: list[Run], store: Store, device: torch.device) -> None:
    """Every run alone, by the sequential loop."""
    for run in runs:
        shared = SharedInputs(store, device)
        one = prepared(run, shared)
        with deterministic(device), store.writing(run.id) as folder:
            result = classification.fit_sequentially(one, shared.validation(run))
            classification.write(folder, classification.finished(one, result, shared, Clock()))


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    prepare_worker()
    if device.type == "cuda":
        print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}; ratios of wall-clock seconds")
    else:
        print(
            f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread; ratios of CPU-seconds"
        )
    print("| students | slices in cells | sequential / stacked (range) | stacked, µs a student's step | of floor |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)  # type: ignore[arg-type]
        for case in CASES if device.type == "cpu" else ON_CUDA:
            if options.only in case.name:
                print(compare(case, options.steps, options.repeats, store, device), flush=True)
    if options.whole:
        print(whole(600, 3, device))


if __name__ == "__main__":
    main()
