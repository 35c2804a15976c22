"""Is the student's confidence equal to its accuracy? NLL, Brier, calibration errors, reliability.

All measures are about `Predictions.student` against the *true* labels; `inference.measure.on_teacher` and `on_twin` put
the others in its place. Confidence is the probability of the most likely class. Shapes: N examples, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from disobey.errors import refusal
from disobey.measures.inference.clusters import codes_of
from disobey.measures.inference.examples import mean_of
from disobey.measures.inference.measure import Columns, Measure
from disobey.measures.inference.resampling import wilson_interval
from disobey.measures.inference.statistics import mean, ones_if_none, quiet
from disobey.records.predictions import Predictions

BINS = 15


def scores(predictions: Predictions) -> Columns:
    """What calibration is computed from, example by example.

    Args:
        predictions: N examples with labels.

    Returns:
        (nll, brier, confidence, right), each (N,): nll in nats, brier the squared distance to the one-hot label (0 to
        2), confidence the probability of the most likely class, right 0 or 1.
    """
    assert predictions.labels is not None
    rows, labels = np.arange(len(predictions)), predictions.labels
    probs = np.exp(predictions.student)
    top = predictions.student.argmax(axis=1)
    squared = (probs**2).sum(axis=1) - 2 * probs[rows, labels] + 1
    right = (top == labels).astype(np.float64)
    return -predictions.student[rows, labels], squared, probs[rows, top], right


def width_bins(confidence: NDArray, bins: int = BINS) -> NDArray:
    """Bin number (N,) of each confidence (N,): equally wide bins that include their upper edge."""
    return np.clip(np.searchsorted(np.linspace(0, 1, bins + 1), confidence, side="left") - 1, 0, bins - 1)


def mass_bins(confidence: NDArray, bins: int = BINS) -> NDArray:
    """Bin number (N,) of each confidence (N,): equally filled bins; equal confidences share one."""
    edges = np.quantile(confidence, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges, confidence, side="left")


Binning = Callable[[NDArray], NDArray]


@quiet
def bin_sums(bins: NDArray, columns: NDArray, weights: NDArray) -> NDArray:
    """Weighted sums of columns (K, N) in each non-empty bin: (K, ..., bins)."""
    order = np.argsort(bins, kind="stable")
    starts = np.flatnonzero(np.diff(bins[order], prepend=-1))
    weights = weights[..., order]
    return np.stack([np.add.reduceat(weights * column[order], starts, axis=-1) for column in columns])


@quiet
def calibration_error(
    confidence: NDArray, right: NDArray, *, binning: Binning = width_bins, weights: NDArray | None = None
) -> NDArray:
    """Expected calibration error: mean over bins of |accuracy − confidence|, weighted by their examples.

    Never negative, so it is too large for a calibrated model on few examples: see `debiased_error`.

    Args:
        confidence: (N,) from 0 to 1.
        right: (N,) 0 or 1.
        binning: from confidences to bin numbers.
        weights: (..., N) of the examples; one each where None.

    Reference:
        Guo, Pleiss, Sun and Weinberger 2017, ICML, section 2.

    >>> float(calibration_error(np.array([0.9, 0.9, 0.6, 0.6]), np.array([1.0, 1.0, 0.0, 1.0])).round(3))
    0.1
    """
    weights = ones_if_none(weights, confidence)
    (sums,) = bin_sums(binning(confidence), (right - confidence)[None], weights)
    return np.abs(sums).sum(axis=-1) / weights.sum(axis=-1)


@quiet
def debiased_error(
    confidence: NDArray, right: NDArray, *, binning: Binning = mass_bins, weights: NDArray | None = None
) -> NDArray:
    """Calibration error without its upward bias: every bin's gap counts with a sign that other data gave it.

    |gap| is too large because a noisy gap chooses its own sign. Here a gap's noise is split into two independent parts,
    as two halves of the data would be: one part, with the four neighbouring bins, chooses the sign, the other is
    counted with it (`signed_gaps`). The mean is 0 for a calibrated model and never above the error; where the sign is
    in doubt (gaps of about one standard error) it is below. Values below 0 are possible and not clipped, which would
    be a bias again. Bins with one example have no standard error and count as they are.

    Args:
        confidence: (N,) from 0 to 1.
        right: (N,) 0 or 1.
        binning: from confidences to bin numbers.
        weights: (..., N) of the examples; one each where None.
    """
    weights = ones_if_none(weights, confidence)
    gap = right - confidence
    n, first, second = bin_sums(binning(confidence), np.stack([np.ones_like(gap), gap, gap**2]), weights)
    mean_gap = np.where(n > 0, first / n, 0.0)
    variance = np.maximum(second / n - mean_gap**2, 0.0) / (n - 1)
    counted = n * signed_gaps(mean_gap, np.sqrt(np.where(n > 1, variance, 0.0)))
    return counted.sum(axis=-1) / weights.sum(axis=-1)


SPLIT = 0.5  # noise added to choose a sign, in standard errors of the gap; what is counted then has 1/SPLIT added
BESIDE = 2  # bins on either side that help to choose
LEAN = 2.0  # standard errors that those bins can at most weigh against a bin's own gap


@quiet
def signed_gaps(gap: NDArray, error: NDArray) -> NDArray:
    """Estimates of |gap| without the bias of choosing a sign by the gap itself.

    With a standard normal Z, gap + SPLIT·error·Z and gap − error·Z / SPLIT are independent (a Gaussian split in two, as
    in Rasines and Young 2023, Biometrika 110, or Leiner, Duan, Wasserman and Ramdas 2023, JASA). The first, with what
    the neighbouring bins suggest, gives the sign for the second; the mean over Z is in closed form, nothing is drawn.
    At the gap g the mean is g · (1 − 2 · chance of the wrong sign).

    Args:
        gap: (..., bins) accuracy minus confidence.
        error: (..., bins) standard errors of the gaps.

    >>> signed_gaps(np.array([0.2, 0.0, -0.2]), np.array([0.01, 0.0, 0.01])).round(3)
    array([0.2, 0. , 0.2])
    """
    own = np.where(gap == 0, 0.0, gap / error)
    z = np.clip(own, -3, 3)  # one bin of few examples with a tiny error must not decide for its neighbours
    beside = np.zeros_like(z)
    for step in range(1, min(BESIDE, z.shape[-1] - 1) + 1):
        beside[..., step:] += z[..., :-step]
        beside[..., :-step] += z[..., step:]
    u = (own + LEAN * np.tanh(beside / LEAN)) / SPLIT
    return gap * (2 * ndtr(u) - 1) - 2 * error / SPLIT * np.exp(-0.5 * u**2) / np.sqrt(2 * np.pi)


Binned = tuple[NDArray, NDArray, NDArray, NDArray]
DRAWS = 1000  # of the binned gaps, for a standard error


def debiased_spread(*columns: NDArray, codes: NDArray | None = None) -> float:
    """Standard error over examples of `debiased_error`, or of a difference of two.

    The binned gaps are normal, with a covariance that the examples give, across two models as well. They, and not the
    examples, are drawn anew: linear in the examples, and the same at every size. Derivatives (a jackknife) do not serve
    here: near a gap of 0 the slope is steep both ways while the statistic itself hardly moves.

    Args:
        *columns: confidence and right, each (N,); of two models one after the other for the difference.
        codes: (N,) the cluster of each example: then residuals add up within clusters before they are squared.

    Returns:
        NaN below four examples a bin, where gaps are not normal.
    """
    if len(columns[0]) < 4 * BINS:
        return np.nan
    return _spread([_binned(*columns[i : i + 2]) for i in range(0, len(columns), 2)], codes)


def _spread(models: list[Binned], codes: NDArray | None) -> float:
    """Of one model's error, or of the first's minus the second's."""
    if codes is None:
        covariance = np.block([[_covariance(a, b) for b in models] for a in models])
    else:
        sums = np.concatenate([_by_cluster(one, codes) for one in models], axis=1)
        count = np.count_nonzero(np.bincount(codes))
        covariance = sums.T @ sums * count / max(count - 1, 1)
    values, vectors = np.linalg.eigh(covariance)
    noise = _standard_normals(len(covariance)) @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
    total, start = np.zeros(DRAWS), 0
    for sign, (_, _, n, gap) in zip((1, -1), models, strict=False):
        error = np.sqrt(np.diag(covariance)[start : start + len(n)])
        total += sign * signed_gaps(gap + noise[:, start : start + len(n)], error) @ (n / n.sum())
        start += len(n)
    return float(total.std())


