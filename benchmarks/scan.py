"""Forward + backward of the scan h_t = a_t h_{t-1} + x_t, compared with the ways to write it without a kernel.

    python benchmarks/scan.py [--rounds 15] [--threads 1 2]
    python benchmarks/scan.py --scaling [--rounds 101]      (on a busy machine: nice -n -20, as root)
    python benchmarks/scan.py --device cuda                 (also flash-linear-attention and accelerated-scan, if
    installed)

All implementations run in one process, interleaved round by round. Ratios are medians of the per-round ratios to the
compiled kernel. With one thread the clock is the CPU time of the process, so that a busy machine does not matter; with
more it is the wall clock. The process keeps freed memory (mallopt, as in the training workers); otherwise all
implementations would pay page faults for their outputs. The floor is the time to move the memory (3 arrays forward, 5
backward) at the bandwidth of an out-of-place addition measured in the same rounds.

`--scaling` alternates one and two threads in one process, by the wall clock, at the shape of the comparison and at one
that fits into the caches. While one thread is timed, another process spins on the second core without touching memory,
so that other load on that core, or its absence, does not make one thread look slow or fast.

`--device cuda` prints two times. *launched*: many calls are queued and awaited once, so the host's cost of launching is
included, as in training. *device*: the same call replayed from a CUDA graph, kernels only. Other implementations keep
their own form: flash-linear-attention's HGRN takes logarithms of decays in (0, 1), accelerated-scan (B, D, T).
"""

import argparse
import ctypes
import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from disobey.models.recurrent.linear_rnn import linear_recurrence, scan_backend


def unbind_loop(decay: Tensor, inputs: Tensor) -> Tensor:
    """A careful implementation: autograd through a loop over unbound time slices."""
    state, states = torch.zeros_like(inputs[:, 0]), []
    for a, x in zip(decay.unbind(1), inputs.unbind(1), strict=True):
        state = a * state + x
        states.append(state)
    return torch.stack(states, dim=1)


def indexed_loop(decay: Tensor, inputs: Tensor) -> Tensor:
    """A careless implementation: every a[:, t] costs a gradient of the whole array."""
    state, states = torch.zeros_like(inputs[:, 0]), []
    for t in range(inputs.shape[1]):
        state = decay[:, t] * state + inputs[:, t]
        states.append(state)
    return torch.stack(states, dim=1)


RIVALS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "kernel": lambda a, x: linear_recurrence(a, x),
    "loop, analytic backward": lambda a, x: linear_recurrence(a, x, backend="loop"),
    "autograd loop, unbind": unbind_loop,
}


def seconds(run: Callable[[], object]) -> float:
    """Time of one call: CPU time with one thread, wall clock with more."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    run()
    return clock() - start


def keep_memory() -> None:
    """Tells glibc to keep freed blocks instead of returning them to the system (no effect elsewhere)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def trial(rival: Callable, decay: Tensor, inputs: Tensor, grad: Tensor) -> Callable[[], object]:
    """One forward and backward pass, as a function."""
    return lambda: torch.autograd.grad(rival(decay, inputs), (decay, inputs), grad)


def spin() -> None:
    """Keeps a core busy without touching memory."""
    while True:
        pass


@contextmanager
def neighbour() -> Iterator[Callable[[bool], None]]:
    """A spinning process that can be started and paused."""
    process = multiprocessing.get_context("fork").Process(target=spin, daemon=True)
    process.start()
    assert process.pid is not None
    pid = process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield lambda runs: os.kill(pid, signal.SIGCONT if runs else signal.SIGSTOP)
    finally:
        os.kill(pid, signal.SIGKILL)
        process.join()


