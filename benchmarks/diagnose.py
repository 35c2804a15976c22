"""Time and memory of diagnosing large pairs, against reading the same bytes once with numpy.

    python benchmarks/diagnose.py [--rows 1000000] [--classes 1000] [--formats npy npz safetensors packed]
    python benchmarks/diagnose.py --tokens 10000000

Each measurement is a process of its own; numpy and the diagnosis take turns, ``--repeat`` times. Two kinds of
reading: "reads" is a fresh ``np.load`` of every array into memory (``np.fromfile`` for safetensors): the bytes,
nothing computed. "as float32" goes on to convert every half-precision number to float32, a block at a time into one
buffer, which any computation on them needs. "pass" is ours over the file, "whole" the diagnosis with all intervals,
checks and charts, "command" `disobey diagnose` from start to exit, imports included, report, figures and
``result.json`` written. Files lie in the page cache unless ``--cold`` empties it before every measurement (root,
Linux). Peak memory is the process's largest resident set (Linux: VmHWM). ``packed`` is ``numpy.savez_compressed``, of
a tenth of the rows: packing takes a minute a gigabyte. The files (4 GB by default, 6.3 for the tokens) go to
``--folder`` and are deleted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PERIOD = 10_000  # rows after which the made data repeat
# Not ru_maxrss: across fork and exec that keeps the parent's peak, which has mapped whole files to write them.
PEAK = "int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
START = "import sys, time, json; t = time.perf_counter(); c = time.process_time()"
NOW = "(time.perf_counter() - t, time.process_time() - c)"
READ = """
START
import numpy as np
from pathlib import Path
path = Path(sys.argv[1]); t = time.perf_counter(); c = time.process_time()
if path.is_dir():
    arrays = [np.load(p) for p in sorted(path.glob('*.npy'))]
elif path.suffix == '.npz':
    with np.load(path) as z:
        arrays = [z[k] for k in z.files]
else:
    arrays = [np.fromfile(path, np.uint8)]
    arrays = [arrays[0][: arrays[0].size // 2 * 2].view(np.float16)]
found = dict(reads=NOW)
space = np.empty(2**18, np.float32)
for array in arrays:
    flat = array.reshape(-1)
    for start in range(0, flat.size if array.dtype == np.float16 else 0, space.size):
        part = flat[start : start + space.size]
        space[: part.size] = part
print(json.dumps(dict(found, as_float32=NOW, peak=PEAK)))
"""
DIAGNOSE = """
import sys, time, json
from disobey.diagnosis.input.join import read_pair
from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.diagnose import report
t = time.perf_counter(); c = time.process_time()
evidence = gather(read_pair(sys.argv[1]))
found = {'pass': NOW, 'pass_peak': PEAK}
report(evidence)
print(json.dumps(dict(found, whole=NOW, peak=PEAK)))
"""
COMMAND = """
START
import tempfile
from disobey.cli.main import main
with tempfile.TemporaryDirectory() as out:
    assert main(['diagnose', sys.argv[1], '--quiet', '--out', out]) == 0
print(json.dumps(dict(command=NOW, peak=PEAK)))
"""


def timed(code: str, path: Path, cold: bool) -> dict:
    """Runs a piece of code in a process of its own: seconds and peak memory."""
    for name, text in (("START", START), ("NOW", NOW), ("PEAK", PEAK)):
        code = code.replace(name, text)
    if cold:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
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
    """A folder with top-k lists of this many tokens."""
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
    twin = logs + 0.6 * rng.standard_normal(z.shape, np.float32)
    twin -= np.log(np.exp(twin).sum(axis=1, keepdims=True)) + 0.03
    repeat(folder / "topk_twin.npy", twin.astype(np.float16), tokens)
    return path


TIMES = ("reads", "as_float32", "pass", "whole", "command")


def compare(name: str, path: Path, repeat: int, cold: bool) -> None:
    """A row of the table: times, their ratios to both kinds of reading (medians over the repetitions), peaks."""
    runs = [[timed(code, path, cold) for code in (READ, DIAGNOSE, COMMAND)] for _ in range(repeat)]
    seconds = np.array([[{**read, **whole, **command}[what] for what in TIMES] for read, whole, command in runs])
    wall, cpu = np.median(seconds, axis=0).T
    ratios = np.median(seconds[:, 3:, None] / seconds[:, None, :2], axis=0)[..., 0]  # (whole, command) to both readings
    peaks = [max(run[i]["peak"] for run in runs) / 1e6 for i in range(3)]
    cells = [f"{w:.1f} ({c:.1f})" for w, c in zip(wall, cpu, strict=True)]
    cells += [f"{to_bytes:.1f}, {to_floats:.1f}" for to_bytes, to_floats in ratios]
    print(f"| {name} | " + " | ".join([*cells, *(f"{peak:.2f}" for peak in peaks)]) + " |", flush=True)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=1_000)
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--formats", nargs="*", default=["npy", "npz", "safetensors", "packed"])
    parser.add_argument("--folder", type=Path, default=Path("disobey-runs/benchmark-diagnose"))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    print("seconds: wall (cpu); ratios: wall time to that of numpy's reading, and to reading as float32; peaks in GB\n")
    columns = ["input", "numpy reads", "as float32", "pass", "whole", "command", "whole : numpy", "command : numpy"]
    print(f"| {' | '.join([*columns, 'numpy peak', 'whole peak', 'command peak'])} |\n|{'---|' * 11}", flush=True)
    folder = options.folder
    try:
        for kind in options.formats:
            path = write_dense(folder, kind, options.rows, options.classes)
            rows = options.rows // 10 if kind == "packed" else options.rows
            compare(f"{rows:,} × {options.classes:,} float16 {kind}", path, options.repeat, options.cold)
            if path.is_file():
                path.unlink()
        shutil.rmtree(folder / "npy", ignore_errors=True)
        if options.tokens:
            path = write_tokens(folder, options.tokens)
            compare(f"{options.tokens:,} tokens, top 64", path, options.repeat, options.cold)
            (folder / "topk_twin.npy").rename(path / "topk_twin.npy")
            compare(f"{options.tokens:,} tokens, top 64, with a twin", path, options.repeat, options.cold)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
