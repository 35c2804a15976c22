"""Linear regression with labels or with a teacher: the closed form of "distillation helps with little data".

N examples with standard normal inputs in D dimensions, labels ``x . theta`` plus noise of variance v, minimum-norm
least squares. A student of a perfect teacher fits targets without noise. The expected excess risk is

    labels,  N < D - 1:  (1 - N/D) |theta|^2 + v N / (D - N - 1)        distilled, N < D:   (1 - N/D) |theta|^2
    labels,  N > D + 1:  v D / (N - D - 1)                              distilled, N >= D:  0

A teacher saves the variance that comes from label noise, and nothing else: the gain is a peak around N = D, not a gain
that grows as the data shrink. At N = D - 1, D and D + 1 the variance with labels has no finite mean. It is returned as
inf, and an average over simulations is dominated there by its largest draws. An imperfect teacher that is independent
of the student's inputs and has the error ``teacher_error`` (expected squared distance to theta) adds
``min(N/D, 1) teacher_error``.

Written as the theory side of arXiv:2510.15516. Derivations: docs/theory.md, section 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from disobey.errors import refusal


@dataclass(frozen=True)
class GainCurve:
    """Risk as a function of the number of examples.

    Attributes:
        sizes: numbers of examples (sizes,).
        labels: risk of training on labels (sizes,); inf where it has no mean.
        distilled: risk of distillation (sizes,).
    """

    sizes: NDArray
    labels: NDArray
    distilled: NDArray

    @property
    def gain(self) -> NDArray:
        """How much lower the distilled risk is (it may be negative with an imperfect teacher)."""
        return self.labels - self.distilled

    @property
    def relative_gain(self) -> NDArray:
        """Gain as a share of the risk with labels: 1 if that is infinite, 0 if both risks are 0."""
        finite = np.isfinite(self.labels) & (self.labels > 0)
        share = np.divide(self.gain, self.labels, out=np.zeros_like(self.labels), where=finite)
        return np.where(np.isinf(self.labels), 1.0, share)


@dataclass(frozen=True)
class SimulatedRisks:
    """Excess risks of all simulated draws, paired by draw.

    Attributes:
        labels: (repeats,).
        distilled: (repeats,).
    """

    labels: NDArray
    distilled: NDArray


def labels_risk(examples: int, dimensions: int, noise_variance: float, *, signal: float = 1.0) -> float:
    """Expected excess risk of training on labels.

    Args:
        examples: N.
        dimensions: D.
        noise_variance: v.
        signal: |theta|^2.

    Returns:
        The risk; inf at N in {D-1, D, D+1} if there is noise.

    Raises:
        Refusal: ``regression-size``.

    Example:
        >>> labels_risk(50, 100, 0.1), labels_risk(201, 100, 0.1), labels_risk(100, 100, 0.1)
        (0.6020408163265306, 0.1, inf)
    """
    return _missed(examples, dimensions, noise_variance, signal) + _variance(examples, dimensions, noise_variance)


def distilled_risk(examples: int, dimensions: int, *, signal: float = 1.0, teacher_error: float = 0.0) -> float:
    """Expected excess risk of fitting the outputs of a teacher, which have no noise.

    Args:
        examples: N.
        dimensions: D.
        signal: |theta|^2.
        teacher_error: expected squared distance of the teacher to theta.

    Returns:
        The risk; 0 from N = D on if the teacher is perfect.

    Example:
        >>> distilled_risk(50, 100), distilled_risk(100, 100), distilled_risk(100, 100, teacher_error=0.2)
        (0.5, 0.0, 0.2)
    """
    missed = _missed(examples, dimensions, teacher_error, signal)
    return missed + min(examples / dimensions, 1.0) * teacher_error


def gain_curve(
    sizes: Sequence[int] | NDArray,
    dimensions: int,
    noise_variance: float,
    *,
    signal: float = 1.0,
    teacher_error: float = 0.0,
) -> GainCurve:
    """Both risks over a grid of sample sizes, and so the gain of distillation.

    Args:
        sizes: numbers of examples.
        dimensions: D.
        noise_variance: v.
        signal: |theta|^2.
        teacher_error: expected squared distance of the teacher to theta.

    Returns:
        The curve.

    Example:
        >>> gain_curve([10, 50, 90, 100, 110, 201], 100, 0.1).gain.round(3)
        array([0.011, 0.102, 1.   ,   inf, 1.111, 0.1  ])
    """
    sizes = np.asarray(sizes, int)
    labels = [labels_risk(int(size), dimensions, noise_variance, signal=signal) for size in sizes]
    distilled = [distilled_risk(int(size), dimensions, signal=signal, teacher_error=teacher_error) for size in sizes]
    return GainCurve(sizes, np.array(labels), np.array(distilled))


def equivalent_labels(risk: float, dimensions: int, noise_variance: float) -> float:
    """The number of labels (beyond D + 1) that reaches a given excess risk: the inverse of `labels_risk`.

    Args:
        risk: excess risk; 0 needs infinitely many labels.
        dimensions: D.
        noise_variance: v, above 0.

    Returns:
        Number of labels, not rounded.

    Raises:
        Refusal: ``regression-size``.

    Example:
        >>> equivalent_labels(0.1, 100, 0.1)
        201.0
    """
    if not (risk >= 0 and noise_variance > 0 and dimensions >= 1):
        got = f"risk {risk}, noise_variance {noise_variance}, dimensions {dimensions}"
        raise refusal("regression-size", "risk >= 0, noise_variance > 0 and dimensions >= 1", got)
    return dimensions + 1 + (noise_variance * dimensions / risk if risk > 0 else np.inf)


def crossover_size(dimensions: int, noise_variance: float, teacher_error: float) -> float:
    """The sample size beyond D + 1 from which labels beat an imperfect, independent teacher.

    A teacher trained on M > D + 1 labels with the same noise has the error ``v D / (M - D - 1)``, and the crossover is
    at M: with fresh data, distillation pays exactly as long as the student has fewer examples than its teacher had.

    Args:
        dimensions: D.
        noise_variance: v, above 0.
        teacher_error: expected squared distance of the teacher to theta.

    Returns:
        Sample size, not rounded.

    Example:
        >>> crossover_size(100, 0.1, labels_risk(300, 100, 0.1))
        300.0
    """
    return equivalent_labels(teacher_error, dimensions, noise_variance)


def simulate_risks(
    examples: int,
    dimensions: int,
    noise_variance: float,
    seed: int,
    *,
    repeats: int = 200,
    signal: float = 1.0,
    teacher_error: float = 0.0,
) -> SimulatedRisks:
    """Simulated risks, every draw with its own inputs, truth, noise and teacher.

    Compare means with the closed form only away from N = D; within a few of D the draws have heavy tails.

    Args:
        examples: N.
        dimensions: D.
        noise_variance: v.
        seed: of the random numbers.
        repeats: number of draws.
        signal: |theta|^2.
        teacher_error: squared distance of the teacher to theta.

    Returns:
        Both risks of every draw.

    Example:
        >>> risks = simulate_risks(20, 10, 0.1, 0, repeats=50)
        >>> risks.labels.shape, bool(risks.distilled.max() < 1e-20)
        ((50,), True)
    """
    _checked(examples, dimensions, noise_variance, signal)
    _checked(examples, dimensions, teacher_error, signal)
    generator = np.random.default_rng(seed)
    labels, distilled = np.empty(repeats), np.empty(repeats)
    for draw in range(repeats):
        inputs = generator.standard_normal((examples, dimensions))
        # Only lengths matter, because the inputs are isotropic: directions are random, lengths are exact.
        truth = _of_length(generator, dimensions, signal)
        teacher = truth + _of_length(generator, dimensions, teacher_error)
        noise = np.sqrt(noise_variance) * generator.standard_normal(examples)
        targets = np.stack([inputs @ truth + noise, inputs @ teacher], axis=1)
        fitted = np.linalg.lstsq(inputs, targets, rcond=None)[0]
        labels[draw], distilled[draw] = np.sum((fitted - truth[:, None]) ** 2, axis=0)
    return SimulatedRisks(labels, distilled)


@dataclass(frozen=True)
class RiskCheck:
    """Simulated students compared with the closed form at one sample size.

    Attributes:
        arm: ``labels``, ``distilled`` or ``gain`` (labels - distilled, paired by draw).
        examples: N.
        dimensions: D.
        noise_variance: v.
        exact: the closed form.
        mean: of the draws.
        error: Monte-Carlo standard error of the mean.
        repeats: number of draws.
    """

    arm: str
    examples: int
    dimensions: int
    noise_variance: float
    exact: float
    mean: float
    error: float
    repeats: int

    @property
    def deviation(self) -> float:
        """Relative deviation, mean / exact - 1. If the closed form is 0: 0 if the mean is rounding error, else inf."""
        return self._relative(self.mean - self.exact)

    @property
    def deviation_error(self) -> float:
        """Monte-Carlo standard error of `deviation`."""
        return self._relative(self.error)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Interval of `deviation`, from the normal distribution of the mean of the draws."""
        reach = float(ndtri(0.5 + level / 2)) * self.deviation_error
        return self.deviation - reach, self.deviation + reach

    def within(self, share: float, level: float = 0.95) -> bool:
        """Whether the whole interval of the deviation lies in [-share, share]."""
        low, high = self.interval(level)
        return -share <= low <= high <= share

    def _relative(self, difference: float) -> float:
        if self.exact != 0:
            return difference / self.exact
        return 0.0 if abs(difference) < 1e-12 else np.inf


