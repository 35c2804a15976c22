import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from disobey.targets import controls, smoothing
from disobey.targets.controls import CONTROLS, OF_ALL, Target, controlled
from disobey.targets.losses import kl, soft_targets
from tests.support.refusals import refuses

N, C = 120, 6
DRAWS = ("permuted_each", "permuted_by_class", "permuted_globally", "shuffled_within_class", "sampled", "wrong_image")
AMOUNTS = {"smoothed": 0.2, "top_k": 2.0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def teacher():
    """Log-probabilities with class structure and instance structure, labels that they mostly get right."""
    labels = torch.arange(N) % C
    means = 3 * torch.eye(C, dtype=torch.float64) + torch.randn(C, C, generator=seeded(1), dtype=torch.float64)
    logits = means[labels] + torch.randn(N, C, generator=seeded(2), dtype=torch.float64)
    log_probs = torch.log_softmax(logits, -1)
    right = (log_probs.argmax(-1) == labels).double().mean()
    assert 0.6 < right < 1  # some wrong answers: "top" and "label" differ
    return log_probs, labels


def sorted_entropies(log_probs):
    return smoothing.entropy(log_probs).sort().values


@pytest.mark.parametrize("name", CONTROLS)
def test_every_control_gives_distributions_and_follows_its_generator(name, teacher):
    log_probs, labels = teacher
    before = log_probs.clone()
    amount = AMOUNTS.get(name, 0.0)
    answer = CONTROLS[name](log_probs, labels, seeded(), amount)
    assert isinstance(answer, Target)
    torch.testing.assert_close(answer.log_probs.double().exp().sum(-1), torch.ones(N, dtype=torch.float64))
    assert torch.equal(log_probs, before)  # nothing is changed in place
    again = CONTROLS[name](log_probs, labels, seeded(), amount).log_probs
    assert torch.equal(answer.log_probs, again)
    other = CONTROLS[name](log_probs, labels, seeded(5), amount).log_probs
    assert torch.equal(answer.log_probs, other) == (name not in DRAWS)


@pytest.mark.parametrize("name", CONTROLS)
def test_random_state_outside_the_generator_is_not_touched(name, teacher):
    state = torch.get_rng_state()
    CONTROLS[name](*teacher, seeded(), AMOUNTS.get(name, 0.0))
    assert torch.equal(torch.get_rng_state(), state)


# ---- labels and smoothing


def test_labels_and_smoothing():
    labels = torch.tensor([2, 0])
    assert smoothing.one_hot(labels, 3).exp().tolist() == [[0, 0, 1], [1, 0, 0]]
    assert torch.equal(smoothing.smoothed(labels, 3, 0.0), smoothing.one_hot(labels, 3))
    torch.testing.assert_close(smoothing.smoothed(labels, 3, 1.0).exp(), torch.full((2, 3), 1 / 3))
    each = smoothing.smoothed(labels, 3, torch.tensor([0.3, 0.6])).exp()
    torch.testing.assert_close(each, torch.tensor([[0.1, 0.1, 0.8], [0.6, 0.2, 0.2]]))


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_epsilon_inverts_the_entropy(classes):
    def smoothed_entropy(epsilon):
        p = np.full(classes, epsilon / classes)
        p[0] += 1 - epsilon
        return -(p[p > 0] * np.log(p[p > 0])).sum()

    entropies = np.linspace(0.01, 0.999, 9) * math.log(classes)
    epsilon = smoothing.epsilon_for_entropy(torch.from_numpy(entropies), classes)
    twin = [brentq(lambda e, h=h: smoothed_entropy(e) - h, 0, 1, xtol=1e-14) for h in entropies]
    np.testing.assert_allclose(epsilon.numpy(), twin, rtol=1e-9)
    ends = smoothing.epsilon_for_entropy(torch.tensor([0.0, math.log(classes)]).double(), classes)
    np.testing.assert_allclose(ends.numpy(), [0, 1], atol=1e-6)  # flat at uniform: epsilon ~ root of the rounding


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0, 100.0])
def test_smoothing_matches_the_entropy_of_the_teacher_at_its_temperature(temperature, teacher):
    log_probs, labels = teacher
    softened = torch.log_softmax(log_probs / temperature, -1)
    wanted = smoothing.entropy(softened)
    mean = smoothing.smoothed_to_mean_entropy(softened, labels)
    each = smoothing.smoothed_to_each_entropy(softened, labels)
    torch.testing.assert_close(smoothing.entropy(mean), wanted.mean().expand(N))
    torch.testing.assert_close(smoothing.entropy(each), wanted)
    assert torch.equal(mean.argmax(-1), labels)
    assert torch.equal(each.argmax(-1), labels)
    others = each.exp().scatter(-1, labels[:, None], math.nan)
    assert (others.nan_to_num(0).max(-1).values * (C - 1)).sub(others.nansum(-1)).abs().max() < 1e-12  # nothing else


