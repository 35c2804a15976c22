"""Named streams of randomness: everything random in a run comes from one seed, a name and a replica.

Two runs with equal seed and replica share initialization and batch order whatever their targets are: that is what
pairs the arms of a study. A teacher (replica 0) and its student (replica 1) share data but no other luck.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

NAMES = ("init", "order", "views", "dropout", "control")


def stream_seed(seed: int, name: str, replica: int = 0) -> int:
    """A 63-bit seed for one named stream.

    >>> stream_seed(0, "init") != stream_seed(0, "order")
    True
    """
    assert name in NAMES, f"unknown stream {name!r}"
    digest = hashlib.sha256(f"disobey/{seed}/{name}/{replica}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def numpy_stream(seed: int, name: str, replica: int = 0) -> np.random.Generator:
    return np.random.default_rng(stream_seed(seed, name, replica))


def torch_stream(seed: int, name: str, replica: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(stream_seed(seed, name, replica))


@contextmanager
def seeded(seed: int, name: str, replica: int = 0) -> Iterator[None]:
    """The global torch generators hold this stream inside the block (module initialization, dropout) and are
    put back afterwards."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(stream_seed(seed, name, replica))
        yield
