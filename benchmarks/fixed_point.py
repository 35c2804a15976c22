"""Exact walk against iteration, and cheap gradients against the exact one on trained weights.

    python benchmarks/fixed_point.py [--rounds 7] [--gradients] [--seeds 0 1 2 --group S3]

The crossover table interleaves both solvers in one process on one thread: time of forward + backward of a
FixedPointRNN (batch 16), iteration over exact, so that above 1 the exact walk is faster. `--gradients`
trains an S3 tracker (the recipe of `disobey.models.sequence`) and compares each gradient mode with autograd
through the exact walk. `--seeds` trains one tracker a seed by the recipe and prints its accuracies.
All times are CPU times of the process.
"""

import argparse
import statistics
import time

import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from disobey.data.sequences import constant_words, group, word_problem
from disobey.models.fixed_point import FixedPointRNN
from disobey.models.sequence import STATE_TRACKING, SequenceModel, sequence_model
from disobey.models.solvers import Exact, Iterate


def spent(layer: FixedPointRNN, x: torch.Tensor) -> float:
    start = time.process_time()
    layer(x)[0].square().mean().backward()
    return time.process_time() - start


def crossover(rounds: int) -> None:
    print("iteration / exact, forward + backward, batch 16, one thread (above 1: exact is faster)")
    solvers = {f"{n} sweeps": Iterate(n, 0.0) for n in (2, 4, 8, 16)} | {"tol 1e-3": Iterate(64, 1e-3)}
    print(f"{'D':>5} {'rank':>5} {'T':>5} {'exact ms':>9} " + " ".join(f"{name:>10}" for name in solvers) + "  used")
    for d_inner, rank in ((64, 1), (256, 1), (64, 4)):
        for steps in (16, 64, 256):
            torch.manual_seed(0)
            layer = FixedPointRNN(d_inner // 2, d_inner, rank=rank)
            x = torch.randn(16, steps, d_inner // 2)
            columns: dict[str, list[float]] = {name: [] for name in solvers}
            exact, used = [], 0
            for _ in range(rounds):
                layer.solver = Exact()
                exact.append(spent(layer, x))
                for name, solver in solvers.items():
                    layer.solver = solver
                    columns[name].append(spent(layer, x) / exact[-1])
                used = layer.last_solve.iterations if layer.last_solve else 0
            ratios = " ".join(f"{statistics.median(column):10.2f}" for column in columns.values())
            print(f"{d_inner:5d} {rank:5d} {steps:5d} {statistics.median(exact) * 1e3:9.2f} {ratios}  {used}")


def trained(name: str, seed: int) -> SequenceModel:
    """A tracker of this group by the recipe; words of 2 to 12 elements."""
    torch.manual_seed(seed)
    size = len(group(name))
    model = sequence_model("fixed_point", tokens=size, classes=size, **STATE_TRACKING.model())
    optimizer = STATE_TRACKING.optimizer(model)
    lengths = torch.Generator().manual_seed(seed)
    for step in range(STATE_TRACKING.steps):
        length = int(torch.randint(2, STATE_TRACKING.longest + 1, (1,), generator=lengths))
        words = word_problem(name, STATE_TRACKING.batch, length, seed * 100_000 + step)
        loss = cross_entropy(
            model(torch.as_tensor(words.inputs)).flatten(0, 1), torch.as_tensor(words.targets).flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        STATE_TRACKING.update(model, optimizer, step)
    return model


def accuracy(model: SequenceModel, name: str, length: int) -> float:
    words = word_problem(name, 512, length, seed=10**9 + length)
    with torch.no_grad():
        guesses = model(torch.as_tensor(words.inputs)).argmax(-1).numpy()
    return float((guesses[:, -1] == words.targets[:, -1]).mean())


def seeds(name: str, chosen: list[int]) -> None:
    for seed in chosen:
        start = time.process_time()
        model = trained(name, seed)
        seconds = time.process_time() - start
        columns = "  ".join(f"{accuracy(model, name, n):.3f} at {n}" for n in (12, 24, 40, 64))
        powers = constant_words(name, 40)
        with torch.no_grad():
            guesses = model(torch.as_tensor(powers.inputs)).argmax(-1).numpy()
        right = float((guesses == powers.targets).mean())
        print(f"{name} seed {seed}: last token {columns}; g^k, k <= 40: {right:.3f}; {seconds:.0f} s", flush=True)


def gradients(name: str = "S3", seed: int = 0) -> None:
    model = trained(name, seed)
    layer = model.layers[0]
    assert isinstance(layer, FixedPointRNN)
    print(f"{name}, seed {seed}: last-token accuracy " + ", ".join(
        f"{accuracy(model, name, n):.3f} at {n}" for n in (12, 24, 40)
    ))  # fmt: skip
    words = word_problem(name, 64, 12, seed=7)

    def gradient(solver: Exact | Iterate) -> torch.Tensor:
        layer.solver = solver
        loss = cross_entropy(
            model(torch.as_tensor(words.inputs)).flatten(0, 1), torch.as_tensor(words.targets).flatten()
        )
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(layer.parameters()))])

    wanted = gradient(Exact())
    for label, solver in {
        "ift": Iterate(200, 1e-6),
        "ift, tol 1e-2": Iterate(200, 1e-2),
        "one_step": Iterate(200, 1e-6, "one_step"),
        "unroll 4": Iterate(200, 1e-6, "unroll", 4),
        "unroll 16": Iterate(200, 1e-6, "unroll", 16),
    }.items():
        got = gradient(solver)
        assert layer.last_solve is not None
        print(f"  {label:14s} cosine to exact {cosine_similarity(got, wanted, dim=0):.3f}"
              f"  norm ratio {got.norm() / wanted.norm():.3f}  sweeps {layer.last_solve.iterations}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--gradients", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--group", default="S3")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.seeds:
        seeds(options.group, options.seeds)
    elif options.gradients:
        gradients(options.group)
    else:
        crossover(options.rounds)


if __name__ == "__main__":
    main()