def test_the_virtual_teacher_is_far_closer_to_uniform_than_a_teacher_at_its_temperature(teacher):
    log_probs, labels = teacher
    virtual = smoothing.virtual_teacher(labels, C).double()
    assert torch.equal(virtual.argmax(-1), labels)
    gap = virtual.max(-1).values - virtual.min(-1).values
    torch.testing.assert_close(gap, torch.full((N,), (0.99 - 0.01 / (C - 1)) / 20).double(), rtol=1e-4, atol=0)
    short = lambda p: math.log(C) - smoothing.entropy(p).mean().item()
    assert short(virtual) < 0.1 * short(torch.log_softmax(log_probs / 20, -1))


# ---- confidence


def test_confidence_only_is_the_mean_over_permutations(teacher):
    log_probs, _ = teacher
    confident = controls.confidence_only(log_probs)
    torch.testing.assert_close(confident.max(-1).values, log_probs.max(-1).values)
    assert torch.equal(confident.argmax(-1), log_probs.argmax(-1))
    assert (smoothing.entropy(confident) >= smoothing.entropy(log_probs) - 1e-12).all()
    generator = seeded()
    draws = torch.stack([controls.permuted_each(log_probs, generator).exp() for _ in range(2000)])
    error = (draws.mean(0) - confident.exp()) / (draws.std(0) / math.sqrt(2000)).clamp_min(1e-12)
    assert error[draws.std(0) > 0].abs().max() < 5


def test_top_k(teacher):
    log_probs, _ = teacher
    assert torch.equal(controls.top_k(log_probs, 1), controls.confidence_only(log_probs))
    torch.testing.assert_close(controls.top_k(log_probs, C - 1), log_probs)
    assert torch.equal(controls.top_k(log_probs, C), log_probs)
    kept = controls.top_k(log_probs, 2)
    assert torch.equal(kept.topk(2).values, log_probs.topk(2).values)
    assert torch.equal(kept.topk(2).indices, log_probs.topk(2).indices)
    rest = kept.sort(-1).values[:, : C - 2]
    assert torch.equal(rest.min(-1).values, rest.max(-1).values)
    for k in (0, C + 1):
        with refuses("top-k-range", str(k)):
            controls.top_k(log_probs, k)


def test_a_sure_teacher_keeps_its_small_probabilities():
    log_probs = torch.log_softmax(torch.tensor([[60.0, 2.0, 0.0]]), -1)  # in float32, 1 − p_top is 0
    assert log_probs.exp().max() == 1
    expected = torch.logsumexp(torch.tensor([-58.0, -60.0]), 0) - math.log(2)
    torch.testing.assert_close(controls.confidence_only(log_probs)[0, 1:], expected.expand(2))


def test_confidence_weights_have_mean_one(teacher):
    log_probs, labels = teacher
    target = CONTROLS["confidence_weighted"](log_probs, labels, seeded(), 0.0)
    assert target.weights is not None
    torch.testing.assert_close(target.weights.mean().item(), 1.0)
    torch.testing.assert_close(
        target.weights / target.weights[0], (log_probs - log_probs[0].max()).max(-1).values.exp()
    )
    assert torch.equal(target.log_probs, smoothing.one_hot(labels, C))


# ---- permutations


@pytest.mark.parametrize("name", ["permuted_each", "permuted_by_class", "permuted_globally"])
def test_permutations_keep_the_top_and_every_entropy(name, teacher):
    log_probs, labels = teacher
    permuted = CONTROLS[name](log_probs, labels, seeded(), 0.0).log_probs
    assert torch.equal(permuted.sort(-1).values, log_probs.sort(-1).values)  # the same numbers in every row
    assert torch.equal(permuted.argmax(-1), log_probs.argmax(-1))
    assert torch.equal(permuted.max(-1).values, log_probs.max(-1).values)
    torch.testing.assert_close(sorted_entropies(permuted), sorted_entropies(log_probs))
    moved = (permuted != log_probs).sum(-1)
    if name == "permuted_each":
        assert moved.max() == C - 1
    else:
        assert (moved == C - 1).all()  # everything but the top is in a wrong place


def where_from(log_probs, permuted):
    """(N, C) from which class each entry came."""
    return (permuted.unsqueeze(-1) == log_probs.unsqueeze(-2)).double().argmax(-1)


