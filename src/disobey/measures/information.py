"""What a teacher has to teach beyond its choice, and whether a student learned it from *this* teacher.

"Dark knowledge" is the teacher's distribution over the classes other than the label. The part that is the same for all
examples of a class could be taught by a table of class similarities; the rest needs the teacher on each example.
Shapes: N examples, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, xlogy

from disobey.errors import refusal
from disobey.measures.deviation import log_odds
from disobey.measures.inference.measure import Columns, Measure
from disobey.measures.inference.statistics import correlation_coefficient, mean, quiet
from disobey.records.predictions import Predictions


@cache
def softness(temperature: float) -> Callable[[Predictions], Columns]:
    """Columns of the teacher at a temperature: (entropy in nats, probability beyond the top class), each (N,)."""

    def columns(predictions: Predictions) -> Columns:
        probs = np.exp(log_softmax(predictions.teacher / temperature, axis=1))
        rest = np.sort(probs, axis=1)[:, :-1].sum(axis=1)  # 1 − max would round to 0
        return -xlogy(probs, probs).sum(axis=1), rest

    return columns


def beyond_twin(predictions: Predictions) -> Columns:
    """(x, y, z), each (N,): log-odds of the teacher's choice under teacher, student and control (twin), nats."""
    assert predictions.twin is not None
    top = predictions.teacher.argmax(axis=1)
    return tuple(log_odds(p, top) for p in (predictions.teacher, predictions.student, predictions.twin))


@quiet
def partial_correlation(x: NDArray, y: NDArray, z: NDArray, *, weights: NDArray | None = None) -> NDArray:
    """Correlation of x and y with the linear part of z taken out of both.

    >>> rng = np.random.default_rng(0)
    >>> z = rng.normal(size=4000)
    >>> x, y = z + rng.normal(size=4000), z + rng.normal(size=4000)
    >>> abs(float(partial_correlation(x, y, z))) < 0.05 < float(correlation_coefficient(x, y))
    True
    """
    xy, xz, yz = (correlation_coefficient(a, b, weights=weights) for a, b in ((x, y), (x, z), (y, z)))
    return (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))


def _pick(index: int, *columns: NDArray, weights: NDArray | None = None) -> NDArray:
    return mean(columns[index], weights=weights)


def _all_finite(*columns: NDArray) -> NDArray:
    return np.logical_and.reduce([np.isfinite(column) for column in columns])


def softness_measures(temperature: float) -> tuple[Measure, Measure]:
    """The teacher's entropy and its probability beyond the top class, at one temperature."""
    ending = "" if temperature == 1 else f".T{temperature:g}"
    columns = softness(temperature)
    return (
        Measure("teacher_entropy" + ending, columns, partial(_pick, 0), about="entropy of the teacher, nats"),
        Measure("teacher_rest" + ending, columns, partial(_pick, 1), about="probability beyond the teacher's choice"),
    )


MEASURES = {
    measure.name: measure
    for measure in (
        *softness_measures(1.0),
        *softness_measures(4.0),
        Measure(
            "explained_beyond_twin",
            beyond_twin,
            partial_correlation,
            _all_finite,
            ("twin",),
            "correlation of teacher and student log-odds that the twin does not share",
        ),
    )
}


@dataclass(frozen=True)
class DarkKnowledge:
    """How the teacher's non-target distribution varies.

    Attributes:
        similarity: (C, C), row = label, diagonal 0, rows sum to 1; NaN rows for absent classes.
        between: variance of the class means, as a mean squared distance in probability.
        within: mean variance around the class means.
    """

    similarity: NDArray
    between: float
    within: float

    @property
    def instance_share(self) -> float:
        """Share of the variance that is about the single example; 1 where the class says nothing about the rest."""
        total = self.within + self.between
        return self.within / total if total > 0 else np.nan


def dark_knowledge(predictions: Predictions, *, temperature: float = 1.0) -> DarkKnowledge:
    """Class similarities of the teacher and how much of its non-target distribution is about the single example.

    Args:
        predictions: N examples; the target is the label, or the teacher's own choice without labels.
        temperature: of the teacher.

    Returns:
        The class similarities, (C, C): a quarter of a gigabyte at 5,000 classes; and two variances.

    >>> teacher = np.log([[0.8, 0.15, 0.05], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]])
    >>> known = dark_knowledge(Predictions.from_logits(teacher, teacher, [0, 0, 1]))
    >>> known.similarity[0].round(2), round(known.within, 10)
    (array([0.  , 0.75, 0.25]), 0.0)
    """
    classes = predictions.n_classes
    sums, counts, squares = np.zeros((classes, classes)), np.zeros(classes), 0.0
    for chunk in predictions.chunks(max(1, 2**22 // classes)):
        targets = chunk.teacher.argmax(axis=1) if chunk.labels is None else chunk.labels
        rest = np.array(chunk.teacher / temperature)
        rest[np.arange(len(chunk)), targets] = -np.inf
        rest = np.exp(log_softmax(rest, axis=1))
        np.add.at(sums, targets, rest)
        counts += np.bincount(targets, minlength=classes)
        squares += float((rest**2).sum())
    present = counts > 0
    means = np.full_like(sums, np.nan)
    means[present] = sums[present] / counts[present, None]
    n, overall = counts.sum(), sums.sum(axis=0) / counts.sum()
    of_means = float((counts[present] * (means[present] ** 2).sum(axis=1)).sum() / n)
    between, within = of_means - float(overall @ overall), float(squares / n - of_means)
    return DarkKnowledge(means, max(between, 0.0), max(within, 0.0))


def similarity_blocks(similarity: NDArray, groups: int) -> NDArray:
    """Groups of similar classes: average-linkage clusters of the symmetrized similarity matrix.

    Args:
        similarity: (C, C), as `dark_knowledge` gives it.
        groups: how many, at most.

    Returns:
        (C,) group of each class, numbered by its first class.

    >>> similarity_blocks(np.array([[0, 0.1, 0.9], [0.5, 0, 0.5], [0.8, 0.2, 0]]), 2)
    array([0, 1, 0])
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    together = np.nan_to_num(similarity)
    together = 0.5 * (together + together.T)
    distance = together.max() - together
    np.fill_diagonal(distance, 0.0)
    found = fcluster(linkage(squareform(distance, checks=False), "average"), groups, "maxclust")
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def shuffled_teacher(predictions: Predictions, *, within_classes: bool, seed: int = 0) -> Predictions:
    """The null for "did it learn from this teacher": the teacher's rows dealt out anew.

    Args:
        predictions: N examples.
        within_classes: deal out within each label: this keeps what the teacher knows of the class, and destroys what it
            knows of the example. Otherwise both are destroyed.
        seed: of the dealing.

    Raises:
        Refusal: ``missing-labels``, where they are needed.
    """
    rng = np.random.default_rng(seed)
    if not within_classes:
        return replace(predictions, teacher=predictions.teacher[rng.permutation(len(predictions))])
    if predictions.labels is None:
        raise refusal("missing-labels", "predictions with labels to shuffle the teacher within classes", "none")
    # Two orders that sort by class, one of them random inside: matching them up permutes within classes.
    dealt = np.lexsort((rng.random(len(predictions)), predictions.labels))
    rows = np.empty(len(predictions), dtype=np.int64)
    rows[np.argsort(predictions.labels, kind="stable")] = dealt
    return replace(predictions, teacher=predictions.teacher[rows])
