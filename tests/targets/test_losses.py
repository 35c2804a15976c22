import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax
from torch.autograd import gradcheck, gradgradcheck

from disobey.targets.losses import (
    LOSSES,
    distillation,
    kl,
    kl_prepared,
    kl_with_gradient,
    label_cross_entropy,
    label_cross_entropy_with_gradient,
    label_log_probs,
    label_loss,
    loss_at,
    mse,
    mse_centred,
    soft_targets,
)
from tests.support.refusals import refuses

TEMPERATURES = (0.5, 1.0, 4.0, 20.0, 100.0)
ON_PROBABILITIES = ("cross_entropy", "kl", "reverse_kl", "js")


def drawn(*shape, seed=0, scale=3.0, dtype=torch.float64):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def value_and_gradient(loss, logits, *args, **options):
    leaf = logits.clone().requires_grad_(True)
    value = loss(leaf, *args, **options)
    return value.detach(), torch.autograd.grad(value.sum(), leaf)[0]


def twin(name, z, t, temperature):
    """The definitions, one row at a time, in numpy."""
    out = []
    for z_row, t_row in zip(z.numpy(), t.numpy(), strict=True):
        log_q, log_p = log_softmax(z_row / temperature), log_softmax(t_row / temperature)
        p, q = np.exp(log_p), np.exp(log_q)
        m = (p + q) / 2
        squared = temperature**2
        centred = (z_row - z_row.mean()) - (t_row - t_row.mean())
        out.append(
            {
                "cross_entropy": -squared * (p * log_q).sum(),
                "kl": squared * (p * (log_p - log_q)).sum(),
                "reverse_kl": squared * (q * (log_q - log_p)).sum(),
                "js": squared * ((p * (log_p - np.log(m))).sum() + (q * (log_q - np.log(m))).sum()) / 2,
                "mse": ((z_row - t_row) ** 2).mean() / 2,
                "mse_centred": (centred**2).mean() / 2,
            }[name]
        )
    return torch.tensor(np.array(out))


def closed_gradient(name, z, t, temperature):
    log_q, log_p = F.log_softmax(z / temperature, -1), F.log_softmax(t / temperature, -1)
    q, p = log_q.exp(), log_p.exp()
    log_m = ((p + q) / 2).log()
    centred = (z - z.mean(-1, keepdim=True)) - (t - t.mean(-1, keepdim=True))
    if name in ("cross_entropy", "kl"):
        return temperature * (q - p)
    if name == "reverse_kl":
        ratio = log_q - log_p
        return temperature * q * (ratio - (q * ratio).sum(-1, keepdim=True))
    if name == "js":
        ratio = log_q - log_m
        return temperature * q * (ratio - (q * ratio).sum(-1, keepdim=True)) / 2
    return (z - t if name == "mse" else centred) / z.shape[-1]


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_agree_with_closed_forms(name, temperature):
    z, t = drawn(6, 7), drawn(6, 7, seed=1)
    value, gradient = value_and_gradient(loss_at(name, temperature), z, t)
    assert value.shape == (6,)
    torch.testing.assert_close(value, twin(name, z, t, temperature), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradient, closed_gradient(name, z, t, temperature), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("temperature", [1.0, 4.0, 50.0])
@pytest.mark.parametrize("name", LOSSES)
def test_gradcheck_to_second_order(name, temperature):
    z, t = drawn(3, 4).requires_grad_(True), drawn(3, 4, seed=1)
    loss = loss_at(name, temperature)
    assert gradcheck(lambda x: loss(x, t), z)
    assert gradgradcheck(lambda x: loss(x, t), z)


@pytest.mark.parametrize("name", LOSSES)
def test_invariances(name):
    z, t = drawn(5, 6), drawn(5, 6, seed=1)
    loss = loss_at(name, 3.0)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(loss(z[:, order], t[:, order]), loss(z, t))
    shifted = loss(z + 2.0, t - 1.0)
    if name == "mse":  # the control: raw logits do see the shift
        assert (shifted - loss(z, t)).abs().min() > 0.1
    else:
        torch.testing.assert_close(shifted, loss(z, t))
        torch.testing.assert_close(loss(z, F.log_softmax(t, -1)), loss(z, t))
    stacked = loss(torch.stack([z, t]), torch.stack([t, z]))  # leading dimensions: students, positions
    torch.testing.assert_close(stacked, torch.stack([loss(z, t), loss(t, z)]))
    torch.testing.assert_close(torch.func.vmap(loss)(torch.stack([z, t]), torch.stack([t, z])), stacked)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("name", LOSSES)
def test_a_student_equal_to_its_teacher_is_left_alone(name, temperature):
    z = drawn(5, 6, scale=1.0)
    value, gradient = value_and_gradient(loss_at(name, temperature), z, z)
    assert gradient.abs().max() < 1e-12
    if name != "cross_entropy":
        assert value.abs().max() < 1e-10
    # positive control: a tenth of a nat on one class is felt
    assert value_and_gradient(loss_at(name, temperature), z + 0.1 * torch.eye(6)[:5], z)[1].abs().max() > 1e-3


def test_no_gradient_flows_into_the_target():
    z, t = drawn(2, 3).requires_grad_(True), drawn(2, 3, seed=1).requires_grad_(True)
    for name in LOSSES:
        loss_at(name, 2.0)(z, t).sum().backward()
    assert t.grad is None


# ---- temperature


def test_divergences_of_scaled_logits_scale_with_t_squared():
    z, t = drawn(4, 5), drawn(4, 5, seed=1)
    for name in ON_PROBABILITIES:
        plain, gradient = value_and_gradient(loss_at(name, 1.0), z, t)
        for temperature in (2.0, 4.0, 8.0):
            value, at = value_and_gradient(loss_at(name, temperature), temperature * z, temperature * t)
            torch.testing.assert_close(value, temperature**2 * plain)
            torch.testing.assert_close(at, temperature * gradient)


@pytest.mark.parametrize("name", ON_PROBABILITIES)
def test_gradient_size_does_not_depend_on_temperature(name):
    z, t = drawn(50, 10, scale=1.0), drawn(50, 10, seed=1, scale=1.0)
    norms = [value_and_gradient(loss_at(name, T), z, t)[1].norm().item() for T in (1.0, 2.0, 4.0, 8.0, 64.0, 4096.0)]
    assert max(norms) < 1.5 * min(norms)  # without T² they would differ 4,096²-fold
    assert norms[-1] == pytest.approx(norms[-2], rel=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "share"), [("kl", 1.0), ("cross_entropy", None), ("reverse_kl", 1.0), ("js", 0.25)])
