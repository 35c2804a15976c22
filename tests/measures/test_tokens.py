"""Measures of tokens against slow twins, simulated speculative sampling, and planted truth."""

import numpy as np
import pytest
from scipy.special import log_softmax

from disobey import measure
from disobey.measures import tokens
from disobey.measures.agreement import divergences, overlap_measure
from disobey.measures.inference.examples import over_examples
from disobey.measures.inference.measure import Measure
from disobey.measures.inference.statistics import mean
from disobey.records.predictions import Predictions


def sides(n=60, v=30, seed=0, scale=2.0):
    rng = np.random.default_rng(seed)
    z = scale * rng.normal(size=(n, v))
    return log_softmax(z, axis=1), log_softmax(z + rng.normal(size=(n, v)), axis=1)


def slow(t, s, k):
    """By the definitions, a row at a time."""
    out = []
    for a, b in zip(t, s, strict=True):
        both = sorted(set(np.argsort(-a)[:k]) & set(np.argsort(-b)[:k]))
        p, q = np.exp(a[both]), np.exp(b[both])
        advantage = np.nan
        if both:
            advantage = sum(q / q.sum() * (np.log(p / p.sum()) - np.log(q / q.sum())))
        out.append((len(both) / k, p.sum(), q.sum(), advantage, np.exp(b[np.argsort(-a)[:k]]).sum()))
    return np.array(out).T


@pytest.mark.parametrize("k", [1, 4, 16, 30])
def test_lists_are_their_definitions(k):
    t, s = sides()
    columns = tokens.lists(k)(Predictions.from_logits(t, s))
    assert np.allclose(columns, slow(t, s, k), equal_nan=True)
    alone = tokens.overlap_ratio(t, s, k), *tokens.overlap_mass(t, s, k), tokens.overlap_advantage(t, s, k)
    assert np.allclose((*alone, tokens.mass_on_list(t, s, k)), columns, equal_nan=True)
    advantage = columns[3]
    assert (advantage[np.isfinite(advantage)] <= 1e-12).all()


def test_overlap_ratio_is_the_overlap_that_was_there_before():
    t, s = sides()
    p = Predictions.from_logits(t, s)
    assert np.allclose(overlap_measure(5)(p), tokens.overlap_ratio(t, s, 5).mean())


def test_same_models_overlap_fully():
    t, _ = sides()
    assert (tokens.overlap_ratio(t, t) == 1).all()
    assert np.allclose(tokens.overlap_advantage(t, t), 0)
    assert np.allclose(tokens.acceptance(t, t), 1)
    assert np.allclose(tokens.entropy_gap(t, t), 0)


def test_acceptance_is_that_of_speculative_sampling():
    """Draft from the student, keep with min(1, p/q), else draw from the rest: kept as often as said, and exact."""
    t, s = sides(n=1, v=8, seed=3, scale=1.5)
    p, q, rng, n = np.exp(t[0]), np.exp(s[0]), np.random.default_rng(0), 200_000
    draft = rng.choice(8, n, p=q)
    kept = rng.random(n) < np.minimum(1, p[draft] / q[draft])
    expected = float(tokens.acceptance(t, s)[0])
    assert abs(kept.mean() - expected) < 5 * np.sqrt(expected * (1 - expected) / n)
    rest = np.maximum(p - q, 0)
    out = np.where(kept, draft, rng.choice(8, n, p=rest / rest.sum()))
    assert np.abs(np.bincount(out, minlength=8) / n - p).max() < 0.006
    total_variation = divergences(1.0)(Predictions.from_logits(t, s))[3]
    assert np.allclose(tokens.acceptance(t, s), 1 - total_variation)


def test_advantage_of_own_tokens_is_minus_reverse_kl():
    t, s = sides(n=1, v=6)
    drawn = np.random.default_rng(0).choice(6, 100_000, p=np.exp(s[0]))
    gaps = tokens.log_prob_gap(np.repeat(t, 100_000, 0), np.repeat(s, 100_000, 0), drawn)
    reverse = divergences(1.0)(Predictions.from_logits(t, s))[1][0]
    assert abs(gaps.mean() + reverse) < 5 * gaps.std() / np.sqrt(100_000)


def test_forgotten_tokens_are_found():
    t, _ = sides(n=400, v=20, scale=3)
    labels = t.argmax(1)
    lost = np.arange(400) % 4 == 0
    student = t.copy()
    student[lost] = np.roll(student[lost], 1, axis=1)
    p = Predictions.from_logits(t, student, labels, twin=t)
    known, gone = tokens.forgotten(student, t, labels)
    assert (gone == (known & lost)).all()
    found = over_examples(tokens.FORGOTTEN, p)
    assert found.value == pytest.approx(gone.sum() / known.sum())
    assert found.n == known.sum()
    assert over_examples(tokens.GAINED, p).value == 0


def test_top_k_loses_what_is_beyond():
    t, _ = sides()
    for k in (1, 5, 30):
        mass, entropy = tokens.top_k_lost(t, k)
        p = np.sort(np.exp(t), axis=1)[:, ::-1]
        terms = -p * np.log(p)
        assert np.allclose(mass, p[:, k:].sum(axis=1))
        assert np.allclose(entropy, terms[:, k:].sum(axis=1) / terms.sum(axis=1))


def test_impossible_tokens_are_no_trouble():
    logits = np.array([[0.0, -np.inf, 1.0, -np.inf]] * 30)
    t, s = log_softmax(logits, axis=1), log_softmax(logits[:, ::-1], axis=1)
    for columns in (tokens.lists(2), tokens.spread, tokens.kept(2)):
        found = columns(Predictions(t, s, None, np.arange(30)))
        assert all(np.isfinite(c).all() for c in found[:3])


def test_from_arrays_with_intervals_over_texts():
    t, s = sides(n=200)
    labels, texts = t.argmax(1), np.arange(200) // 10
    found = measure(s, t, labels, twin=t, cluster=texts, names=("overlap_ratio.k16", "acceptance", "forgotten"))
    assert {e.over for e in found.values()} == {"clusters"}
    assert found["acceptance.twin"].value == pytest.approx(1)
    assert "forgotten.twin" not in found
    own = Measure("m", lambda p: (tokens.acceptance(p.teacher, p.student),), mean)
    assert own(Predictions.from_logits(t, s)) == pytest.approx(found["acceptance"].value)
