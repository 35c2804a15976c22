"""The compiled CPU kernel of the scan: built on first use, kept in the user's cache folder.

Why a compiler is called directly: it needs no build system and takes about a second; torch's extension machinery needs
ninja and most of a minute for the same forty lines. The file name contains everything that could change the machine
code (source, compiler, flags, processor), so a cache that machines share stays correct. The file is written under
another name and renamed, so that two processes that build at the same time both succeed. Without a compiler `kernel`
returns None, and `linear_rnn` uses its loop.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("linear_rnn.cpp")
FLAGS = ("-O3", "-march=native", "-fPIC", "-fno-exceptions", "-fno-rtti", "-fno-math-errno")


def cache_folder() -> Path:
    """The folder of compiled kernels: ``$DISOBEY_KERNELS``, else the user's cache folder."""
    if chosen := os.environ.get("DISOBEY_KERNELS"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "disobey" / "kernels"


def compiler() -> str | None:
    """Path of a C++ compiler, or None: ``$CXX`` first, then the usual names."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and (found := shutil.which(name)):
            return found
    return None


def processor() -> str:
    """What `-march=native` depends on: the processor's feature flags, or its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    kept = {line for line in lines if line.startswith(("flags", "model name", "Features", "CPU part"))}
    return "\n".join(sorted(kept))


def openmp_library() -> list[str]:
    """Torch's own OpenMP runtime, because two runtimes in one process wait for each other at barriers."""
    return [str(path) for path in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))[:1]]


def build(folder: Path, cxx: str, source: Path = SOURCE) -> Path:
    """Compiles a kernel unless it exists.

    Args:
        folder: where the library is kept.
        cxx: path of the compiler.
        source: the C++ file.

    Returns:
        Path of the shared library.

    Raises:
        subprocess.CalledProcessError: if the compiler fails.
    """
    version = subprocess.run([cxx, "--version"], capture_output=True, text=True, check=True).stdout
    openmp = openmp_library()
    identity = "\0".join((source.read_text(), version, processor(), *FLAGS, *openmp))
    library = folder / f"{source.stem}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        compiled, linked = f"{scratch}/kernel.o", f"{scratch}/kernel.so"
        threads = ["-fopenmp"] if openmp else []
        # Two commands, because a compiler that links with -fopenmp adds a runtime of its own.
        compile_ = [cxx, *FLAGS, *threads, "-c", str(source), "-o", compiled]
        link = [cxx, "-shared", "-nodefaultlibs", compiled, *openmp, "-lm", "-lc", "-o", linked]
        for command in (compile_, link):
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        os.replace(linked, library)
    return library


@cache
def kernel(source: Path = SOURCE) -> ctypes.CDLL | None:
    """The compiled library, or None if there is none (then the loop is used)."""
    cxx = compiler()
    if cxx is None or os.environ.get("DISOBEY_KERNELS") == "off":
        return None
    for folder in (cache_folder(), Path(tempfile.gettempdir()) / f"disobey-kernels-{_user()}"):
        try:
            return ctypes.CDLL(str(build(folder, cxx, source)))
        except (OSError, subprocess.SubprocessError):
            continue  # an unwritable folder or a failing compiler: try the next folder, then fall back
    return None


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else "user"


def address(tensor: Tensor | None) -> ctypes.c_void_p:
    """Where a tensor's numbers begin, as kernels take it."""
    return ctypes.c_void_p(0 if tensor is None else tensor.data_ptr())


def sizes(like: Tensor) -> list[ctypes.c_longlong]:
    """The tensor's shape and the number of threads, as kernels take them."""
    return [ctypes.c_longlong(n) for n in (*like.shape, torch.get_num_threads())]


def _sizes(like: Tensor, reverse: bool) -> list[ctypes.c_longlong]:
    return [ctypes.c_longlong(n) for n in (*like.shape, int(reverse), torch.get_num_threads())]


def forward(decay: Tensor, inputs: Tensor, initial: Tensor | None, reverse: bool) -> Tensor:
    """States ``h_t = a_t h_{t-1} + x_t`` of contiguous ``(B, T, D)`` float32 or float64 tensors; needs the `kernel`."""
    states = torch.empty_like(inputs)
    library = kernel()
    assert library is not None
    call = library.forward_float if inputs.dtype == torch.float32 else library.forward_double
    call(address(decay), address(inputs), address(initial), address(states), *_sizes(inputs, reverse))
    return states


def backward(
    decay: Tensor, states: Tensor, initial: Tensor | None, grad: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``decay``, ``inputs`` and ``initial`` (zeros if there was none)."""
    d_decay, d_inputs = torch.empty_like(states), torch.empty_like(states)
    d_initial = torch.zeros_like(states[:, 0]) if initial is None else torch.empty_like(initial)
    library = kernel()
    assert library is not None
    call = library.backward_float if states.dtype == torch.float32 else library.backward_double
    arrays = (decay, states, initial, grad, d_decay, d_inputs, d_initial)
    call(*map(address, arrays), *_sizes(states, reverse))
    return d_decay, d_inputs, d_initial