def test_class_permutations_are_shared_and_sample_permutations_are_not(teacher):
    log_probs, _ = teacher
    top = log_probs.argmax(-1)

    def kinds(permuted):
        source = where_from(log_probs, permuted)
        return [len({tuple(row) for row in source[top == c].tolist()}) for c in range(C)]

    assert kinds(controls.permuted_by_class(log_probs, seeded())) == [1] * C
    assert kinds(controls.permuted_globally(log_probs, seeded())) == [1] * C
    assert min(kinds(controls.permuted_each(log_probs, seeded()))) > 5


def test_the_global_permutation_is_one_cycle_with_the_top_skipped(teacher):
    log_probs, _ = teacher
    top = log_probs.argmax(-1)
    source = {c: where_from(log_probs, controls.permuted_globally(log_probs, seeded()))[top == c][0] for c in range(C)}
    for entry in range(C):  # the donor of an entry is the same for all tops, but for the one or two that are skipped
        donors = [source[c][entry].item() for c in range(C) if c != entry]
        most = max(set(donors), key=donors.count)
        assert donors.count(most) == C - 2
    by_class = where_from(log_probs, controls.permuted_by_class(log_probs, seeded()))
    rows = [by_class[top == c][0] for c in range(C)]
    agreeing = [sum(bool(rows[c][e] == rows[d][e]) for e in range(C)) for c in range(C) for d in range(c)]
    assert max(agreeing) < C - 1


def test_uniform_permutations_per_sample():
    log_probs = torch.tensor([0.7, 0.2, 0.07, 0.03]).log().expand(6000, 4)
    order = where_from(log_probs, controls.permuted_each(log_probs, seeded()))
    seen, counts = order.unique(dim=0, return_counts=True)
    assert len(seen) == 6  # 3! arrangements
    assert ((counts - 1000).abs() < 5 * math.sqrt(1000 * 5 / 6)).all()


def test_two_classes_leave_nothing_to_permute():
    log_probs = torch.tensor([[0.8, 0.2], [0.3, 0.7]]).log()
    for permute in (controls.permuted_each, controls.permuted_by_class, controls.permuted_globally):
        assert torch.equal(permute(log_probs, seeded()), log_probs)


# ---- classes


def test_class_means(teacher):
    log_probs, labels = teacher
    means = controls.class_mean(log_probs, labels)
    for c in range(C):
        expected = log_probs[labels == c].exp().mean(0)
        torch.testing.assert_close(means[labels == c].exp(), expected.expand_as(means[labels == c]))
    few = slice(0, 2 * C)
    pooled = controls.class_mean(log_probs[few], labels[few], pool=(log_probs, labels))
    torch.testing.assert_close(pooled, means[few])  # means of all N, rows of n
    assert not torch.allclose(controls.class_mean(log_probs[few], labels[few]), means[few])
    with refuses("label-not-in-pool", "3"):
        controls.class_mean(log_probs, labels, pool=(log_probs[:3], labels[:3]))


def test_shuffling_within_classes_keeps_the_class_mean_and_every_answer(teacher):
    log_probs, labels = teacher
    shuffled = controls.shuffled_within_class(log_probs, labels, seeded())
    torch.testing.assert_close(sorted_entropies(shuffled), sorted_entropies(log_probs))
    torch.testing.assert_close(controls.class_mean(shuffled, labels), controls.class_mean(log_probs, labels))
    for c in range(C):
        rows = lambda p, c=c: sorted(p[labels == c].tolist())
        assert rows(shuffled) == rows(log_probs)
    stayed = (shuffled == log_probs).all(-1).double().mean()
    assert stayed < 4 * C / N  # one a class in expectation


def test_class_mean_with_confidence(teacher):
    log_probs, labels = teacher
    both = controls.class_mean_with_confidence(log_probs, labels).exp()
    top = log_probs.argmax(-1, keepdim=True)
    torch.testing.assert_close(both.gather(-1, top), log_probs.exp().gather(-1, top))
    means = controls.class_mean(log_probs, labels).exp().scatter(-1, top, 0.0)
    rest = both.scatter(-1, top, 0.0)
    shares = lambda p: p / p.sum(-1, keepdim=True)
    torch.testing.assert_close(shares(rest), shares(means))
    # rows that are their own class mean stay as they are
    means = controls.class_mean(log_probs, labels)
    torch.testing.assert_close(controls.class_mean_with_confidence(means, labels), means)
    sure = smoothing.one_hot(labels, C)
    assert torch.equal(controls.class_mean_with_confidence(sure, labels), sure)


# ---- hard answers


