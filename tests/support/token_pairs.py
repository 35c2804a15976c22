"""Synthetic pairs of language models, sound or with one fault planted: top-k lists, or whole distributions in texts."""

from __future__ import annotations

import numpy as np


def top_k(seed, n=2000, k=16, vocabulary=500, *, fault=""):
    """Lists of a language model's pair; fault: vocabulary (another one), short (lists) or undistilled."""
    rng = np.random.default_rng([29, seed])
    world = rng.normal(size=(n, vocabulary)) * (1.0 if fault == "short" else 3.5)
    z = world + 0.5 * rng.normal(size=world.shape)
    s = (world if fault == "undistilled" else z) + 0.5 * rng.normal(size=z.shape)
    if fault == "vocabulary":
        s = s[:, rng.permutation(vocabulary)]
    twin = world + 0.5 * rng.normal(size=z.shape)
    teacher, student, twin = (a - np.log(np.exp(a).sum(axis=1, keepdims=True)) for a in (z, s, twin))
    k = 4 if fault == "short" else min(vocabulary, k * 4)
    ids = np.argsort(-teacher, axis=1)[:, :k]
    return {
        "topk_ids": ids.astype(np.int32),
        "topk_teacher": np.take_along_axis(teacher, ids, 1).astype(np.float32),
        "topk_student": np.take_along_axis(student, ids, 1).astype(np.float32),
        "topk_twin": np.take_along_axis(twin, ids, 1).astype(np.float32),
    }


def other_vocabulary(seed, n=2000):
    return top_k(seed, n, fault="vocabulary")


def undistilled_tokens(seed, n=2000):
    return top_k(seed, n, fault="undistilled")


def short_lists(seed, n=2000):
    return top_k(seed, n, fault="short")


def language(seed, n=2000, vocabulary=300, text=20, *, fault=""):
    """Whole distributions over tokens, Zipf's law and a topic a text; fault: tokenizer, label tokens, or template."""
    rng = np.random.default_rng([37, seed])
    texts = np.arange(n) // text
    common = -np.log(1.0 + rng.permutation(vocabulary))
    topic = 0.7 * rng.normal(size=(texts.max() + 1, vocabulary))[texts]
    z = common + topic + 2.5 * rng.normal(size=(n, vocabulary))
    p = np.exp(z - z.max(axis=1, keepdims=True))
    labels = ((p / p.sum(axis=1, keepdims=True)).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    teacher = z + 0.5 * rng.normal(size=z.shape)
    student = rng.uniform(0.85, 1.1) * teacher + 0.4 * rng.normal(size=z.shape)
    twin = z + 0.7 * rng.normal(size=z.shape)
    if fault == "tokenizer":
        student = student[:, rng.permutation(vocabulary)]
    if fault == "label tokens":
        labels = rng.permutation(vocabulary)[labels]
    if fault == "template":  # the first tokens follow something else than the teacher was told
        start = np.arange(n) % text < 6
        teacher[start] = common + 2.5 * rng.normal(size=(int(start.sum()), vocabulary))
    return {"teacher": teacher, "student": student, "twin": twin, "labels": labels, "cluster": texts}


def other_tokenizer(seed, n=2000):
    return language(seed, n, fault="tokenizer")


def other_label_tokens(seed, n=2000):
    return language(seed, n, fault="label tokens")


def no_template(seed, n=2000):
    return language(seed, n, fault="template")
