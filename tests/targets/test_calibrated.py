"""A teacher at its fitted temperature, and one of which only the order is left."""

import numpy as np
import pytest
import torch

from disobey.targets.calibrated import RANGE, best_temperature, divided
from disobey.targets.controls import controlled
from tests.support.refusals import refuses


def answers(n=4000, classes=5):
    return torch.log_softmax(2 * torch.randn(n, classes, generator=torch.Generator().manual_seed(0)).double(), -1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_planted_temperature_is_found(temperature):
    truth = answers(40_000)
    labels = torch.multinomial(truth.exp(), 1, generator=torch.Generator().manual_seed(1)).squeeze(-1)
    teacher = torch.log_softmax(truth * temperature, -1)
    found = best_temperature(teacher, labels)
    assert found == pytest.approx(temperature, rel=0.05)
    torch.testing.assert_close(divided(teacher, temperature), truth)


def test_a_teacher_without_mistakes_stays_within_range():
    teacher = answers(50)
    assert best_temperature(teacher, teacher.argmax(-1)) == pytest.approx(RANGE[0], rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_ranks_keep_order_and_mean_confidence_and_lose_every_other_difference(temperature):
    teacher = answers(200)
    labels = torch.zeros(200, dtype=torch.long)
    target, weights = controlled("rank_only", teacher, labels, torch.Generator(), temperature=temperature)
    kept = torch.log_softmax(target / temperature, -1)
    assert weights is None
    assert torch.equal(kept.argsort(-1), teacher.argsort(-1))
    torch.testing.assert_close(kept.sort(-1).values, kept.sort(-1).values[:1].expand(200, -1))
    soft = torch.softmax(teacher / temperature, -1)
    np.testing.assert_allclose(float(kept.exp().max(-1).values.mean()), float(soft.max(-1).values.mean()), rtol=1e-6)


def test_refusals():
    with refuses("no-examples"):
        best_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
    with refuses("reshape-amount"):
        divided(answers(2), 0.0)