@quiet
def _binned(confidence: NDArray, right: NDArray) -> Binned:
    """Of one model: bin of each example, its share of its bin's error; examples and mean gap of each bin."""
    gap = np.subtract(right, confidence, dtype=np.float64)
    bins = mass_bins(confidence)
    bins = (np.cumsum(np.bincount(bins) > 0) - 1)[bins]  # without empty ones
    n = np.bincount(bins).astype(np.float64)
    mean_gap = np.bincount(bins, gap) / n
    scale = np.where(n > 1, 1 / np.sqrt(n * (n - 1)), 0.0)
    return bins, (gap - mean_gap[bins]) * scale[bins], n, mean_gap


def _covariance(a: Binned, b: Binned) -> NDArray:
    """Of two models' mean gaps over the same examples, (bins, bins)."""
    shape = len(a[2]), len(b[2])
    return np.bincount(a[0] * shape[1] + b[0], a[1] * b[1], minlength=shape[0] * shape[1]).reshape(shape)


def _by_cluster(one: Binned, codes: NDArray) -> NDArray:
    """A model's residuals added up by cluster and bin, (clusters, bins)."""
    bins, shape = one[0], (int(codes.max()) + 1, len(one[2]))
    return np.bincount(codes * shape[1] + bins, one[1], minlength=shape[0] * shape[1]).reshape(shape)