def test_high_temperature_tends_to_centred_squared_error(name, share, dtype):
    z, t = drawn(8, 10, dtype=dtype), drawn(8, 10, seed=1, dtype=dtype)
    limit, slope = value_and_gradient(mse_centred, z, t)
    share_of_slope = 1.0 if share is None else share
    for temperature, tolerance in ((1e3, 2e-2), (1e4, 2e-3)):
        value, gradient = value_and_gradient(loss_at(name, temperature), z, t)
        assert value.dtype == gradient.dtype == dtype
        torch.testing.assert_close(gradient, share_of_slope * slope, rtol=0, atol=tolerance)
        if share is not None:
            torch.testing.assert_close(value, share * limit, rtol=tolerance, atol=0)


def test_high_temperature_values_survive_single_precision():
    z, t = drawn(8, 100, dtype=torch.float32), drawn(8, 100, seed=1, dtype=torch.float32)
    for temperature in (30.0, 100.0, 1e4):  # either side of the change to float64
        exact = kl(z.double(), t.double(), temperature=temperature)
        for value in (
            kl(z, t, temperature=temperature),
            kl_prepared(z, soft_targets(t, temperature)),
            kl_with_gradient(z, soft_targets(t, temperature))[0],
        ):
            assert value.dtype == torch.float32
            torch.testing.assert_close(value.double(), exact, rtol=5e-4, atol=0)


def test_low_temperature_tends_to_the_argmaxes():
    z, t = drawn(8, 5, dtype=torch.float32), drawn(8, 5, seed=1, dtype=torch.float32)
    temperature = 1e-3
    value, gradient = value_and_gradient(kl, z, t, temperature=temperature)
    apart = F.one_hot(z.argmax(-1), 5) - F.one_hot(t.argmax(-1), 5)
    torch.testing.assert_close(gradient / temperature, apart.float())
    gap = z.max(-1).values - z.gather(-1, t.argmax(-1, keepdim=True)).squeeze(-1)
    torch.testing.assert_close(value, temperature * gap, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan, 1e9])
def test_senseless_temperatures_are_refused(temperature):
    for name in LOSSES:
        with refuses("temperature-range", str(temperature)):
            LOSSES[name](drawn(1, 3), drawn(1, 3), temperature=temperature)
    for use in (lambda: loss_at("kl", temperature), lambda: soft_targets(drawn(1, 3), temperature)):
        with refuses("temperature-range", str(temperature)):
            use()


def test_unknown_names_are_refused():
    with refuses("unknown-loss", "cross_entropy, kl", "'kld'"):
        loss_at("kld")
    with refuses("labels-have-no-logits", "'mse'"):
        label_loss("mse")
    with refuses("smoothing-range", "1.5"):
        label_cross_entropy(drawn(1, 3), torch.tensor([0]), smoothing=1.5)


