"""Synthetic pairs whose truth is known: sound ones of many kinds, and the same with one fault planted.

Labels are drawn from the softmax of the "world's" logits, so a model that knows the world is calibrated. A teacher is
the world and its own noise; a distilled student follows the teacher, noise included; a twin has noise of its own.
"""

from __future__ import annotations

import numpy as np

from tests.support.token_pairs import (
    language,
    no_template,
    other_label_tokens,
    other_tokenizer,
    other_vocabulary,
    short_lists,
    top_k,
    undistilled_tokens,
)

KINDS = (
    "plain",
    "binary",
    "many classes",
    "probabilities",
    "half log-probabilities",
    "no labels",
    "sorted",
    "imbalanced",
    "leaves",
    "strong",
    "weak student",
    "no twin",
    "groups",
    "three seeds",
    "wrong labels",
    "top-k",
    "language",
)


def world(rng, n, classes, margin, weights=None):
    """(z, y): logits (n, classes) and labels drawn from their softmax."""
    truth = rng.choice(classes, n, p=weights)
    similar = rng.normal(size=(classes, classes))
    z = 0.8 * rng.normal(size=(n, classes)) + 0.6 * similar[truth]
    z[np.arange(n), truth] += margin + np.log(classes)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    y = (p.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return z, y


def clean(seed, n=2000, kind=None):
    """Named arrays of a sound pair; the kind goes round with the seed."""
    rng = np.random.default_rng([7, seed])
    kind = kind or KINDS[seed % len(KINDS)]
    if kind == "top-k":
        return top_k(seed, n)
    if kind == "language":
        return language(seed, n)
    classes = {"binary": 2, "many classes": 100}.get(kind, int(rng.choice([3, 5, 10, 20])))
    margin = {"strong": 3.0, "binary": 1.5}.get(kind, rng.uniform(1.2, 2.5))
    weights = None
    if kind == "imbalanced":
        weights = 1.0 / (1 + np.arange(classes)) ** 1.5
        weights /= weights.sum()
    z, y = world(rng, n, classes, margin, weights)
    teacher = rng.uniform(0.95, 1.15) * (z + 0.5 * rng.normal(size=z.shape))
    slope, noise = rng.uniform(0.85, 1.25), 0.5 if kind == "weak student" else 0.3
    if kind == "many classes":
        slope = max(slope, 1.0)  # flatter than that a student of 100 classes is under-confident by .15 and more
    student = slope * teacher + noise * rng.normal(size=z.shape)
    twin = z + 0.6 * rng.normal(size=z.shape)
    if kind == "leaves":  # a tree's few distinct answers
        best = np.sort(teacher, axis=1)
        margin_of = best[:, -1] - best[:, -2]
        leaf = teacher.argmax(axis=1) * 5 + np.digitize(margin_of, np.quantile(margin_of, [0.2, 0.4, 0.6, 0.8]))
        means = np.array(
            [teacher[leaf == i].mean(axis=0) if (leaf == i).any() else teacher[0] for i in range(5 * classes)]
        )
        teacher = means[leaf]
        student = slope * (teacher + 0.25 * rng.normal(size=z.shape))
    arrays = {"teacher": teacher, "student": student, "twin": twin, "labels": y}
    if kind == "wrong labels":  # training examples, of which one in five was taught another label
        given = _redrawn(rng, y, classes, 0.2)
        taught = rng.uniform(0.4, 1.0) * np.eye(classes)[given]
        teacher = teacher + taught
        arrays |= {
            "teacher": teacher,
            "student": slope * teacher + noise * rng.normal(size=z.shape),
            "twin": twin + taught,
            "mislabelled": given != y,
        }
    if kind == "sorted":
        order = np.argsort(y, kind="stable")
        arrays = {name: array[order] for name, array in arrays.items()}
    if kind in ("probabilities", "half log-probabilities"):
        for name in ("teacher", "student", "twin"):
            logs = arrays[name] - np.log(np.exp(arrays[name]).sum(axis=1, keepdims=True))
            arrays[name] = np.exp(logs).astype(np.float32) if kind == "probabilities" else logs.astype(np.float16)
    if kind == "no labels":
        del arrays["labels"]
    if kind == "no twin":
        del arrays["twin"]
    if kind == "groups":
        arrays["group"] = np.array(["a", "b", "c"])[rng.integers(3, size=n)]
    if kind == "three seeds":
        for i in range(3):
            arrays[f"student/seed{i}"] = arrays["student"] + 0.3 * rng.normal(size=z.shape)
        del arrays["student"]
    return arrays


def _redrawn(rng, y, classes, share):
    """Labels of which this share is replaced by another class at random."""
    other = (y + rng.integers(1, classes, size=len(y))) % classes
    return np.where(rng.random(len(y)) < share, other, y)


def _base(seed, n, kind="plain"):
    return np.random.default_rng([11, seed]), clean(1000 + seed, n, kind)


def shuffled_rows(seed, n=2000):
    rng, a = _base(seed, n)
    return a | {"student": a["student"][rng.permutation(n)]}


def shifted_rows(seed, n=2000):
    rng, a = _base(seed, n)
    return a | {"student": np.roll(a["student"], int(rng.integers(1, 300)), axis=0)}


def permuted_block(seed, n=2000):
    rng, a = _base(seed, n)
    start = int(rng.integers(0, n - n // 5))
    block = np.arange(start, start + n // 5)
    student = a["student"].copy()
    student[block] = student[rng.permutation(block)]
    return a | {"student": student}


def shuffled_labels(seed, n=2000):
    rng, a = _base(seed, n)
    return a | {"labels": rng.permutation(a["labels"])}


def permuted_classes(seed, n=2000):
    rng, a = _base(seed, n)
    order = rng.permutation(a["teacher"].shape[1])
    if (order == np.arange(len(order))).all():
        order = np.roll(order, 1)
    return a | {"student": a["student"][:, order]}


def shuffled_twin(seed, n=2000):
    rng, a = _base(seed, n)
    return a | {"twin": a["twin"][rng.permutation(n)]}


def permuted_twin(seed, n=2000):
    _, a = _base(seed, n)
    return a | {"twin": np.roll(a["twin"], 1, axis=1)}


def shuffled_seed(seed, n=2000):
    """The last of three seeds was saved from a loader that shuffles."""
    rng, a = _base(seed, n, "three seeds")
    return a | {"student/seed2": a["student/seed2"][rng.permutation(n)]}


def labels_off_by_one(seed, n=2000):
    _, a = _base(seed, n)
    return a | {"labels": (a["labels"] + 1) % a["teacher"].shape[1]}


def broken_evaluation(seed, n=2000):
    """A teacher in train mode, or fed unnormalized inputs: sure, and wrong."""
    rng, a = _base(seed, n)
    noise = rng.normal(size=a["teacher"].shape)
    return a | {"teacher": 0.5 * a["teacher"] + 8 * noise, "student": 0.5 * a["student"] + 8 * noise}


def softmax_twice(seed, n=2000):
    _, a = _base(seed, n)
    p = np.exp(a["teacher"] - a["teacher"].max(axis=1, keepdims=True))
    return a | {"teacher": p / p.sum(axis=1, keepdims=True) + 1.0}


def tempered_teacher(seed, n=2000):
    _, a = _base(seed, n)
    return a | {"teacher": a["teacher"] / 4, "student": a["student"] / 4}


def constant_student(seed, n=2000):
    _, a = _base(seed, n)
    return a | {"student": np.repeat(a["student"][:1], n, axis=0)}


def saturated_teacher(seed, n=2000):
    _, a = _base(seed, n)
    return a | {"teacher": a["teacher"] * 30}


def zeros_and_ones(seed, n=2000):
    rng, a = _base(seed, n)
    p = np.exp(a["teacher"] - a["teacher"].max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    hard = rng.random(n) < 0.15
    p[hard] = p[hard] >= p[hard].max(axis=1, keepdims=True)
    q = np.exp(a["student"] - a["student"].max(axis=1, keepdims=True))
    return {k: v for k, v in a.items() if k != "twin"} | {"teacher": p, "student": q / q.sum(axis=1, keepdims=True)}


def duplicated(seed, n=2000):
    rng, a = _base(seed, n)
    rows = np.arange(n)
    rows[rng.choice(n, n // 20, replace=False)] = 0
    return {name: array[rows] for name, array in a.items()}


def leak(seed, n=2000):
    _, a = _base(seed, n)
    return a | {"student": a["teacher"].astype(np.float16).astype(np.float64)}


def tempered_leak(seed, n=2000):
    """The teacher's own answers, once divided by a temperature."""
    rng, a = _base(seed, n)
    return a | {"student": (a["teacher"] / rng.uniform(0.3, 4.0)).astype(np.float32)}


def seed_saved_twice(seed, n=2000):
    _, a = _base(seed, n, "three seeds")
    return a | {"student/seed2": a["student/seed0"]}


def student_is_twin(seed, n=2000):
    _, a = _base(seed, n)
    return a | {"student": a["twin"] + 3.0}


def no_distillation(seed, n=2000):
    """The student is another twin: exchangeable with it."""
    rng = np.random.default_rng([13, seed])
    z, y = world(rng, n, 10, 2.0)
    models = {name: z + 0.6 * rng.normal(size=z.shape) for name in ("teacher", "student", "twin")}
    return models | {"labels": y}


def untempered_student(seed, n=2000):
    """It matched softmax(z / 4) without tempering itself."""
    rng, a = _base(seed, n)
    return a | {"student": a["teacher"] / 4 + 0.05 * rng.normal(size=a["teacher"].shape)}


def missing_t_squared(seed, n=2000):
    """Sharpened by labels alone."""
    rng, a = _base(seed, n)
    return a | {"student": 3.5 * a["teacher"] + rng.normal(size=a["teacher"].shape)}


def memorized(seed, n=2000):
    rng, a = _base(seed, n)
    classes = a["teacher"].shape[1]
    hot = 11.0 * np.eye(classes)[a["labels"]] + np.log(classes)
    return a | {
        "teacher": hot + rng.normal(size=hot.shape),
        "student": 0.9 * hot + rng.normal(size=hot.shape),
        "twin": 0.9 * hot + 1.3 * rng.normal(size=hot.shape),
    }


def negative_transfer(seed, n=2000):
    """A poor teacher, copied, beside a twin that knows better."""
    rng = np.random.default_rng([17, seed])
    z, y = world(rng, n, 10, 2.5)
    teacher = z + 1.8 * rng.normal(size=z.shape)
    return {
        "teacher": teacher,
        "student": teacher + 0.5 * rng.normal(size=z.shape),
        "twin": z + 0.4 * rng.normal(size=z.shape),
        "labels": y,
    }


def small_student(seed, n=2000):
    rng, a = _base(seed, n)
    return a | {"student": 0.9 * a["teacher"] + 2.2 * rng.normal(size=a["teacher"].shape)}


def overconfident(seed, n=2000):
    rng = np.random.default_rng([19, seed])
    z, y = world(rng, n, 10, 0.0)
    teacher = z + 0.3 * rng.normal(size=z.shape)
    return {"teacher": teacher, "student": 3 * teacher + 0.3 * rng.normal(size=z.shape), "labels": y}


def too_few(seed, n=2000):
    return clean(2000 + seed, 60, "plain")


def at_the_ceiling(seed, n=2000):
    rng = np.random.default_rng([23, seed])
    z, y = world(rng, n, 10, 8.0)
    models = {name: z + 0.3 * rng.normal(size=z.shape) for name in ("teacher", "twin")}
    return models | {"student": models["teacher"] + 0.2 * rng.normal(size=z.shape), "labels": y}


def checkpoints(seed, n=2000):
    rng, a = _base(seed, n)
    more = {f"student/epoch{i}": a["student"] + 0.3 * rng.normal(size=a["student"].shape) for i in range(8)}
    return {k: v for k, v in a.items() if k != "student"} | more


def one_label(seed, n=2000):
    _, a = _base(seed, n)
    rows = np.flatnonzero(a["labels"] == a["labels"][0])
    return {name: array[rows] for name, array in a.items()}


def other_teachers(seed, n=2000):
    """Four seeds, of which this teacher taught the first; each of the others had its own."""
    rng, a = _base(seed, n)
    own = {f"student/seed{i}": a["twin"] + 0.3 * rng.normal(size=a["twin"].shape) for i in (1, 2, 3)}
    rest = {name: array for name, array in a.items() if name not in ("student", "twin")}
    return rest | {"student/seed0": a["student"]} | own


def other_labels(seed, n=2000):
    """Not distilled: the student was taught the teacher's wrong labels, its twin another draw of them."""
    rng = np.random.default_rng([31, seed])
    z, y = world(rng, n, 10, 2.0)
    given, others = (_redrawn(rng, y, 10, 0.2) for _ in range(2))
    seen = {"teacher": given, "student": given, "twin": others}
    models = {m: z + 0.6 * rng.normal(size=z.shape) + 0.6 * np.eye(10)[told] for m, told in seen.items()}
    return models | {"labels": y, "mislabelled": given != y}


FAULTS = {  # fault: id of the check that must warn
    shuffled_rows: "row-alignment",
    shifted_rows: "row-alignment",
    permuted_block: "row-alignment",
    shuffled_labels: "label-alignment",
    permuted_classes: "class-order",
    labels_off_by_one: "label-order",
    shuffled_twin: "twin-alignment",
    permuted_twin: "twin-class-order",
    shuffled_seed: "row-alignment",
    broken_evaluation: "plausible-teacher",
    softmax_twice: "stated-values",
    tempered_teacher: "stated-values",
    constant_student: "constant-rows",
    saturated_teacher: "saturated-rows",
    zeros_and_ones: "finite-values",
    duplicated: "duplicated-rows",
    leak: "identical-models",
    tempered_leak: "identical-models",
    student_is_twin: "identical-models",
    seed_saved_twice: "identical-models",
    no_distillation: "distillation-visible",
    untempered_student: "temperature-slip",
    missing_t_squared: "temperature-slip",
    memorized: "memorized-teacher",
    negative_transfer: "negative-transfer",
    small_student: "capacity-gap",
    overconfident: "calibrated-student",
    too_few: "test-size",
    at_the_ceiling: "ceiling",
    checkpoints: "best-of-many",
    one_label: "label-variety",
    other_teachers: "same-teacher",
    other_labels: "same-labels",
    other_vocabulary: "vocabulary",
    other_tokenizer: "tokenizers",
    other_label_tokens: "tokenizers",
    no_template: "own-text",
    short_lists: "truncation",
    undistilled_tokens: "distillation-visible",
}
