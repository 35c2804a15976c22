"""How the steps of a classifier are computed, where not by the plain loop: no part of a recipe.

What it changes in a result are the last bits, as another device does. What decides a result is `OptimSpec.precision`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Acceleration:
    """What is tried. Where something cannot be had the run is trained without it, and its record says why.

    Attributes:
        compile: the network's training pass goes through ``torch.compile``, for the one shape that batches have.
        capture: forward and backward pass are captured once as a CUDA graph and replayed; on GPUs only.
    """

    compile: bool = False
    capture: bool = False

    @property
    def asked(self) -> bool:
        """Whether anything is asked for."""
        return self.compile or self.capture


PLAIN = Acceleration()
