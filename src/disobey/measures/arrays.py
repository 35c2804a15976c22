"""Measures with intervals straight from arrays of scores: no files, no report, no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.errors import refusal
from disobey.measures import agreement, calibration, deviation, tokens
from disobey.measures.inference.examples import all_over_examples
from disobey.measures.inference.measure import Measure, applicable, minus_twin, on_twin
from disobey.records.predictions import Predictions
from disobey.records.results import Estimate

CATALOGUE: Mapping[str, Measure] = MappingProxyType(
    {**agreement.MEASURES, **deviation.MEASURES, **calibration.MEASURES, **tokens.MEASURES}
)
"""Every measure of a pair's outputs by name; `docs/measures.md` says what each one is."""

EVERYDAY = (
    "student_accuracy",
    "teacher_accuracy",
    "accuracy_gap",
    "agreement",
    "kl",
    "total_variation",
    "negative_flips",
    "positive_flips",
    "ols_slope",
    "nll",
    "ece",
)
"""What `measure` gives where no names are asked for; without labels those that need none."""


def measure(
    student: Any,
    teacher: Any,
    labels: Any = None,
    *,
    twin: Any = None,
    cluster: Any = None,
    names: tuple[str, ...] | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Measures of a student beside its teacher, each with its interval over examples.

    The interval says what other examples would have given for *these* models; for other trainings average over seeds
    (`disobey.diagnose` with several students).

    Args:
        student: logits or log-probabilities (N, C); an array, nested lists or a tensor.
        teacher: the same of the teacher.
        labels: (N,) true classes; without them only measures that need none.
        twin: scores (N, C) of the control, a student trained without the teacher. Every measure of the student then
            comes as ``NAME.twin`` and ``NAME.minus_twin`` as well.
        cluster: (N,) which text, prompt or image an example belongs to, any integers or names, at least five of them;
            intervals are then over clusters.
        names: keys of `CATALOGUE`; `EVERYDAY` where not given.
        level: of the intervals.
        resamples: of the bootstrap, up to 5,000 examples.
        seed: of the resamples.

    Returns:
        Estimates by name. Value and bounds are NaN where no example qualifies (no errors of the teacher, say).

    Raises:
        Refusal: ``unknown-measure``, ``measure-needs`` for a named measure without what it needs,
            ``few-clusters``, or ``shapes-differ``.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> teacher = rng.normal(size=(400, 5))
        >>> found = measure(teacher + rng.normal(size=(400, 5)), teacher, names=("agreement",))
        >>> print(found["agreement"])
        0.487 [0.439, 0.536] (95% over 400 examples)
    """
    asked = EVERYDAY if names is None else names
    unknown = [name for name in asked if name not in CATALOGUE]
    if unknown:
        raise refusal("unknown-measure", f"names out of {', '.join(CATALOGUE)}", ", ".join(unknown), where="names")
    predictions = Predictions.from_logits(
        _array(teacher), _array(student), _given(labels), twin=_given(twin), cluster=_given(cluster)
    )
    wanted = [CATALOGUE[name] for name in asked]
    if names is None:
        wanted = applicable(wanted, predictions)
    if twin is not None:
        beside = [m for m in wanted if not m.name.startswith(("teacher_accuracy", "lost_", "forgotten", "gained"))]
        wanted += [form(m) for m in beside for form in (on_twin, minus_twin)]
    return all_over_examples(wanted, predictions, resamples=resamples, level=level, seed=seed)


def _given(value: Any) -> NDArray | None:
    """As `_array`; None stays."""
    return None if value is None else _array(value)


def _array(value: Any) -> NDArray:
    """Arrays, lists and tensors (of any device and float type) as an array."""
    if hasattr(value, "detach"):
        value = value.detach()
        value = (value.float() if "bfloat16" in str(value.dtype) else value).cpu().numpy()
    return np.asarray(value)
