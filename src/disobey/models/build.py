"""`ModelSpec` -> module: the one place where a name becomes a class."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSpec:
    """Which network, as a value. None = the architecture's own default."""

    name: str = "cnn"  # a key of MODELS, `hf:NAME`, or `path/to/file.py:factory`
    width: int | None = None
    depth: int | None = None
    dropout: float = 0.0
    weights: bool = True  # hf: start from the published weights (True) or from the configuration only
    fingerprint: str = ""  # of a user's file: a changed file is another model
