"""What is known of a data set and its teacher before anything is distilled, as numbers. No test example is read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from disobey.data.confusion import cross_fitted_scores, fast_features
from disobey.data.dataset import Dataset, DataSpec
from disobey.data.flat import flat_inputs
from disobey.data.load import load
from disobey.data.subsets import stratified_order, stream
from disobey.records.runs import RunRecord
from disobey.studies.kit.design import Records
from disobey.studies.kit.memo import remembered

NOISE, SIMILARITY, ENTROPY, DIMENSION = "estimated label noise", "class similarity", "teacher entropy", "log dimension"
SLOPE, PER_CLASS, GAP = "spectrum slope", "log n per class", "teacher gap"
PROPERTIES = (NOISE, SIMILARITY, ENTROPY, DIMENSION, SLOPE, PER_CLASS, GAP)
WORDS = {
    NOISE: "share of training labels that are neither of a fast model's first two guesses, times (C − 1) / (C − 2)",
    SIMILARITY: "how far the fast model's second score lies above the rest, in units of its first; noise raises it",
    ENTROPY: "mean entropy of the teacher's predictions on validation examples, 1 for a uniform guess",
    DIMENSION: "natural logarithm of the participation ratio of the inputs' covariance",
    SLOPE: "of the logarithm of its eigenvalues on that of their rank (the leading 32), with the sign changed",
    PER_CLASS: "natural logarithm of the training examples for each class",
    GAP: "teacher's accuracy on training examples (labels as observed) minus that on validation examples",
}
MOST = 1500  # training examples that are looked at
RANKS = 32


def properties(data: DataSpec, seed: int, teacher: RunRecord, records: Records) -> NDArray:
    """The numbers `PROPERTIES` of one data set and its teacher, (7,).

    Args:
        data: as the runs name it.
        seed: of the runs: it decides the label noise and the subset.
        teacher: its finished run.
        records: of all runs; may remember.
    """

    def read() -> NDArray:
        dataset = load(data, seed)
        of_teacher = teacher_properties(teacher)
        of_data = label_properties(dataset) | input_properties(dataset)
        return np.array([(of_data | of_teacher)[name] for name in PROPERTIES])

    return remembered(records, ("properties", data, seed), [teacher], read)


def label_properties(dataset: Dataset) -> dict[str, float]:
    """Label noise and class similarity by a fast model on training examples, each answered by a fit without it.

    Args:
        dataset: at least three classes.
    """
    small, count = looked_at(dataset), len(dataset.classes)
    labels = small.train.observed
    scores = cross_fitted_scores(fast_features(small), labels, count)
    return {
        NOISE: noise_estimate(scores, labels),
        SIMILARITY: similarity_estimate(scores),
        PER_CLASS: float(np.log(len(dataset.train) / count)),
    }


def noise_estimate(scores: NDArray, labels: NDArray) -> float:
    """Share of labels outside of the two largest scores (N, C), as a share of wrong labels; 0 for two classes.

    A wrong label, dealt to any other class, is the second guess by chance in 1 of C − 1 cases. Right labels beyond the
    second guess count as wrong: where the fast model is poor this is too large.

    >>> noise_estimate(np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), np.array([0, 2]))
    1.0
    """
    count = scores.shape[1]
    if count < 3:
        return 0.0
    own = scores[np.arange(len(labels)), labels]
    beyond = (scores > own[:, None]).sum(axis=1) >= 2
    return min(float(beyond.mean()) * (count - 1) / (count - 2), 1.0)


def similarity_estimate(scores: NDArray) -> float:
    """Mean second score above the mean of the lower ones, in units of the same of the first; (N, C) to a number.

    Noise in the scores makes it larger: the second of several equal ones is never the mean. Wrong labels scale all
    scores alike and cancel. With two classes nothing lies below the second: 0.

    >>> similarity_estimate(np.array([[1.0, 0.5, 0.0, 0.0]]))
    0.5
    """
    if scores.shape[1] < 3:
        return 0.0
    ordered = np.sort(scores, axis=1)[:, ::-1]
    rest = ordered[:, 2:].mean(axis=1)
    first, second = (ordered[:, 0] - rest).mean(), (ordered[:, 1] - rest).mean()
    return float(second / first) if first > 0 else 1.0


def input_properties(dataset: Dataset) -> dict[str, float]:
    """Dimension and slope of the spectrum of the inputs' covariance."""
    x = flat_inputs(looked_at(dataset), "train")
    x = x - x.mean(axis=0)
    values = np.linalg.eigvalsh(x @ x.T if len(x) < x.shape[1] else x.T @ x)[::-1]
    values = values[values > 1e-9 * values[0]]
    lead = np.log(values[:RANKS])
    rank = np.log(np.arange(1, len(lead) + 1))
    slope = float(-np.polyfit(rank, lead, 1)[0]) if len(lead) > 1 else 0.0
    return {DIMENSION: float(np.log(values.sum() ** 2 / (values**2).sum())), SLOPE: slope}


def teacher_properties(teacher: RunRecord) -> dict[str, float]:
    """How sure the teacher is on validation examples, and how much better it knows its training labels."""
    log_probs = np.asarray(teacher.log_probs("validation"), np.float64)
    entropy = float(-(np.exp(log_probs) * log_probs).sum(axis=1).mean() / np.log(log_probs.shape[1]))
    known = teacher.log_probs("train").argmax(axis=1) == teacher.examples["train.given"]
    return {ENTROPY: entropy, GAP: float(known.mean()) - float(teacher.summary["validation_accuracy"])}


def looked_at(dataset: Dataset, most: int = MOST) -> Dataset:
    """The data set with at most so many training examples, stratified and always the same ones."""
    train = dataset.train
    if len(train) <= most:
        return dataset
    rows = np.sort(stratified_order(train.observed, stream(0, "properties"))[:most])
    return dataset.with_train(train.take(rows))


def mean_properties(data: DataSpec, seeds: Sequence[int], teachers: Sequence[RunRecord], records: Records) -> NDArray:
    """Means over seeds, (7,)."""
    return np.mean([properties(data, seed, t, records) for seed, t in zip(seeds, teachers, strict=True)], axis=0)