def scaling(shape: tuple[int, int, int], rounds: int) -> None:
    """Prints the wall time on one thread divided by that on two, for the kernel and for an addition."""
    generator = torch.Generator().manual_seed(0)
    decay = torch.rand(shape, generator=generator).requires_grad_()
    inputs = torch.randn(shape, generator=generator).requires_grad_()
    grad, scratch = torch.randn(shape, generator=generator), torch.empty(shape)
    runs = {
        "kernel": trial(RIVALS["kernel"], decay, inputs, grad),
        "addition (bandwidth)": lambda: torch.add(decay.detach(), grad, out=scratch),
    }
    times: dict[tuple[str, int], list[float]] = {(name, n): [] for name in runs for n in (1, 2)}
    with neighbour() as let_run:
        for i in range(rounds + 2):
            for threads in (1, 2):
                torch.set_num_threads(threads)
                let_run(threads == 1)
                for name, run in runs.items():
                    run()  # threads wake up, caches fill
                    start = time.perf_counter()
                    run()
                    if i >= 2:
                        times[name, threads].append(time.perf_counter() - start)
    for name in runs:
        one, two = times[name, 1], times[name, 2]
        ratios = sorted(a / b for a, b in zip(one, two, strict=True))
        low, middle, high = (ratios[int(q * (len(ratios) - 1))] for q in (0.25, 0.5, 0.75))
        milliseconds = [statistics.median(spent) * 1e3 for spent in (one, two)]
        print(
            f"  {name:22s} 1 thread {milliseconds[0]:6.2f} ms  2 threads {milliseconds[1]:6.2f} ms"
            f"  speed-up {middle:.2f} (quartiles {low:.2f} to {high:.2f}; best over best {min(one) / min(two):.2f})"
        )


def compare(shape: tuple[int, int, int], rounds: int, rivals: dict[str, Callable]) -> None:
    """Prints the time of every implementation and its ratio to the kernel."""
    generator = torch.Generator().manual_seed(0)
    decay = torch.rand(shape, generator=generator).requires_grad_()
    inputs = torch.randn(shape, generator=generator).requires_grad_()
    grad = torch.randn(shape, generator=generator)
    scratch = torch.empty(shape)
    runs = {name: trial(rival, decay, inputs, grad) for name, rival in rivals.items()}
    runs["floor"] = lambda: torch.add(decay.detach(), grad, out=scratch)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds + 2):
        for name, run in runs.items():
            spent = seconds(run)
            if i >= 2:
                times[name].append(spent * (8 / 3 if name == "floor" else 1))
    for name, column in times.items():
        ratios = [spent / base for spent, base in zip(column, times["kernel"], strict=True)]
        best, middle = min(column) * 1e3, statistics.median(column) * 1e3
        print(f"  {name:26s} median {middle:8.2f} ms  best {best:8.2f} ms  ratio {statistics.median(ratios):6.2f}")


def cuda_rivals(shape: tuple[int, int, int]) -> dict[str, tuple[Callable[[Tensor, Tensor], Tensor], str]]:
    """Other scans on a GPU, with the form of their arguments: decays, their logarithms, or time last."""
    found: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], str]] = {
        name: (rival, "plain") for name, rival in RIVALS.items() if name == "kernel" or shape[1] <= 512
    }
    try:
        from fla.ops.hgrn import chunk_hgrn, fused_recurrent_hgrn  # pyright: ignore[reportMissingImports]

        found["fla fused_recurrent_hgrn"] = (lambda a, x: fused_recurrent_hgrn(x, a)[0]), "log"
        found["fla chunk_hgrn"] = (lambda a, x: chunk_hgrn(x, a)[0]), "log"
    except ImportError as error:
        print(f"  (no flash-linear-attention: {error})")
    try:
        from accelerated_scan.scalar import scan as scalar  # pyright: ignore[reportMissingImports]

        found["accelerated-scan scalar"] = scalar, "time last"
        from accelerated_scan.warp import scan as warp  # pyright: ignore[reportMissingImports]

        if shape[1] & (shape[1] - 1) == 0 and shape[1] >= 32:
            found["accelerated-scan warp"] = warp, "time last"
    except Exception as error:  # it is compiled when imported
        print(f"  (no accelerated-scan: {str(error).splitlines()[0]})")
    return found


