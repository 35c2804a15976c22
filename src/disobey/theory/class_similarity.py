"""When does a teacher denoise the gradient? Closed forms in a model of similar classes.

The model: C classes with orthonormal directions ``e_k`` in D dimensions. Every example has a label y and a secondary
class s != y that it also resembles (all pairs are equally frequent):

    x = own e_y + similarity e_s + noise xi,      own > similarity >= 0,  xi standard normal

The student is a softmax-linear model at zero weights. The true direction of class k is ``e_k`` minus the mean of all.
The one-hot gradient ``G = X' R / N`` has residuals ``R_ik = 1[y_i = k] - 1/C``. On the secondary class it pushes away
from a direction that the example does show (a destructive gradient). A teacher that took one small step along G
predicts ``X G``, so the distillation gradient is ``X' X G / N``.

SNR (signal-to-noise ratio) is the squared gradient along the true direction divided by the rest of the squared
gradient, summed over classes, after the mean over classes is removed (softmax is invariant to it). All ratios are
relative to the one-hot SNR on the same data. They hold for large N and D, to first order in C/D. ``limit=True`` leaves
that order out, which is simpler and up to 15% too high at C/D = 0.01 if similarity is close to own.

The phenomenon is that of arXiv:2301.12923 (section on denoising gradients). Its exact theorem is not reproduced here;
this construction is our own. Derivations: docs/theory.md, section 4.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from disobey.errors import refusal


@dataclass(frozen=True)
class SimilarClasses:
    """The parameters of the model.

    Attributes:
        examples: N.
        classes: C, at least 2.
        features: D, at least C.
        similarity: weight of the secondary class, from 0 to below ``own``.
        noise: standard deviation of the noise, above 0.
        own: weight of an example's own class.

    Raises:
        Refusal: ``similar-classes-size`` or ``similarity-range``.
    """

    examples: int
    classes: int
    features: int
    similarity: float
    noise: float
    own: float = 1.0

    def __post_init__(self) -> None:
        if self.classes < 2 or self.features < self.classes or self.examples < 1:
            got = f"classes {self.classes}, features {self.features}, examples {self.examples}"
            raise refusal("similar-classes-size", "classes >= 2, features >= classes and examples >= 1", got)
        if not (0 <= self.similarity < self.own and self.noise > 0):
            got = f"similarity {self.similarity}, own {self.own}, noise {self.noise}"
            raise refusal("similarity-range", "0 <= similarity < own and noise > 0", got)

    @property
    def aspect(self) -> float:
        """Features per example, D / N."""
        return self.features / self.examples

    @property
    def gradient(self) -> float:
        """Length of the mean one-hot gradient, in units of the true direction's: own/C - similarity/(C(C-1))."""
        return self.own / self.classes - self.similarity / (self.classes * (self.classes - 1))

    @property
    def eigenvalue(self) -> float:
        """Eigenvalue of the noiseless second moment on the class differences."""
        both = self.own * self.similarity / (self.classes * (self.classes - 1))
        return (self.own**2 + self.similarity**2) / self.classes - 2 * both

    @property
    def purity(self) -> float:
        """Share of the class signal that labels carry: C gradient^2 / eigenvalue, and 1 without similarity.

        Its inverse is the largest gain of any teacher-free change of the residuals (`corrected_ratio`).
        """
        return self.classes * self.gradient**2 / self.eigenvalue


@dataclass(frozen=True)
class SnrRatios:
    """SNR of each gradient divided by the SNR of the one-hot gradient.

    Attributes:
        distilled: of distillation from a teacher trained on the same examples.
        cross_fitted: of distillation from a teacher trained on other examples.
        zeroed: of one-hot gradients with the destructive entries set to zero.
        flip_rate: share of examples on which distillation pulls towards the secondary class.
    """

    distilled: float
    cross_fitted: float
    zeroed: float
    flip_rate: float


REFERENCE_MODELS = tuple(SimilarClasses(4500, 10, 900, similarity, 0.2) for similarity in (0.6, 0.0, 0.9))


def one_hot_snr(model: SimilarClasses) -> float:
    """SNR of the one-hot gradient.

    >>> round(one_hot_snr(REFERENCE_MODELS[0]), 2)
    10.89
    """
    return model.classes * model.gradient**2 / (model.noise**2 * model.aspect)


def distilled_ratio(model: SimilarClasses, *, limit: bool = False) -> float:
    """SNR ratio of distillation from a one-step teacher that was trained on the same examples.

    Args:
        model: the parameters.
        limit: leave out the first order in C/D.

    Returns:
        The ratio to the one-hot SNR; above 1 distillation denoises the gradient.

    Example:
        >>> round(distilled_ratio(REFERENCE_MODELS[0]), 3), round(distilled_ratio(REFERENCE_MODELS[0], limit=True), 3)
        (1.126, 1.158)
    """
    q, c, lam, pure = model.noise**2, model.aspect, model.eigenvalue, model.purity
    rest = pure * lam**2 + pure * lam * q * (3 + 2 * c) + q**2 * (1 + 3 * c + c**2)
    if not limit:
        rest += _within_classes(model, lambda d: d**2 + 3 * pure * lam * d + d * q * (2 + 3 * c))
    return (lam + q * (1 + c)) ** 2 / rest


