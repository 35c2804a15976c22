"""Samples a second of distillation: our loop beside a plain loop and beside torchdistill's box, interleaved.

    python benchmarks/training.py                                 our loop, its floor and a plain loop
    python benchmarks/training.py --torchdistill            the same with torchdistill, in an environment of its own
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
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from training_contenders import MAKERS, Block, Case, operations, teacher_width

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
STEPS = {"cnn": 40, "lenet": 30, "resnet8": 8}  # of a block: a few tenths of a second


# ---- a contender's process, and who asks it


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
