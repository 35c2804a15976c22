"""Time and memory of reading large pairs, against reading the same bytes once with numpy.

    python benchmarks/diagnose.py [--rows 1000000] [--classes 1000] [--formats npy npz safetensors packed] [--tokens 10000000]

Each measurement is a process of its own; numpy's reading and the diagnosis alternate, ``--repeat`` times. "gather" is
the pass over the file, "whole" the diagnosis with all intervals, checks and charts, "command" `disobey diagnose` from
start to exit, report, figures and ``result.json`` written. Peak memory is the process's largest resident set (Linux:
VmHWM). ``packed`` is ``numpy.savez_compressed``, of a tenth of the rows: packing takes a minute a gigabyte. The files
(4 GB by default) go to ``--folder`` and are deleted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PERIOD = 10_000  # rows after which the made data repeat
# Not ru_maxrss: across fork and exec that keeps the parent's peak, which has mapped whole files to write them.
PEAK = "int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
READ = """
import sys, time, json, numpy as np
from pathlib import Path
path = Path(sys.argv[1]); t = time.perf_counter(); c = time.process_time()
if path.is_dir():
    arrays = [np.load(p) for p in sorted(path.glob('*.npy'))]
elif path.suffix == '.npz':
    with np.load(path) as z:
        arrays = [z[k] for k in z.files]
else:
    arrays = [np.fromfile(path, np.uint8)]
print(json.dumps(dict(wall=time.perf_counter() - t, cpu=time.process_time() - c, peak=PEAK)))
"""
DIAGNOSE = """
import sys, time, json
from disobey.diagnosis.joined import read_pair
from disobey.diagnosis.evidence import gather
from disobey.diagnosis.diagnose import report
t = time.perf_counter(); c = time.process_time()
found = gather(read_pair(sys.argv[1]))
wall, cpu = time.perf_counter() - t, time.process_time() - c
peak = PEAK
report(found)
print(json.dumps(dict(wall=wall, cpu=cpu, gather_peak=peak, whole_wall=time.perf_counter() - t,
                      whole_cpu=time.process_time() - c, peak=PEAK)))
"""
COMMAND = """
import sys, time, json, tempfile
from disobey.cli.main import main
t = time.perf_counter(); c = time.process_time()
with tempfile.TemporaryDirectory() as out:
    assert main(['diagnose', sys.argv[1], '--quiet', '--out', out]) == 0
print(json.dumps(dict(wall=time.perf_counter() - t, cpu=time.process_time() - c, peak=PEAK)))
"""


def timed(code: str, path: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", code.replace("PEAK", PEAK), str(path)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def write_dense(folder: Path, kind: str, rows: int, classes: int) -> Path:
    """A folder of .npy first; the other formats are made from it. Rows repeat every `PERIOD`: no time depends on it."""
    plain = folder / "npy"
    if not plain.exists():
        plain.mkdir(parents=True)
        rng = np.random.default_rng(0)
        few = min(rows, PERIOD)
        labels = rng.integers(classes, size=few).astype(np.int32)
        teacher = 2 * rng.standard_normal((few, classes), np.float32)
        teacher[np.arange(few), labels] += 8
        student = 1.1 * teacher + 0.7 * rng.standard_normal(teacher.shape, np.float32)
        repeat(plain / "teacher.npy", teacher.astype(np.float16), rows)
        repeat(plain / "student.npy", student.astype(np.float16), rows)
        repeat(plain / "labels.npy", labels, rows)
    if kind == "npy":
        return plain
    arrays = {p.stem: np.load(p, mmap_mode="r") for p in plain.glob("*.npy")}
    path = folder / f"pair.{kind}"
    if kind == "npz":
        np.savez(path, **arrays)  # type: ignore[arg-type]
    elif kind == "packed":
        path = folder / "packed.npz"
        np.savez_compressed(path, **{name: array[: rows // 10] for name, array in arrays.items()})  # type: ignore[arg-type]
    else:
        from safetensors.numpy import save_file

        save_file({name: np.asarray(array) for name, array in arrays.items()}, path)
    return path


def repeat(path: Path, part: NDArray, rows: int) -> None:
    """A .npy of this many rows, the part over and over."""
    with open(path, "wb") as file:
        header = {"descr": part.dtype.str, "fortran_order": False, "shape": (rows, *part.shape[1:])}
        np.lib.format.write_array_header_2_0(file, header)
        for start in range(0, rows, len(part)):
            part[: rows - start].tofile(file)


def write_tokens(folder: Path, tokens: int, k: int = 64) -> Path:
    path = folder / "tokens"
    path.mkdir(parents=True)
    rng = np.random.default_rng(0)
    few = min(tokens, 10 * PERIOD)
    z = np.sort(3 * rng.standard_normal((few, k), np.float32), axis=1)[:, ::-1]
    logs = z - np.log(np.exp(z).sum(axis=1, keepdims=True)) - 0.02
    s = logs + 0.3 * rng.standard_normal(z.shape, np.float32)
    s -= np.log(np.exp(s).sum(axis=1, keepdims=True)) + 0.03
    repeat(path / "topk_ids.npy", rng.integers(50_000, size=z.shape).astype(np.int32), tokens)
    repeat(path / "topk_teacher.npy", logs.astype(np.float16), tokens)
    repeat(path / "topk_student.npy", s.astype(np.float16), tokens)
    return path


def compare(name: str, path: Path, repeat: int) -> None:
    reads, runs = [], []
    for _ in range(repeat):
        reads.append(timed(READ, path))
        runs.append(timed(DIAGNOSE, path))
    command = timed(COMMAND, path)
    read, run = (min(found, key=lambda f: f["wall"]) for found in (reads, runs))
    ratio = np.median([b["wall"] / a["wall"] for a, b in zip(reads, runs, strict=True)])
    cpu = np.median([b["cpu"] / a["cpu"] for a, b in zip(reads, runs, strict=True)])
    print(
        f"| {name} | {read['wall']:.1f} ({read['cpu']:.1f}) | {read['peak'] / 1e6:.2f} | "
        f"{run['wall']:.1f} ({run['cpu']:.1f}) | {ratio:.1f} ({cpu:.1f}) | {run['gather_peak'] / 1e6:.2f} | "
        f"{run['whole_wall']:.1f} ({run['whole_cpu']:.1f}) | {run['peak'] / 1e6:.2f} | "
        f"{command['wall']:.1f} ({command['cpu']:.1f}) | {command['peak'] / 1e6:.2f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=1_000)
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--formats", nargs="*", default=["npy", "npz", "safetensors", "packed"])
    parser.add_argument("--folder", type=Path, default=Path("disobey-runs/benchmark-diagnose"))
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    print("seconds: wall (cpu); ratio of gather to numpy's reading, median of pairs; GB\n")
    print("| input | numpy reads | peak | gather | ratio | peak | whole diagnosis | peak | command | peak |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    try:
        for kind in options.formats:
            path = write_dense(options.folder, kind, options.rows, options.classes)
            rows = options.rows // 10 if kind == "packed" else options.rows
            compare(f"{rows:,} × {options.classes:,} float16 {kind}", path, options.repeat)
            if path.is_file():
                path.unlink()
        shutil.rmtree(options.folder / "npy", ignore_errors=True)
        if options.tokens:
            compare(f"{options.tokens:,} tokens, top 64", write_tokens(options.folder, options.tokens), options.repeat)
    finally:
        shutil.rmtree(options.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
