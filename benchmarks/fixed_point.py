"""The exact walk compared with iteration, and approximate gradients with the exact one on trained weights.

    python benchmarks/fixed_point.py [--rounds 7]
    python benchmarks/fixed_point.py --lengths [--rounds 7]
    python benchmarks/fixed_point.py --seeds 0 1 2 [--gradients] [--group S3]

The first table interleaves both solvers in one process on one thread: the time of forward + backward of a FixedPointRNN
(batch 16), iteration divided by exact, so that above 1 the exact walk is faster. `--lengths` times one sequence of 64
to 4,096 positions, in microseconds per position. `--seeds` trains one tracker per seed with the recipe of
`disobey.models.recurrent.sequence` and prints its accuracies. With `--gradients` each gradient mode is compared with
autograd through the exact walk on these trained weights. All times are CPU times of the process.
"""

import argparse
import statistics
import time

import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from disobey.data.sources.sequences import Sequences, constant_words, group, word_problem
from disobey.models.recurrent.fixed_point import FixedPointRNN
from disobey.models.recurrent.sequence import STATE_TRACKING, SequenceModel, sequence_model
from disobey.models.recurrent.solvers import Exact, Iterate


def spent(layer: FixedPointRNN, x: torch.Tensor) -> float:
    """CPU-seconds of one forward and backward pass."""
    start = time.process_time()
    layer(x)[0].square().mean().backward()
    return time.process_time() - start


def crossover(rounds: int) -> None:
    """Prints the time of the iteration divided by that of the exact walk, over sizes and sweeps."""
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
    """A tracker of this group, trained with the recipe on words of 2 to 12 elements."""
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
    """Accuracy at the last token of 512 uniform words."""
    words = word_problem(name, 512, length, seed=10**9 + length)
    with torch.no_grad():
        guesses = model(torch.as_tensor(words.inputs)).argmax(-1).numpy()
    return float((guesses[:, -1] == words.targets[:, -1]).mean())


def seeds(name: str, chosen: list[int]) -> None:
    """Trains one tracker per seed and prints its accuracies."""
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


def lengths(rounds: int) -> None:
    """Prints microseconds per position, forward + backward: constant where the cost is linear in T."""
    spans = (64, 256, 1024, 4096)
    print("forward + backward, batch 1, D 64, one thread: microseconds a position at T = " + ", ".join(map(str, spans)))
    for name, rank, solver in (
        ("exact, rank 1", 1, Exact()),
        ("exact, rank 2", 2, Exact()),
        ("8 sweeps, rank 2, implicit", 2, Iterate(8, 1e-12)),
        ("8 sweeps, rank 2, unrolled", 2, Iterate(8, 0.0, "unroll", 8)),
    ):
        torch.manual_seed(0)
        layer = FixedPointRNN(32, 64, rank=rank, solver=solver)
        times: dict[int, list[float]] = {steps: [] for steps in spans}
        for i in range(rounds + 1):
            for steps in spans:
                took = spent(layer, torch.randn(1, steps, 32))
                if i:
                    times[steps].append(took / steps * 1e6)
        print(f"  {name:28s} " + " ".join(f"{statistics.median(column):8.1f}" for column in times.values()), flush=True)


SOLVERS: dict[str, Exact | Iterate] = {
    "ift": Iterate(200, 1e-6),
    "ift, tol 1e-2": Iterate(200, 1e-2),
    "unroll 16": Iterate(200, 1e-6, "unroll", 16),
    "unroll 4": Iterate(200, 1e-6, "unroll", 4),
    "one_step": Iterate(200, 1e-6, "one_step"),
}


def gradients(name: str, chosen: list[int]) -> None:
    """Prints cosine to the exact gradient and ratio of norms for the layer's parameters: median and range."""
    found: dict[str, list[tuple[float, float, int]]] = {label: [] for label in SOLVERS}
    for seed in chosen:
        model = trained(name, seed)
        print(
            f"{name} seed {seed}: " + ", ".join(f"{accuracy(model, name, n):.3f} at {n}" for n in (12, 40)), flush=True
        )
        words = word_problem(name, 64, 12, seed=7)
        wanted, _ = gradient(model, words, Exact())
        for label, solver in SOLVERS.items():
            got, sweeps = gradient(model, words, solver)
            cosine = float(cosine_similarity(got, wanted, dim=0))
            found[label].append((cosine, float(got.norm() / wanted.norm()), sweeps))
    for label, rows in found.items():
        cosines, norms, sweeps = zip(*rows, strict=True)
        print(
            f"  {label:14s} cosine {statistics.median(cosines):.3f} ({min(cosines):.3f} to {max(cosines):.3f})"
            f"  norm ratio {statistics.median(norms):.3f} ({min(norms):.3f} to {max(norms):.3f})"
            f"  sweeps {min(sweeps)} to {max(sweeps)}"
        )


def gradient(model: SequenceModel, words: Sequences, solver: Exact | Iterate) -> tuple[torch.Tensor, int]:
    """The gradient of the layer's parameters (P,), and the number of sweeps of the solve."""
    layer = model.layers[0]
    assert isinstance(layer, FixedPointRNN)
    layer.solver = solver
    logits = model(torch.as_tensor(words.inputs))
    loss = cross_entropy(logits.flatten(0, 1), torch.as_tensor(words.targets).flatten())
    parts = torch.autograd.grad(loss, list(layer.parameters()))
    assert layer.last_solve is not None
    return torch.cat([part.flatten() for part in parts]), layer.last_solve.iterations


def main() -> None:
    """Parses the options and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--lengths", action="store_true")
    parser.add_argument("--gradients", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--group", default="S3")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.gradients:
        gradients(options.group, options.seeds or [0])
    elif options.seeds:
        seeds(options.group, options.seeds)
    elif options.lengths:
        lengths(options.rounds)
    else:
        crossover(options.rounds)


if __name__ == "__main__":
    main()
