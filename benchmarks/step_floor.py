"""How far one distillation step is from its own arithmetic, by architecture: step / floor, in turns.

    python benchmarks/step_floor.py                                      on embedded data
    python benchmarks/step_floor.py --case 'DATA#size=16' resnet8 128 --case DATA text-transformer:32 128

A step is what `disobey run` does with a student whose teacher's answers lie in a table: its batch, forward pass,
gradient of the loss at T=4, backward pass, fused Adam. Two floors stand beside it:

    calls        the matrix products, convolutions and attention of that step's forward and backward pass alone, with
                 their own operands: what the same kernels take without norms, activations, reshaping, loss, optimizer
    arithmetic   the multiplications and additions of those calls at the rate of a 1,024-cubed float32 product, which
                 this machine reaches at best

One process, one thread, process CPU time, all in turns, so that a ratio compares times taken next to each other.
Embeddings are look-ups and no arithmetic: a bag of words has next to no floor, and its ratio says only that.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from disobey.data.dataset import DataSpec
from disobey.data.load import resolve
from disobey.models.build import resolve as resolve_model
from disobey.models.spec import model_spec
from disobey.records.store import Store
from disobey.targets.schedule import distill
from disobey.training.objective import Objective
from disobey.training.optim import optimizer
from disobey.training.prepare import SharedInputs, prepared
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec
from disobey.training.teacher_table import Table

EMBEDDED = (("digits-8x8", "mlp:64", "128"), ("digits-8x8", "cnn:8", "128"), ("languages", "text-bag", "128"))
SIDE = 1024  # of the matrix product that gives the rate
Work = Callable[[], object]


class Calls(TorchDispatchMode):
    """The calls with arithmetic in them, and how much."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        packet = func._overloadpacket
        if packet in flop_registry:
            self.made.append((func, args, kwargs))
            self.operations += operations(packet, args, kwargs, found)
        return found


def operations(packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], found: Any) -> int:
    """Multiplications and additions of one call; convolutions by their groups, which torch's own count leaves out."""
    if packet is torch.ops.aten.convolution:
        return 2 * found.numel() * prod(args[1].shape[1:])
    if packet is torch.ops.aten.convolution_backward:
        return 2 * args[0].numel() * prod(args[2].shape[1:]) * sum(args[-1][:2])
    return int(flop_registry[packet](*args, **kwargs, out_val=found))


def step_and_floor(data: str, model: str, batch: int) -> tuple[Work, Work, int, int]:
    """The step, its bare calls, how many operations these are, and the parameters."""
    spec = resolve_model(model_spec(model))
    run = Run(Recipe(resolve(DataSpec(data)), spec, OptimSpec(steps=50, batch=batch)), 0)
    with tempfile.TemporaryDirectory() as folder:
        shared = SharedInputs(Store(folder), torch.device("cpu"))
        one = prepared(run, shared)
    labels = shared.labels(run)
    torch.manual_seed(0)
    table = Table(torch.randn(len(labels), len(one.dataset.classes)), "plain")
    objective = Objective(distill(4.0), 50, labels, table)
    network, batches = one.model.train(), one.batches
    parameters = list(network.parameters())
    opt, turn = optimizer(run.recipe.optim, parameters), iter(range(1 << 30))

    def step() -> None:
        now = next(turn) % 50
        objective.backward(now, network, batches(now))
        opt.step()
        for parameter in parameters:
            parameter.grad = None

    step()
    calls = Calls()
    with calls:
        objective.backward(0, network, batches(0))

    def bare() -> None:
        with torch.no_grad():
            for func, args, kwargs in calls.made:
                func(*args, **kwargs)

    return step, bare, calls.operations, sum(p.numel() for p in parameters)


def seconds(work: Work, times: int) -> float:
    """CPU-seconds of one of several repetitions."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


def main() -> None:
    """Warms up, takes turns, prints medians and ranges."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs=3, action="append", metavar=("DATA", "MODEL", "BATCH"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="of a block")
    options = parser.parse_args()
    torch.set_num_threads(1)
    left, right = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    product = lambda: torch.mm(left, right)
    print(f"torch {torch.__version__}, {options.rounds} rounds of {options.steps} steps, median (range)")
    for data, model, batch in options.case or EMBEDDED:
        step, bare, count, parameters = step_and_floor(data, model, int(batch))
        for work in (step, bare, product):
            work()
        rows = []
        for _ in range(options.rounds):
            taken, calls = seconds(step, options.steps), seconds(bare, options.steps)
            rate = 2 * SIDE**3 / seconds(product, 2)
            rows.append((taken, taken / calls, taken * rate / count, rate))
        ms, by_calls, by_arithmetic, rates = (sorted(column) for column in zip(*rows, strict=True))
        said = [f"{statistics.median(c):.2f} ({c[0]:.2f}-{c[-1]:.2f})" for c in (by_calls, by_arithmetic)]
        print(
            f"{model} on {data}, batch {batch}: {parameters:,} parameters, {count / 1e9:.3f} GFLOP, "
            f"{1000 * statistics.median(ms):.1f} ms a step, step / calls {said[0]}, step / arithmetic {said[1]}, "
            f"{statistics.median(rates) / 1e9:.0f} GFLOP/s",
            flush=True,
        )


if __name__ == "__main__":
    main()
