"""Dose and response: how much a quantity changes over the range of something that was set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disobey.measures.inference.runs import example_error, mean_over_runs
from disobey.records.results import Estimate
from disobey.studies.kit.design import Arm
from disobey.studies.kit.evidence import Evidence


def response_weights(doses: ArrayLike) -> NDArray:
    """The weight of each quantity in its change from the smallest to the largest dose, along a least-squares line.

    Args:
        doses: (D,), on the scale on which the line is straight; at least two different ones.

    Returns:
        (D,), summing to 0.

    >>> response_weights([0.0, 1.0, 2.0])
    array([-1.,  0.,  1.])
    """
    x = np.asarray(doses, dtype=np.float64)
    centred = x - x.mean()
    return centred / (centred @ centred) * np.ptp(x)


def dose_response(values: Sequence[NDArray], doses: ArrayLike) -> NDArray:
    """Change of a quantity from the smallest to the largest dose, by a least-squares line in each seed.

    Args:
        values: one array (S,) a dose.
        doses: (D,), see `response_weights`.

    Returns:
        (S,), in the unit of the values.

    >>> dose_response([np.array([0.9]), np.array([0.8])], np.log([1.0, 2.0])).round(3)
    array([-0.1])
    """
    return response_weights(doses) @ np.asarray(values)


def response_of_differences(
    e: Evidence, pairs: Sequence[tuple[Arm, Arm]], doses: ArrayLike, measure: str, name: str
) -> Estimate:
    """Dose-response of the test differences of pairs of arms, with an interval over runs and examples.

    Args:
        e: the evidence.
        pairs: (arm, arm to subtract), one a dose.
        doses: (D,), see `response_weights`.
        measure: an accuracy.
        name: of the estimate.
    """
    response = dose_response([e.per_seed(arm, measure, minus=minus) for arm, minus in pairs], doses)
    key = ("response", tuple(pairs), tuple(np.asarray(doses).tolist()))
    if key not in e.memo:
        rights = [e.right(arm) for pair in pairs for arm in pair]
        shared = all(table is not None and table.shape == rights[0].shape for table in rights)  # type: ignore[union-attr]
        signed = [w * sign for w in response_weights(doses) for sign in (1, -1)]
        whole = sum(w * table for w, table in zip(signed, rights, strict=True)) if shared else None  # type: ignore[operator]
        e.memo[key] = 0.0 if whole is None else example_error(whole)
    return mean_over_runs(response, name, example_error=e.memo[key])