def test_softening_at_low_temperature_tends_to_the_argmax(teacher):
    log_probs, _ = teacher
    hard = controls.argmax_labels(log_probs)
    cold = torch.log_softmax(log_probs / 1e-4, -1)
    torch.testing.assert_close(cold.exp(), hard.exp(), atol=1e-9, rtol=0)


def test_the_argmax_of_a_teacher_that_is_always_right_is_the_labels(teacher):
    log_probs, labels = teacher
    right = log_probs.argmax(-1) == labels
    assert torch.equal(controls.argmax_labels(log_probs[right]), smoothing.one_hot(labels[right], C).double())
    assert not torch.equal(controls.argmax_labels(log_probs), smoothing.one_hot(labels, C).double())


def test_sampled_labels_are_the_teacher_in_expectation(teacher):
    log_probs, _ = teacher
    generator = seeded()
    draws = torch.stack([controls.sampled_labels(log_probs, generator).exp() for _ in range(3000)])
    assert (draws.sum(-1) == 1).all()
    p = log_probs.exp()
    error = (draws.mean(0) - p).abs() / (p * (1 - p) / 3000).sqrt()
    assert error[p * 3000 > 20].max() < 5


def test_one_hot_with_margin(teacher):
    log_probs, labels = teacher
    margin = controls.mean_margin(log_probs)
    by_hand = np.mean([row.max() - np.delete(row, row.argmax()).mean() for row in log_probs.numpy()])
    assert margin == pytest.approx(by_hand)
    for given, expected in ((0.0, margin), (2.5, 2.5)):
        target = controls.one_hot_with_margin(log_probs, labels, given)
        assert torch.equal(target.argmax(-1), labels)
        gap = target.max(-1).values - target.min(-1).values
        torch.testing.assert_close(gap, torch.full_like(gap, expected))
    assert math.isfinite(controls.mean_margin(smoothing.one_hot(labels, C)))


def test_wrong_images_keep_every_answer_and_no_pairing(teacher):
    log_probs, _ = teacher
    wrong = controls.wrong_image(log_probs, seeded())
    assert sorted(wrong.tolist()) == sorted(log_probs.tolist())
    assert not (wrong == log_probs).all(-1).any()


# ---- the door for training loops


@pytest.mark.parametrize("temperature", [1.0, 4.0, 100.0])
@pytest.mark.parametrize("name", CONTROLS)
def test_controlled_logits_soften_to_the_control_at_the_temperature(name, temperature, teacher):
    log_probs, labels = teacher
    amount = AMOUNTS.get(name, 0.0)
    logits, weights = controlled(name, log_probs.float(), labels, seeded(), temperature=temperature, amount=amount)
    assert logits.dtype == torch.float32
    assert (weights is None) == (name != "confidence_weighted")
    softened = torch.log_softmax(log_probs.float().double() / temperature, -1)
    expected = CONTROLS[name](softened, labels, seeded(), amount).log_probs.double()
    probs = soft_targets(logits, temperature).probs
    torch.testing.assert_close(probs.double(), expected.exp(), rtol=1e-5, atol=1e-7)
    z = torch.randn(N, C, generator=seeded(3))
    assert torch.isfinite(kl(z, logits, temperature=temperature)).all()


def test_the_teacher_itself_passes_unchanged(teacher):
    log_probs, labels = teacher
    raw = 7 + 3 * log_probs  # raw logits are as good as log-probabilities
    logits, _ = controlled("teacher", raw, labels, seeded(), temperature=4.0)
    centred = lambda x: x - x.mean(-1, keepdim=True)
    torch.testing.assert_close(centred(logits), centred(raw))


def test_unusable_input_is_refused(teacher):
    log_probs, labels = teacher
    with refuses("unknown-control", "teacher, labels", "'shuffled'"):
        controlled("shuffled", log_probs, labels, seeded())
    with refuses("teacher-shape", "(5,)"):
        controlled("argmax", log_probs, labels[:5], seeded())


def test_class_means_of_all_come_from_the_pool():
    generator = torch.Generator().manual_seed(0)
    everything, labels = torch.randn(40, 3, generator=generator), torch.arange(40) % 3
    few = torch.tensor([0, 1, 2, 5])
    logits, weights = controlled(
        OF_ALL, everything[few], labels[few], generator, temperature=2.0, pool=(everything, labels)
    )
    assert weights is None
    softened = torch.softmax(everything.double() / 2, -1)
    for row, label in zip(torch.softmax(logits.double() / 2, -1), labels[few], strict=True):
        torch.testing.assert_close(row, softened[labels == label].mean(0), atol=1e-6, rtol=1e-6)
    with refuses("no-pool", OF_ALL):
        controlled(OF_ALL, everything[few], labels[few], generator)