@cache
def _standard_normals(k: int) -> NDArray:
    """(DRAWS, k) fixed draws whose mean is 0 and covariance the identity exactly: linear statistics get no noise."""
    half = np.random.default_rng(0).normal(size=(DRAWS // 2, k))
    values, vectors = np.linalg.eigh(half.T @ half / len(half))
    half = half @ (vectors / np.sqrt(values)) @ vectors.T
    return np.concatenate([half, -half])


@quiet
def squared_error(
    confidence: NDArray, right: NDArray, *, binning: Binning = mass_bins, weights: NDArray | None = None
) -> NDArray:
    """Squared calibration error without bias: each bin's squared gap less its sampling variance.

    Unbiased for the binned error even where that is 0, which no estimate of the absolute one is (Kumar, Liang and Ma
    2019, section 5; the reliability term of Ferro and Fricker 2012). Bins with one example are left out.
    """
    weights = ones_if_none(weights, confidence)
    gap = right - confidence
    n, first, second = bin_sums(binning(confidence), np.stack([np.ones_like(gap), gap, gap**2]), weights)
    excess = first**2 / n - (second - first**2 / n) / (n - 1)
    return np.where(n > 1, excess, 0.0).sum(axis=-1) / weights.sum(axis=-1)


@quiet
def brier_parts(confidence: NDArray, right: NDArray, *, part: int, weights: NDArray | None = None) -> NDArray:
    """Reliability (part 0), resolution (1) or uncertainty (2) of the chosen class's squared error.

    mean (right − confidence)² = reliability − resolution + uncertainty, exactly: the resolution includes the two
    within-bin terms of Stephenson, Coelho and Jolliffe 2008 (Weather and Forecasting 23). Fifteen equally filled bins.
    """
    weights = ones_if_none(weights, confidence)
    columns = np.stack([np.ones_like(right), confidence, right, (right - confidence) ** 2])
    n, conf, hits, squared = bin_sums(mass_bins(confidence), columns, weights)
    total = weights.sum(axis=-1)
    gaps = np.where(n > 0, (conf - hits) ** 2 / n, 0.0)
    base = hits.sum(axis=-1) / total
    reliability, uncertainty = gaps.sum(axis=-1) / total, base * (1 - base)
    if part == 0:
        return reliability
    return uncertainty if part == 2 else reliability + uncertainty - squared.sum(axis=-1) / total


def _of_scores(statistic: Callable, pick: tuple[int, ...]) -> Callable:
    """A statistic of some of the columns of `scores`."""

    def of_columns(*columns, weights=None):
        return statistic(*(columns[i] for i in pick), weights=weights)

    return of_columns


_STATISTICS = {
    "nll": (mean, (0,), "negative log-likelihood of the label, nats"),
    "brier": (mean, (1,), "squared distance of the probabilities to the one-hot label (0 to 2)"),
    "confidence": (mean, (2,), "mean probability of the most likely class"),
    "ece": (calibration_error, (2, 3), "expected calibration error, 15 equally wide bins (biased upward)"),
    "ece_mass": (
        partial(calibration_error, binning=mass_bins),
        (2, 3),
        "expected calibration error, 15 equally filled bins (biased upward)",
    ),
    "ece_debiased": (debiased_error, (2, 3), "calibration error, 15 equally filled bins, bias taken off"),
    "squared_error_debiased": (squared_error, (2, 3), "squared calibration error, unbiased, may be negative"),
    "overconfidence": (
        lambda confidence, right, *, weights=None: mean(confidence - right, weights=weights),
        (2, 3),
        "mean confidence minus accuracy",
    ),
    "reliability": (partial(brier_parts, part=0), (2, 3), "reliability term of the chosen class's Brier score"),
    "resolution": (partial(brier_parts, part=1), (2, 3), "resolution term (with within-bin terms)"),
    "uncertainty": (partial(brier_parts, part=2), (2, 3), "uncertainty term: accuracy times error rate"),
}


def _spread_of_scores(*columns: NDArray, codes: NDArray | None = None) -> float:
    return debiased_spread(*(column for i, column in enumerate(columns) if i % 4 in (2, 3)), codes=codes)


_SPREADS = {"ece_debiased": _spread_of_scores}
BY_CONFIDENCE = 2  # the column of `scores` whose order bins are runs of
MEASURES = {
    name: Measure(
        name,
        scores,
        _of_scores(statistic, pick),
        needs=("labels",),
        about=about,
        spread=_SPREADS.get(name),
        order=BY_CONFIDENCE,
    )
    for name, (statistic, pick, about) in _STATISTICS.items()
}


@dataclass(frozen=True)
class Reliability:
    """One point a bin, for a reliability diagram; empty bins are left out.

    Attributes:
        confidence: (bins,) mean confidence.
        accuracy: (bins,).
        low: (bins,) Wilson's interval of the accuracy; over clusters where these are known (0 and 1 by too few).
        high: (bins,).
        n: (bins,) examples.
    """

    confidence: NDArray
    accuracy: NDArray
    low: NDArray
    high: NDArray
    n: NDArray


def reliability_curve(predictions: Predictions, *, binning: Binning = mass_bins, level: float = 0.95) -> Reliability:
    """Accuracy against confidence of the student, with intervals for each bin's accuracy.

    Args:
        predictions: N examples with labels.
        binning: from confidences to bin numbers.
        level: of the intervals.

    Raises:
        Refusal: ``missing-labels``.
    """
    if predictions.labels is None:
        raise refusal("missing-labels", "predictions with labels for a reliability curve", "none")
    codes = None if predictions.cluster is None else codes_of(predictions.cluster)
    parts = [scores(chunk)[2:] for chunk in predictions.chunks(max(1, 2**22 // predictions.n_classes))]
    confidence, right = (np.concatenate(column) for column in zip(*parts, strict=True))
    columns, bins = np.stack([np.ones_like(right), confidence, right]), binning(confidence)
    n, conf, hits = bin_sums(bins, columns, np.ones(len(right)))
    accuracy = hits / n
    if codes is not None:  # the examples of a bin are alike where they are of one cluster
        members = [np.flatnonzero(bins == number) for number in np.unique(bins)]
        found = [mean_of("accuracy", right[rows], level, codes[rows]) for rows in members]
        low, high = (
            np.nan_to_num([getattr(e, side) for e in found], nan=unknown) for side, unknown in (("low", 0), ("high", 1))
        )
        return Reliability(conf / n, accuracy, low, high, n.astype(np.int64))
    low, high = np.transpose([wilson_interval(share, size, level) for share, size in zip(accuracy, n, strict=True)])
    return Reliability(conf / n, accuracy, low, high, n.astype(np.int64))
