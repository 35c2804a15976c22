"""How much accuracy differences vary over seeds, as published in docs/experiments: what power is guessed from.

Standard deviations of one seed's paired difference in test accuracy (fractions), from the printed 95% intervals: half
width over Student's quantile, times the root of the number of seeds. Smallest and largest over the settings there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Smallest and largest standard deviation over settings, on which data, and the experiment that printed them."""

    low: float
    high: float
    data: str
    source: str


SPREADS: Mapping[str, Spread] = {
    "deviation": Spread(0.0027, 0.0089, "MNIST digits", "2026-11-22-deviation-mnist, C3"),
    "loss-switching": Spread(0.0014, 0.0097, "MNIST digits", "2026-11-22-loss-switching-mnist, S0 and S2"),
    "teacher-free": Spread(0.0032, 0.0121, "MNIST and Fashion-MNIST", "2026-11-26-teacher-free-three-data-sets, KD"),
    "data-size": Spread(0.0070, 0.0161, "MNIST digits", "2026-11-26-data-size, C10 and C11"),
    "state-tracking": Spread(0.0089, 0.0547, "parity, S3 and A4", "2026-11-26-state-tracking, T1"),
    "sequence-tasks": Spread(0.0097, 0.1151, "four tasks", "2026-11-26-sequence-tasks, Q1"),
    "sequence-distillation": Spread(0.0048, 0.2384, "S3", "2026-11-26-sequence-distillation, S2 and W4"),
    "state-distillation": Spread(0.1578, 0.2529, "S3", "2026-11-26-state-distillation, C6 and C3"),
}
