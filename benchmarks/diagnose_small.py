"""CPU time of `disobey diagnose` on a small pair, the common case, beside that of other sources; they take turns.

    python benchmarks/diagnose_small.py [--against OTHER/src] [--rows 3000] [--classes 77] [--repeat 5]

Each measurement is a process of its own, from start to exit: imports, report, figures and result.json included. The
scripts that a report carries are kept between commands, so the first run of each side is not counted.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parents[1] / "src"


def pair(path: Path, rows: int, classes: int, twin: bool) -> Path:
    """Teacher, student and, where asked for, a control, as float32 logits, with labels."""
    rng = np.random.default_rng(0)
    truth = rng.integers(classes, size=rows)
    world = rng.normal(size=(rows, classes))
    world[np.arange(rows), truth] += 2 + np.log(classes)
    teacher = world + 0.5 * rng.normal(size=world.shape)
    arrays = {"teacher": teacher, "student": 1.1 * teacher + 0.3 * rng.normal(size=world.shape)}
    arrays |= {"twin": world + 0.6 * rng.normal(size=world.shape)} if twin else {}
    np.savez(path, labels=truth, **{name: array.astype(np.float32) for name, array in arrays.items()})  # type: ignore
    return path


def seconds(source: Path, path: Path, out: Path) -> float:
    """CPU seconds of one command, all its threads and processes together."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = "import sys; from disobey.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["diagnose", str(path), "--out", str(out), "--quiet"]
    subprocess.run([sys.executable, "-c", code, *words], env=os.environ | {"PYTHONPATH": str(source)}, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Prints a row a kind of pair: medians, and the median of the ratios of neighbouring measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, default=None, help="another src folder")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--classes", type=int, default=77)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    sources = [HERE] + ([options.against.resolve()] if options.against else [])
    print("| pair | CPU s | CPU s of the other | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for twin in (False, True):
            path = pair(Path(folder) / "pair.npz", options.rows, options.classes, twin)
            rounds = [[seconds(s, path, Path(folder) / "out") for s in sources] for _ in range(options.repeat + 1)][1:]
            medians = np.median(rounds, axis=0)
            cells = [f"{m:.2f}" for m in medians]
            if len(sources) > 1:
                cells.append(f"{np.median([mine / other for mine, other in rounds]):.2f}")
            name = f"{options.rows:,} × {options.classes}, {'with a' if twin else 'no'} twin"
            print(f"| {name} | {' | '.join([*cells, *['-'] * (3 - len(cells))])} |", flush=True)


if __name__ == "__main__":
    main()
