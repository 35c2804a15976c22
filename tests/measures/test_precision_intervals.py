"""The interval of average precision over images: its value, its lower end, and that it holds a planted truth."""

import numpy as np
import pytest

from disobey.measures.detection import ap_by_image, average_precision
from disobey.measures.inference.examples import mean_of
from disobey.measures.precision_intervals import ap_over_images
from tests.support.detectors import planted

IMAGES = 40


def test_the_value_is_the_average_precision_and_the_lower_end_reaches_further():
    truth, found = planted(1, IMAGES)
    estimate = ap_over_images(truth, found, IMAGES)
    plain = mean_of("ap", ap_by_image(truth, found, IMAGES), 0.95, np.arange(IMAGES))
    assert estimate.value == pytest.approx(average_precision(truth, found))
    assert 0 <= estimate.low < plain.low
    assert estimate.high == plain.high
    assert (estimate.n, estimate.over, estimate.level) == (IMAGES, "clusters", 0.95)


def test_few_images_have_no_interval():
    truth, found = planted(1, 4)
    estimate = ap_over_images(truth, found, 4)
    assert np.isfinite(estimate.value)
    assert np.isnan(estimate.low)


def test_intervals_hold_what_many_images_give():
    known = average_precision(*planted(10**6, 4_000, ties=False))
    spread_alone = reported = 0
    for seed in range(40):
        truth, found = planted(seed, 60, ties=False)
        plain = mean_of("ap", ap_by_image(truth, found, 60), 0.95, np.arange(60))
        estimate = ap_over_images(truth, found, 60)
        spread_alone += plain.low <= known <= plain.high
        reported += estimate.low <= known <= estimate.high
    assert reported >= 34
    assert reported >= spread_alone