def check_closed_form(
    *,
    dimensions: int = 60,
    ratios: Sequence[float] = (0.25, 0.5, 0.8, 1.25, 2.0, 4.0),
    noise_variances: Sequence[float] = (0.0, 0.2),
    seed: int = 0,
    repeats: int = 1500,
    signal: float = 1.0,
) -> tuple[RiskCheck, ...]:
    """Compares simulated minimum-norm students with the closed form at several sample sizes.

    With the defaults the Monte-Carlo error is below 1.5% everywhere; the check takes about six CPU-seconds.

    Args:
        dimensions: D.
        ratios: N/D. With noise, N must not be within 3 of D, where the draws have no variance and their mean no error.
        noise_variances: v.
        seed: of the random numbers.
        repeats: number of draws.
        signal: |theta|^2.

    Returns:
        Three checks (labels, distilled, gain) for every noise variance and ratio.

    Raises:
        Refusal: ``heavy-tails``.

    Example:
        >>> check = check_closed_form(dimensions=20, ratios=[2.0], noise_variances=[0.2], repeats=200)[0]
        >>> check.arm, check.examples, round(check.exact, 4), check.within(0.2)
        ('labels', 40, 0.2105, True)
    """
    checks = []
    for noise_variance in noise_variances:
        for ratio in ratios:
            examples = round(ratio * dimensions)
            if abs(examples - dimensions) <= 3 and noise_variance > 0:
                expected = f"sample sizes more than 3 away from D = {dimensions}"
                raise refusal("heavy-tails", expected, examples, "more dimensions")
            draws = simulate_risks(examples, dimensions, noise_variance, seed, repeats=repeats, signal=signal)
            exact = labels_risk(examples, dimensions, noise_variance, signal=signal)
            taught = distilled_risk(examples, dimensions, signal=signal)
            for arm, found, expected in (
                ("labels", draws.labels, exact),
                ("distilled", draws.distilled, taught),
                ("gain", draws.labels - draws.distilled, exact - taught),
            ):
                error = float(found.std(ddof=1) / np.sqrt(repeats))
                mean = float(found.mean())
                checks.append(
                    RiskCheck(arm, examples, dimensions, float(noise_variance), expected, mean, error, repeats)
                )
    return tuple(checks)


def _missed(examples: int, dimensions: int, variance: float, signal: float) -> float:
    """The part of the truth that the examples do not span."""
    _checked(examples, dimensions, variance, signal)
    return max(1 - examples / dimensions, 0.0) * signal


def _variance(examples: int, dimensions: int, noise_variance: float) -> float:
    """Noise variance times the mean trace of the inverse Gram matrix (inverse Wishart)."""
    if noise_variance == 0 or examples == 0:
        return 0.0
    if abs(examples - dimensions) <= 1:
        return np.inf
    return noise_variance * min(examples, dimensions) / (abs(examples - dimensions) - 1)


def _of_length(generator: np.random.Generator, dimensions: int, squared: float) -> NDArray:
    direction = generator.standard_normal(dimensions)
    return direction * np.sqrt(squared) / np.linalg.norm(direction)


def _checked(examples: int, dimensions: int, variance: float, signal: float) -> None:
    if examples < 0 or dimensions < 1 or not (variance >= 0 and signal >= 0):
        got = f"examples {examples}, dimensions {dimensions}, variance {variance}, signal {signal}"
        raise refusal("regression-size", "examples >= 0, dimensions >= 1, variances and signal >= 0", got)