# ---- hostile inputs


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_impossible_classes_and_huge_logits_give_no_nan(name, dtype, temperature):
    hard = torch.full((4, 3), -torch.inf, dtype=dtype)
    hard[torch.arange(4), torch.tensor([0, 1, 2, 0])] = 0.0
    half = torch.tensor([[0.5, 0.5, 0.0]], dtype=dtype).log().expand(4, 3)
    huge = 1e4 * torch.tensor([[1.0, -1.0, 0.5], [-1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [0.0, -1.0, -1.0]], dtype=dtype)
    for logits in (huge, huge / 1e4):
        for target in (hard, half, huge, -huge):
            value, gradient = value_and_gradient(loss_at(name, temperature), logits, target)
            assert torch.isfinite(value).all()
            assert torch.isfinite(gradient).all()
            assert (value >= -1e-4).all()


def test_one_hot_targets_are_labels_in_every_form():
    z, labels = drawn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    hard = label_log_probs(labels, 4, dtype=torch.float64)
    for temperature in (1.0, 4.0):
        exact = F.cross_entropy(z / temperature, labels, reduction="none") * temperature**2
        soft = soft_targets(hard, temperature)
        for value in (
            loss_at("cross_entropy", temperature)(z, hard),
            loss_at("kl", temperature)(z, hard),  # a certain target has no entropy
            label_cross_entropy(z, labels, temperature=temperature),
            kl_prepared(z, soft),
            kl_with_gradient(z, soft)[0],
            label_loss("kl", temperature)(z, labels),
        ):
            torch.testing.assert_close(value, exact)


def test_classes_without_a_logit_are_left_out_of_squared_error():
    z, t = torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[0.0, 0.0, -torch.inf]])
    value, gradient = value_and_gradient(mse, z, t)
    assert value.item() == pytest.approx((1 + 4) / 6)
    assert gradient[0, 2] == 0
    value, gradient = value_and_gradient(mse_centred, z, t)
    assert value.item() == pytest.approx((0.25 + 0.25) / 6)
    torch.testing.assert_close(gradient, torch.tensor([[-0.5, 0.5, 0.0]]) / 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_give_single_precision_losses(dtype):
    z, t = drawn(4, 10).to(dtype), drawn(4, 10, seed=1).to(dtype)
    for name in LOSSES:
        value, gradient = value_and_gradient(loss_at(name, 4.0), z, t)
        assert value.dtype == torch.float32
        assert gradient.dtype == dtype
        torch.testing.assert_close(value, loss_at(name, 4.0)(z.float(), t.float()))


# ---- slips seen elsewhere


def test_the_weight_has_no_step_at_zero():
    z, t, labels = drawn(8, 10), drawn(8, 10, seed=1), torch.arange(8)
    at = lambda weight: value_and_gradient(distillation, z, t, labels, temperature=4.0, weight=weight, smoothing=0.1)
    for end, near in ((0.0, 1e-9), (1.0, 1 - 1e-9), (0.5, 0.5 + 1e-9)):
        for here, there in zip(at(end), at(near), strict=True):
            torch.testing.assert_close(here, there, rtol=0, atol=1e-6)
    torch.testing.assert_close(at(0.0)[0], label_cross_entropy(z, labels, smoothing=0.1))
    torch.testing.assert_close(at(1.0)[0], kl(z, t, temperature=4.0))
    torch.testing.assert_close(at(0.3)[0], 0.7 * at(0.0)[0] + 0.3 * at(1.0)[0])


def test_label_losses_take_one_entry_a_row():
    z, labels = drawn(5, 5), torch.tensor([4, 0, 0, 2, 1])
    by_hand = -torch.stack([F.log_softmax(z[i], -1)[labels[i]] for i in range(5)])
    torch.testing.assert_close(label_cross_entropy(z, labels), by_hand)
    assert label_cross_entropy(z, labels).shape == (5,)
    assert not torch.allclose(F.log_softmax(z, -1)[:, labels].mean(), by_hand.mean())  # the slip is visible here


def test_the_batch_mean_is_over_examples_not_over_entries():
    z, t = drawn(5, 10), drawn(5, 10, seed=1)
    log_q, p = F.log_softmax(z / 4, -1), F.softmax(t / 4, -1)
    torch.testing.assert_close(kl(z, t, temperature=4.0).mean(), 16 * F.kl_div(log_q, p, reduction="batchmean"))


def test_the_temperature_enters_the_loss_itself():
    z, t, labels = drawn(5, 10), drawn(5, 10, seed=1), torch.arange(5)
    for name in ON_PROBABILITIES:
        assert not torch.allclose(loss_at(name, 4.0)(z, t), loss_at(name, 1.0)(z, t), rtol=0.01)
        assert not torch.allclose(label_loss(name, 4.0, 0.1)(z, labels), label_loss(name, 1.0, 0.1)(z, labels))
    for name in ("mse", "mse_centred"):  # softening by T and T² cancel
        torch.testing.assert_close(loss_at(name, 4.0)(z, t), loss_at(name, 1.0)(z, t))


# ---- labels and fast paths


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 4.0, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_label_paths_agree(smoothing, temperature, dtype):
    z, labels = drawn(6, 5, dtype=dtype), torch.tensor([0, 1, 2, 3, 4, 0])
    target = label_log_probs(labels, 5, smoothing, dtype) * temperature  # not tempered: the target as it is
    slow, slope = value_and_gradient(LOSSES["cross_entropy"], z, target, temperature=temperature)
    value, gradient = value_and_gradient(label_cross_entropy, z, labels, smoothing=smoothing, temperature=temperature)
    direct = label_cross_entropy_with_gradient(z, labels, smoothing=smoothing, temperature=temperature)
    for v, g in ((value, gradient), direct):
        assert v.dtype == g.dtype == dtype
        torch.testing.assert_close(v, slow)
        torch.testing.assert_close(g, slope)
    entropy = torch.special.entr((target / temperature).exp()).sum(-1)
    if dtype == torch.float64:  # the right-hand side here cancels
        divergence = label_loss("kl", temperature, smoothing)(z, labels)
        torch.testing.assert_close(divergence, slow - temperature**2 * entropy)


def test_masked_positions_of_sequences_count_nothing():
    z = drawn(2, 3, 5)
    labels = torch.tensor([[0, 1, -100], [4, -100, 2]])
    value, gradient = value_and_gradient(label_cross_entropy, z, labels, smoothing=0.1, temperature=2.0)
    assert value.shape == (2, 3)
    assert ((value == 0) == (labels == -100)).all()
    assert ((gradient.abs().sum(-1) == 0) == (labels == -100)).all()


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_prepared_targets_give_the_plain_loss(temperature, dtype):
    table, rows = drawn(20, 7, seed=1, dtype=dtype), torch.tensor([3, 3, 19, 0])
    table[3, 2] = -torch.inf
    z = drawn(4, 7, dtype=dtype)
    value, gradient = value_and_gradient(kl, z, table[rows], temperature=temperature)
    soft = soft_targets(table, temperature)[rows]
    for v, g in (value_and_gradient(kl_prepared, z, soft), kl_with_gradient(z, soft)):
        assert v.dtype == value.dtype
        assert g.dtype == z.dtype
        torch.testing.assert_close(v, value, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(g, gradient, rtol=1e-2 if dtype == torch.bfloat16 else 1e-4, atol=1e-5)


def test_written_out_gradients_train_as_autograd_does():
    x, labels = drawn(30, 4, scale=1.0), torch.arange(30) % 3
    table = drawn(30, 3, seed=1)
    soft = soft_targets(table, 4.0)
    traced, direct = (torch.zeros(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    for _ in range(20):
        loss = 0.9 * kl(x @ traced, table, temperature=4.0) + 0.1 * label_cross_entropy(x @ traced, labels)
        (slope,) = torch.autograd.grad(loss.mean(), traced)
        logits = x @ direct
        _, from_teacher = kl_with_gradient(logits, soft)
        _, from_labels = label_cross_entropy_with_gradient(logits, labels)
        logits.backward((0.9 * from_teacher + 0.1 * from_labels) / 30)
        with torch.no_grad():
            traced -= 0.1 * slope
            direct -= 0.1 * direct.grad
            direct.grad = None
    assert traced.abs().max() > 0.1
    torch.testing.assert_close(direct, traced)


def test_many_rows_of_few_classes_equal_the_same_rows_a_few_at_a_time():
    logits, taught = (drawn(3000, 6, seed=seed, dtype=torch.float32) for seed in (0, 1))
    labels = torch.arange(3000) % 6
    many, few = torch.arange(3000), torch.arange(700, 720)
    soft = soft_targets(taught, 4.0)
    torch.testing.assert_close(soft.probs[few], soft_targets(taught[few], 4.0).probs)
    for whole, part in (
        (kl_with_gradient(logits, soft[many]), kl_with_gradient(logits[few], soft[few])),
        (
            label_cross_entropy_with_gradient(logits, labels),
            label_cross_entropy_with_gradient(logits[few], labels[few]),
        ),
    ):
        for a, b in zip(whole, part, strict=True):
            assert a.is_contiguous()
            torch.testing.assert_close(a[few], b)
