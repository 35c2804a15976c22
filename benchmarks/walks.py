"""Forward + backward of the walks that are compiled, beside the ways to write them in torch.

    python benchmarks/walks.py [--rounds 9] [--lengths 16 64 256 1024] [--no-compile]     (reflections)
    python benchmarks/walks.py --householder [--rounds 9]                                (the fixed-point layer)

Reflections: (64, T) words, 16 heads of 4 dimensions, 4 reflections a token, float32, one thread. Everything runs in one
process, interleaved round by round; ratios are medians of the per-round ratios to the compiled kernel. The clock is the
CPU time of the process, so that a busy machine matters less. The floor is the time to move the memory that must be
moved (keys read twice and their gradient written, states written, read and their gradient read) at the bandwidth of an
out-of-place addition measured in the same rounds. `torch.compile` is timed up to 16 tokens, beyond which unrolling the
loop takes minutes to compile.

Householder: a whole `FixedPointRNN` step on (64, 12) words, width 32, D 128, rank 1, 2 and 4, that reads its state or
does not, by the compiled walk and by the same layer without it.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from disobey.models.recurrent.fixed_point import FixedPointRNN
from disobey.models.recurrent.householder_kernel import runs_here
from disobey.models.recurrent.reflection_walk import reflection_walk

BATCH, HEADS, N, FACTORS = 64, 16, 4, 4
COMPILED_UP_TO = 16


def eager(keys: Tensor, first: Tensor) -> Tensor:
    """Autograd through a careful loop: unbound slices, fused multiply-adds."""
    state, states = first, []
    for factors in F.normalize(keys, dim=-2, eps=1e-6).unbind(1):
        for u in factors.unbind(1):
            state = torch.addcmul(state, u, (u * state).sum(-2, keepdim=True), value=-2)
        states.append(state)
    return torch.stack(states, dim=1)


def dense(keys: Tensor, first: Tensor) -> Tensor:
    """The matrices of all tokens at once, then a loop of matrix products."""
    units = F.normalize(keys, dim=-2, eps=1e-6).movedim(-1, 2)  # (B, T, H, R, n)
    matrix = torch.eye(N).expand(*units.shape[:3], N, N)
    for u in units.unbind(-2):
        matrix = matrix - 2 * u.unsqueeze(-1) * (u.unsqueeze(-2) @ matrix)
    state, states = first.transpose(1, 2).unsqueeze(-1), []
    for now in matrix.unbind(1):
        state = now @ state
        states.append(state)
    return torch.stack(states, dim=1).squeeze(-1).transpose(2, 3)


def rivals(length: int, *, compiled: bool) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """The implementations that are timed at a length."""
    found: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "kernel": lambda keys, first: reflection_walk(keys, first),
        "loop, written-out backward": lambda keys, first: reflection_walk(keys, first, backend="loop"),
        "autograd loop": eager,
        "dense matrices": dense,
    }
    if compiled and length <= COMPILED_UP_TO:
        found["torch.compile of the autograd loop"] = torch.compile(eager)
    return found


def seconds(run: Callable[[], object]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def measure(length: int, rounds: int, *, compiled: bool) -> None:
    """Times all implementations at a length and prints a row each."""
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(BATCH, length, FACTORS, N, HEADS, generator=generator).requires_grad_()
    first = torch.randn(BATCH, N, HEADS, generator=generator).requires_grad_()
    grad = torch.randn(BATCH, length, N, HEADS, generator=generator)
    trials: dict[str, Callable[[], object]] = {
        name: (lambda call=call: torch.autograd.grad(call(keys, first), (keys, first), grad))
        for name, call in rivals(length, compiled=compiled).items()
    }
    left, right, out = (torch.randn(8_000_000) for _ in range(3))
    numbers = 3 * keys.numel() + 3 * grad.numel()
    trials["floor"] = lambda: torch.add(left, right, out=out)
    for run in trials.values():  # builds, compiles and warms up
        run()
    times: dict[str, list[float]] = {name: [] for name in trials}
    for _ in range(rounds):
        for name, run in trials.items():
            scale = numbers / (3 * len(left)) if name == "floor" else 1.0
            times[name].append(scale * seconds(run))
    for name, found in times.items():
        ratios = [a / b for a, b in zip(found, times["kernel"], strict=True)]
        print(f"{length:5d}  {name:36s} {1e3 * statistics.median(found):9.2f} ms  {statistics.median(ratios):8.2f}")


def measure_householder(rank: int, rounds: int, *, dependent: bool) -> None:
    """Times the layer with and without the compiled walk and prints a row."""
    torch.manual_seed(0)
    layer, x = FixedPointRNN(32, 128, rank=rank, state_dependent=dependent), torch.randn(64, 12, 32)
    slow = copy.deepcopy(layer)
    slow._walk = slow._generic_walk  # type: ignore[method-assign]

    def step(of: FixedPointRNN) -> None:
        of(x)[0].sum().backward()

    # the first round warms up
    times = [(seconds(lambda: step(layer)), seconds(lambda: step(slow))) for _ in range(rounds + 1)]
    ours, theirs = (1e3 * statistics.median(side) for side in zip(*times[1:], strict=True))
    ratio = statistics.median(b / a for a, b in times[1:])
    print(f"rank {rank}, reads its state: {dependent!s:5s} {ours:8.2f} ms  generic {theirs:8.2f} ms  {ratio:6.2f}")


def main() -> None:
    """Prints milliseconds and ratios to the kernel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--lengths", type=int, nargs="+", default=[16, 64, 256, 1024])
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--householder", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if not runs_here(torch.zeros(1, 1, 1), 1):
        print("no compiler here: the kernel's rows are those of the loop")
    if given.householder:
        for rank in (1, 2, 4):
            for dependent in (True, False):
                measure_householder(rank, given.rounds, dependent=dependent)
        return
    for length in given.lengths:
        measure(length, given.rounds, compiled=not given.no_compile)


if __name__ == "__main__":
    main()
