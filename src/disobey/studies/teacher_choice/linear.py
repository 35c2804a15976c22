"""The exact linear case beside the networks: weak-to-strong training without any training."""

from __future__ import annotations

import numpy as np

from disobey.records.results import Table
from disobey.theory.linear_flow import progress
from disobey.theory.linear_problems import RiskCase, power_law_spectrum
from disobey.theory.weak_to_strong import best_stopped, best_student, can_be_beaten, features, weak_to_strong

CASE = RiskCase(power_law_spectrum(100, 1.5), (np.arange(100) < 10).astype(float), 0.1, 200)
TEACHERS = (5, 10, 30, 100)  # leading features that a fully trained weak teacher has
TIMES = (10.0, 1000.0)  # early and late stopping of one that has all


def linear_table() -> Table:
    """Risks of weak teachers, their best early-stopped students, the best of all students, and the strong ceiling."""
    ceiling = best_stopped(CASE)[1]
    teachers = {f"first {count} features": features(CASE, count) for count in TEACHERS}
    teachers |= {f"all features, stopped at t = {time:g}": progress(CASE.spectrum, time) for time in TIMES}
    rows = []
    for name, weak in teachers.items():
        time, learned = best_stopped(CASE, weak)
        found = weak_to_strong(CASE, weak, learned, ceiling)
        best = weak_to_strong(CASE, weak, best_student(CASE, weak), ceiling)
        when = "never" if np.isinf(time) else f"t = {time:.3g}"
        share = float(can_be_beaten(CASE, weak).mean())
        rows.append((name, found.weak, when, found.student, best.student, found.ceiling, found.recovered, share))
    columns = (
        "weak teacher",
        "its risk",
        "student stops",
        "student",
        "best of all students",
        "strong model on labels",
        "gap recovered",
        "directions with a gain",
    )
    caption = (
        "Exact excess risks (lower is better), no training: 100 directions with eigenvalues 1/k^1.5, the signal in the "
        "first 10, 200 examples, label noise 0.1. Student and strong model see all directions and stop at their best "
        "time; the best of all students may learn each direction as far as it wants. A student gains where the teacher "
        "learned more of a direction than its Wiener share; no gap is recovered where the ceiling is not better."
    )
    return Table("The linear case, exact", columns, tuple(rows), caption)
