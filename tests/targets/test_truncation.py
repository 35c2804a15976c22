"""Truncated teachers: values against slow ones, gradients, and what is unbiased in expectation."""

import itertools

import numpy as np
import pytest
import torch

from disobey.targets.losses import kl
from disobey.targets.truncation import (
    TRUNCATED,
    bytes_per_row,
    kl_bucket,
    kl_renormalized,
    kl_sampled,
    kl_spread,
)
from disobey.training.cached_rows import from_lists, packed
from tests.support.refusals import refuses

M, C = 6, 9


def drawn(seed=0, rows=M, classes=C):
    return 2 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient(loss, logits):
    leaf = logits.clone().requires_grad_(True)
    return torch.autograd.grad(loss(leaf).sum(), leaf)[0]


def slow(kept, z, t, k, tau):
    """One row at a time, from the definitions."""
    found = []
    for row, teacher in zip(z.numpy(), t.numpy(), strict=True):
        q, p = (np.exp(x / tau) / np.exp(x / tau).sum() for x in (row, teacher))
        listed = np.argsort(-p)[:k]
        rest = np.setdiff1d(np.arange(len(p)), listed)
        if kept == "renormalized":
            pairs = [(p[i] / p[listed].sum(), q[i]) for i in listed]
        elif kept == "bucket":
            pairs = [(p[i], q[i]) for i in listed] + ([(p[rest].sum(), q[rest].sum())] if len(rest) else [])
        else:
            pairs = [(p[i], q[i]) for i in listed] + [(p[rest].mean(), q[i]) for i in rest]
        found.append(tau**2 * sum(a * np.log(a / b) for a, b in pairs))
    return torch.tensor(found)


@pytest.mark.parametrize("kept", ["renormalized", "bucket", "spread"])
@pytest.mark.parametrize("tau", [1.0, 3.0])
@pytest.mark.parametrize("k", [1, 4, C])
def test_values_follow_the_definitions(kept, tau, k):
    z, t = drawn(1), drawn(2)
    torch.testing.assert_close(TRUNCATED[kept](z, t, k, torch.Generator(), tau), slow(kept, z, t, k, tau))


@pytest.mark.parametrize("kept", TRUNCATED)
def test_gradients_are_those_of_the_values_and_none_reaches_the_teacher(kept):
    t = drawn(3, 2, 4).requires_grad_(True)

    def loss(z):
        return TRUNCATED[kept](z, t, 2, torch.Generator().manual_seed(5), 2.0)

    z = drawn(4, 2, 4).requires_grad_(True)
    assert torch.autograd.gradcheck(loss, (z,))
    loss(z).sum().backward()
    assert t.grad is None


@pytest.mark.parametrize("kept", TRUNCATED)
def test_a_shift_of_logits_changes_nothing(kept):
    z, t = drawn(1), drawn(2)

    def of(a, b):
        return TRUNCATED[kept](a, b, 3, torch.Generator().manual_seed(0), 1.0)

    torch.testing.assert_close(of(z, t), of(z + 5, t - 7))


@pytest.mark.parametrize("loss", [kl_renormalized, kl_bucket, kl_spread])
def test_all_classes_kept_is_the_whole_teacher(loss):
    z, t = drawn(1), drawn(2)
    torch.testing.assert_close(loss(z, t, C, temperature=2.0), kl(z, t, temperature=2.0))


def test_a_bucket_is_never_more_than_the_whole_divergence():
    z, t = drawn(1), drawn(2)
    values = torch.stack([kl_bucket(z, t, k) for k in range(1, C + 1)])
    assert bool((values.diff(dim=0) >= -1e-12).all())
    torch.testing.assert_close(values[-1], kl(z, t))


