"""The published values are consistent: equivalence factors follow from the two curves."""

import numpy as np
import pytest

from disobey.studies.data_size.published import CIFAR100, READING_ERROR


def test_curves_rise_and_distillation_is_ahead():
    share, labels, distilled = np.array([(p.share, p.labels, p.distilled) for p in CIFAR100]).T
    assert np.all(np.diff(share) > 0)
    assert np.all(np.diff(labels) > 0)
    assert np.all(distilled > labels)
    assert 0 < READING_ERROR < np.min(distilled - labels)


def test_equivalence_factors_follow_from_the_curve_of_labels():
    """Linear interpolation in log share: within a sixth of what was read off, except where it is a bound."""
    log_share, labels = np.log([p.share for p in CIFAR100]), [p.labels for p in CIFAR100]
    for point in CIFAR100:
        if point.equivalence is None:
            assert point.distilled > max(labels)
            continue
        factor = np.exp(np.interp(point.distilled, labels, log_share)) / point.share
        if point.at_least:
            assert point.distilled > max(labels)  # beyond the grid: at least the grid's end
            assert factor == pytest.approx(point.equivalence, rel=0.01)
        else:
            assert factor == pytest.approx(point.equivalence, rel=1 / 6)
