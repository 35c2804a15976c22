"""Parameter gradients of many objectives at once against plain autograd, one example and one objective at a time."""

import numpy as np
import pytest
import torch
from torch import nn

from disobey.measures.gradients import batch_snr, by_layer, cosine, example_gradients, parameter_gradients, snr
from disobey.theory.class_similarity import SimilarClasses
from disobey.theory.class_similarity_simulation import draw, one_hot_residuals
from tests.support.refusals import refuses


def networks():
    torch.manual_seed(0)
    mlp = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    conv = nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)
    )
    return [mlp.eval(), conv.eval()]


def slow(model, x, residuals):
    """(N, P) by autograd, example by example."""
    rows = []
    for one, residual in zip(x, residuals, strict=True):
        model.zero_grad()
        (model(one[None])[0] * residual).sum().backward()
        rows.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    return torch.stack(rows)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("rows", [4, 100])
def test_gradients_equal_the_slow_twin(which, rows):
    model = networks()[which]
    generator = torch.Generator().manual_seed(1)
    x, residuals = torch.randn(11, 6, generator=generator), torch.randn(2, 11, 3, generator=generator)
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def apply(p, inputs):
        return torch.func.functional_call(model, p, (inputs,))

    means = parameter_gradients(apply, parameters, x, residuals, rows=rows)
    for found, residual in zip(means, residuals, strict=True):
        expected = slow(model, x, residual)
        torch.testing.assert_close(found, expected.mean(0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            example_gradients(apply, parameters, x, residual, rows=rows), expected, rtol=1e-4, atol=1e-5
        )
    parts = by_layer(means, parameters)
    assert list(parts) == list(parameters)
    assert torch.equal(torch.cat(list(parts.values()), dim=1), means)


def test_a_linear_model_at_zero_is_the_theorys_gradient():
    model = SimilarClasses(60, 3, 8, 0.6, 0.2)
    sample = draw(model, np.random.default_rng(0))
    residuals = one_hot_residuals(sample.labels, 3)
    weights = {"w": torch.zeros(3, 8, dtype=torch.float64)}
    x, r = torch.from_numpy(sample.inputs), torch.from_numpy(residuals)
    found = parameter_gradients(lambda p, inputs: inputs @ p["w"].T, weights, x, r[None])
    np.testing.assert_allclose(found[0].view(3, 8), (sample.inputs.T @ residuals / 60).T, atol=1e-12)


def test_snr_of_planted_signal_and_noise():
    truth = torch.tensor([1.0, 0.0, 0.0])
    assert cosine(torch.zeros(3), truth) == 0
    assert cosine(-truth, truth) == pytest.approx(-1)
    assert snr(torch.tensor([2.0, 1.0, 0.0]), truth) == pytest.approx(4)
    assert np.isinf(snr(truth, truth))
    assert snr(5 * torch.tensor([2.0, 1.0, 0.0]), 9 * truth) == pytest.approx(4)
    generator = torch.Generator().manual_seed(0)
    noisy = truth + torch.randn(40_000, 3, generator=generator)
    # signal 1 (+1/B from the noise along it), rest 2/B
    assert batch_snr(noisy, truth, 10) == pytest.approx(1.1 / 0.2, rel=0.05)
    with refuses("few-examples", "10"):
        batch_snr(noisy[:5], truth, 10)