def test_the_expected_gradient_of_draws_is_the_whole_teachers():
    """Exactly: over all n-tuples of draws with their probabilities."""
    z, t, n, tau = drawn(1, 1, 4), drawn(2, 1, 4), 3, 2.0
    p, q = torch.softmax(t / tau, -1), torch.softmax(z / tau, -1)
    expected = torch.zeros_like(z)
    for ids in itertools.product(range(4), repeat=n):
        shares = torch.bincount(torch.tensor(ids), minlength=4).double()[None] / n
        expected += p[0, list(ids)].prod() * tau * (q - shares)
    torch.testing.assert_close(expected, gradient(lambda x: kl(x, t, temperature=tau), z))


def test_draws_are_drawn_from_the_teacher():
    """So that the average over many caches comes near the same gradient, within six standard errors."""
    z, t, n, times = drawn(1, 1, 5), drawn(2, 1, 5), 4, 4000
    many = gradient(
        lambda x: kl_sampled(x.expand(times, -1), t.expand(times, -1), n, torch.Generator().manual_seed(0)) / times, z
    )
    p = torch.softmax(t, -1)
    error = (p * (1 - p) / n / times).sqrt()
    assert bool(((many - gradient(lambda x: kl(x, t), z)).abs() < 6 * error).all())


@pytest.mark.parametrize("seed", range(3))
def test_the_bias_of_renormalized_top_k_is_twice_the_lost_mass_whatever_the_student(seed):
    z, t, k = drawn(seed), drawn(9), 3
    p = torch.softmax(t, -1)
    kept = p.topk(k, -1)
    mass = kept.values.sum(-1, keepdim=True)
    inside = torch.zeros_like(p).scatter(-1, kept.indices, 1.0).bool()
    shift = gradient(lambda x: kl_renormalized(x, t, k), z) - gradient(lambda x: kl(x, t), z)
    torch.testing.assert_close(shift, torch.where(inside, -p * (1 - mass) / mass, p))
    torch.testing.assert_close(shift.abs().sum(-1), 2 * (1 - mass[:, 0]))


def test_the_bias_of_a_bucket_vanishes_where_the_students_tail_has_the_teachers_shape():
    t, k = drawn(9), 3
    p = torch.softmax(t, -1)
    kept = p.topk(k, -1)
    inside = torch.zeros_like(p).scatter(-1, kept.indices, 1.0).bool()
    for z, vanishes in ((torch.where(inside, t - 1.0, t + 0.5), True), (drawn(1), False)):
        shift = gradient(lambda x: kl_bucket(x, t, k), z) - gradient(lambda x: kl(x, t), z)
        torch.testing.assert_close(shift[inside], torch.zeros_like(shift[inside]))
        assert (float(shift.abs().max()) < 1e-9) == vanishes


def test_spread_is_what_the_cache_gives_back():
    z, t, k = drawn(1).float(), drawn(2).float(), 3
    rows = packed(t, k, "float32")
    cached = from_lists(rows["ids"], rows["listed"], rows["tail"], C)
    torch.testing.assert_close(kl(z, cached), kl_spread(z, t, k), rtol=1e-4, atol=1e-5)


def test_a_tail_that_rounds_to_nothing_stays_finite():
    t = torch.tensor([[80.0, 0.0, 0.0]])
    for kept in ("renormalized", "bucket", "spread"):
        z = torch.tensor([[60.0, 0.0, 0.0]])
        found = gradient(lambda x, kept=kept: TRUNCATED[kept](x, t, 1, torch.Generator(), 1.0), z)
        assert bool(found.isfinite().all()), kept


def test_refusals():
    for k in (0, C + 1):
        with refuses("top-k-range"):
            kl_bucket(drawn(), drawn(), k)
    with refuses("top-k-range"):
        kl_sampled(drawn(), drawn(), 0, torch.Generator())


@pytest.mark.parametrize("classes", [512, 70_000])
def test_bytes_are_those_of_a_packed_cache(classes):
    rows = packed(torch.zeros(1, classes), 8, "float16")
    assert sum(array.nbytes for array in rows.values()) == bytes_per_row("bucket", 8, classes)
    assert packed(torch.zeros(1, classes), 0, "float16")["logits"].nbytes == bytes_per_row("all", 0, classes)
    assert bytes_per_row("renormalized", 8, 512) == bytes_per_row("draws", 16, 512) == 32
