"""Named streams of randomness: everything random in a run comes from one seed, a name and a replica.

Two runs with equal seed and replica share initialization and batch order whatever their targets are: that pairs the
arms of a study. A teacher (replica 0) and its student (replica 1) share data, but neither initialization nor batch
order.
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
    """A NumPy generator that holds one named stream."""
    return np.random.default_rng(stream_seed(seed, name, replica))


def torch_stream(seed: int, name: str, replica: int = 0) -> torch.Generator:
    """A torch generator on the CPU that holds one named stream."""
    return torch.Generator().manual_seed(stream_seed(seed, name, replica))


@contextmanager
def seeded(seed: int, name: str, replica: int = 0) -> Iterator[None]:
    """Puts the stream into torch's global generators inside the block, for module initialization and dropout.

    The generators get their former states back afterwards.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(stream_seed(seed, name, replica))
        yield
