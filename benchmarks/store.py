"""What it costs that nothing on disk is believed unchecked: manifests and hashes of a study, checkpoints within a run.

    python benchmarks/store.py [--study deviation] [--smoke]

Trains the study in a fresh folder, with the seconds of sealing (hashing and writing the manifest), of finding (sizes)
and of verifying (hash on the first read) counted beside the CPU seconds of everything. Prints one line each.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from disobey.records import manifest
from disobey.records.store import Store
from disobey.studies import STUDIES
from disobey.training import loop
from disobey.training.execution.engine import run_all
from disobey.training.savepoint import Savepoint

SPENT: dict[str, float] = {}


def counted(name: str, function):
    """The function, with its CPU seconds added up under a name."""

    def inner(*args, **kwargs):
        began = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            SPENT[name] = SPENT.get(name, 0.0) + time.process_time() - began

    return inner


def study(name: str, smoke: bool) -> None:
    """Manifests and hashes beside everything else, in one process so that all is counted."""
    manifest.seal = counted("seal", manifest.seal)
    manifest.check_sizes = counted("sizes", manifest.check_sizes)
    manifest.verified = counted("verify", manifest.verified)
    kind = STUDIES[name]
    chosen = kind.smoke() if smoke else kind()
    with tempfile.TemporaryDirectory() as root:
        began = time.process_time()
        outcome = run_all(chosen.plan(), Store(Path(root)), workers=0)
        chosen.analyze(outcome.records)
        whole = time.process_time() - began
        size = sum(path.stat().st_size for path in Path(root).rglob("*") if path.is_file())
    spent = sum(SPENT.values())
    print(f"{name}: {len(outcome.records)} runs, {size / 2**20:.1f} MiB, {whole:.1f} CPU seconds")
    print(f"manifests and hashes: {spent:.3f} s, {100 * spent / whole:.2f}% ({SPENT})")


def checkpoints() -> None:
    """One checkpoint of a ResNet-56's size, against the ten minutes between two of them."""
    from disobey.models.build import build
    from disobey.models.spec import ModelSpec

    model = build(ModelSpec("resnet56", width=64), shape=(3, 32, 32), classes=10, vocabulary=0)
    opt = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    opt.step()

    class Nothing:
        def state(self):
            return {}

        def restore(self, _state):
            return None

    with tempfile.TemporaryDirectory() as root:
        point = Savepoint(Path(root) / "a.pt")
        began = time.perf_counter()
        point.write(10, model, opt, torch.zeros(10), Nothing(), [])
        seconds = time.perf_counter() - began
        size = (Path(root) / "a.pt").stat().st_size
    parameters = sum(p.numel() for p in model.parameters())
    print(
        f"a checkpoint of {parameters / 1e6:.1f} M parameters and Adam's moments, {size / 2**20:.0f} MiB: "
        f"{seconds:.2f} s every 600 s, {seconds / 6:.3f}%"
    )
    due = Savepoint(Path("x"))
    began = time.perf_counter()
    for _ in range(100_000):
        due.due()
    print(f"asking whether one is due: {(time.perf_counter() - began) * 1e4:.1f} ns a step")


def patrol() -> None:
    """Looking for divergence, a step."""
    losses, look = torch.zeros(100_000), loop.Patrol()
    began = time.perf_counter()
    for done in range(1, 100_001):
        look(done, losses)
    print(f"looking for divergence: {(time.perf_counter() - began) * 1e4:.1f} ns a step")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="deviation")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    study(options.study, options.smoke)
    checkpoints()
    patrol()