def cross_fitted_ratio(model: SimilarClasses, *, limit: bool = False) -> float:
    """SNR ratio of distillation from a one-step teacher that was trained on another sample of the same size.

    It exceeds `distilled_ratio` unless the noise is overwhelming, because the teacher's noise is independent of the
    student's examples.

    Args:
        model: the parameters.
        limit: leave out the first order in C/D.

    Returns:
        The ratio to the one-hot SNR.

    Example:
        >>> model = REFERENCE_MODELS[0]
        >>> round(cross_fitted_ratio(model), 3), round(cross_fitted_ratio(model, limit=True), 3)
        (1.6, 1.645)
    """
    q, c, lam, pure = model.noise**2, model.aspect, model.eigenvalue, model.purity
    rest = pure * lam**2 + pure * lam * q + q**2 * (1 + c)
    if not limit:
        rest += _within_classes(model, lambda d: d**2 + pure * lam * d + d * q * (2 + c))
    return (lam + q) ** 2 / rest


def distillation_helps(model: SimilarClasses, *, limit: bool = False) -> bool:
    """Whether the same-sample teacher's SNR ratio exceeds 1; it never does without similarity.

    >>> [distillation_helps(model) for model in REFERENCE_MODELS]
    [True, False, True]
    """
    return distilled_ratio(model, limit=limit) > 1


def corrected_ratio(model: SimilarClasses, strength: float) -> float:
    """SNR ratio without a teacher, if the residual on the secondary class is raised from -1/C to (strength - 1)/C.

    Args:
        model: the parameters.
        strength: 0 is one-hot, 1 zeroes the destructive gradient; `best_strength` is the best.

    Returns:
        The ratio to the one-hot SNR, at most 1 / purity.

    Example:
        >>> round(corrected_ratio(REFERENCE_MODELS[0], 6.0), 3)  # = 1 / purity
        1.408
    """
    count = model.classes
    gain = (model.similarity - model.own / (count - 1)) / count**2
    plain = (1 - 1 / count) / count
    power = plain * (1 + (strength / count) ** 2) - 2 * strength / count**3
    return float((1 + strength * gain / model.gradient) ** 2 * plain / power)


def zeroed_ratio(model: SimilarClasses) -> float:
    """SNR ratio of one-hot gradients whose residual on the secondary class is zero, without a teacher.

    >>> round(zeroed_ratio(REFERENCE_MODELS[0]), 3)
    1.121
    """
    return corrected_ratio(model, 1.0)


def best_strength(model: SimilarClasses) -> float:
    """The correction with the highest SNR, C similarity / own: residuals then match what the example shows.

    >>> best_strength(REFERENCE_MODELS[0])
    6.0
    """
    return model.classes * model.similarity / model.own


def flip_rate(model: SimilarClasses, *, cross_fitted: bool = False) -> float:
    """Share of examples whose distillation residual on the secondary class is positive (the one-hot residual is not).

    Args:
        model: the parameters.
        cross_fitted: whether the teacher was trained on other examples.

    Returns:
        A share in [0, 1].

    Example:
            >>> round(flip_rate(REFERENCE_MODELS[0]), 3)
            0.985
    """
    q, c, count = model.noise**2, model.aspect, model.classes
    mean = model.gradient * (model.similarity - (model.own + model.similarity) / count)
    if not cross_fitted:
        mean -= c * q / count  # the example's own noise, memorized with a negative sign
    spread = (c * q**2 / count + q * model.gradient**2) * (1 - 1 / count)
    return float(norm.cdf(mean / np.sqrt(spread)))


def predicted_ratios(model: SimilarClasses, *, limit: bool = False) -> SnrRatios:
    """All closed forms of one model; see `SnrRatios`.

    >>> round(predicted_ratios(REFERENCE_MODELS[1]).zeroed, 3)
    0.99
    """
    return SnrRatios(
        distilled_ratio(model, limit=limit),
        cross_fitted_ratio(model, limit=limit),
        zeroed_ratio(model),
        flip_rate(model),
    )


def _within_classes(model: SimilarClasses, noise: Callable[[float], float]) -> float:
    """Noise inside the span of the class directions, per feature.

    There are C - 2 differences of classes besides the true direction, and the mean of all classes, which has by far the
    largest eigenvalue.
    """
    common = (model.own + model.similarity) ** 2 / model.classes
    return ((model.classes - 2) * noise(model.eigenvalue) + noise(common)) / model.features