def cuda_trials(shape: tuple[int, int, int]) -> dict[str, Callable[[], object]]:
    """Forward and backward of every implementation, and the addition that measures bandwidth."""
    generator = torch.Generator("cuda").manual_seed(0)
    decay = torch.rand(shape, generator=generator, device="cuda")
    inputs, grad, scratch = (torch.randn(shape, generator=generator, device="cuda") for _ in range(3))
    runs: dict[str, Callable[[], object]] = {}
    for name, (rival, form) in cuda_rivals(shape).items():
        mine, yours, theirs = (decay.log() if form == "log" else decay.clone()), inputs.clone(), grad
        if form == "time last":
            mine, yours, theirs = (t.transpose(1, 2).contiguous() for t in (mine, yours, theirs))
        runs[name] = trial(rival, mine.requires_grad_(), yours.requires_grad_(), theirs)
    runs["floor"] = lambda: torch.add(decay, grad, out=scratch)
    return runs


def compare_cuda(shape: tuple[int, int, int], rounds: int) -> None:
    """Prints launched and device times of every implementation on a GPU."""
    calls: dict[tuple[str, str], tuple[Callable[[], object], int]] = {}
    for name, run in cuda_trials(shape).items():
        try:
            run()
            for clock, call in (("launched", run), ("device", captured(run))):
                queued(call, 2)
                calls[name, clock] = call, max(1, min(200, int(0.02 / queued(call, 3))))
        except Exception as error:
            print(f"  {name}: {type(error).__name__}: {str(error).splitlines()[0][:150]}")
    times: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for _ in range(rounds):
        for (name, clock), (call, n) in calls.items():
            times[name, clock].append(queued(call, n) * (8 / 3 if name == "floor" else 1))
    for (name, clock), column in times.items():
        ratios = sorted(spent / base for spent, base in zip(column, times["kernel", clock], strict=True))
        print(
            f"  {name:26s} {clock:8s} median {statistics.median(column) * 1e6:9.1f} us  ratio"
            f" {statistics.median(ratios):7.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
            flush=True,
        )


def captured(run: Callable[[], object]) -> Callable[[], object]:
    """The kernels of one call as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def queued(run: Callable[[], object], calls: int) -> float:
    """Seconds per call, of many calls that are queued before the device is awaited."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        run()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / calls


def main() -> None:
    """Parses the options and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    if options.device == "cuda":
        print(
            f"torch {torch.__version__}, {torch.cuda.get_device_name()}, kernel: {scan_backend(torch.zeros(1).cuda())}"
        )
        for shape in ((32, 256, 256), (8, 64, 128), (64, 1024, 768), (8, 4096, 64), (1, 65536, 64)):
            print(f"{shape} float32")
            compare_cuda(shape, options.rounds)
        return
    keep_memory()
    print(f"torch {torch.__version__}, kernel: {scan_backend(torch.zeros(1))}, rounds: {options.rounds}")
    if options.scaling:
        for shape in ((32, 256, 256), (32, 128, 64)):
            print(f"{shape} float32, one thread over two, wall clock, {os.cpu_count()} cores")
            scaling(shape, options.rounds)
        return
    for threads in options.threads:
        torch.set_num_threads(threads)
        print(f"(32, 256, 256) float32, {threads} thread(s)")
        compare((32, 256, 256), options.rounds, RIVALS)
    torch.set_num_threads(1)
    print("(32, 256, 256), indexing a[:, t] inside the loop, 1 thread")
    compare((32, 256, 256), 1, {"kernel": RIVALS["kernel"], "autograd loop, a[:, t]": indexed_loop})
    for steps in (64, 256, 1024, 4096):
        print(f"(8, {steps}, 64), 1 thread: cost against T")
        compare((8, steps, 64), options.rounds, {"kernel": RIVALS["kernel"]})


if __name__ == "__main__":
    main()
