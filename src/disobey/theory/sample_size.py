"""Linear regression with labels or with a teacher: the closed form of "distillation helps with little data".

N examples with standard normal inputs in D dimensions, labels ``x . theta`` plus noise of variance v, minimum-norm
least squares. A student of a perfect teacher fits noiseless targets. Expected excess risk:

    labels,  N < D - 1:  (1 - N/D) |theta|^2 + v N / (D - N - 1)        distilled, N < D:   (1 - N/D) |theta|^2
    labels,  N > D + 1:  v D / (N - D - 1)                              distilled, N >= D:  0

What the teacher saves is the variance from label noise and nothing else: a hump around N = D, not a gain that grows as
data shrink. At N = D - 1, D, D + 1 the variance with labels has no finite mean; it is given as inf, and an average over
simulations there is the average of its largest draws. An imperfect teacher, independent of the student's inputs and off
by ``teacher_error`` (expected squared distance to theta), adds ``min(N/D, 1) teacher_error``.

Written as the theory side of arXiv 2510.15516; derivations in docs/theory.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri


@dataclass(frozen=True)
class GainCurve:
    """Risk against sample size: arrays (sizes,). ``gain`` = labels - distilled; inf where labels' risk has no mean."""

    sizes: NDArray
    labels: NDArray
    distilled: NDArray

    @property
    def gain(self) -> NDArray:
        """How much lower the distilled risk is (may be negative with an imperfect teacher)."""
        return self.labels - self.distilled

    @property
    def relative_gain(self) -> NDArray:
        """Gain as a share of the labels' risk: 1 where that is infinite, 0 where both risks are 0."""
        finite = np.isfinite(self.labels) & (self.labels > 0)
        share = np.divide(self.gain, self.labels, out=np.zeros_like(self.labels), where=finite)
        return np.where(np.isinf(self.labels), 1.0, share)


@dataclass(frozen=True)
class SimulatedRisks:
    """Excess risk of every simulated draw: ``labels`` and ``distilled`` (repeats,), paired by the draw."""

    labels: NDArray
    distilled: NDArray


def labels_risk(examples: int, dimensions: int, noise_variance: float, *, signal: float = 1.0) -> float:
    """Expected excess risk of training on labels; ``signal`` is |theta|^2. inf at N in {D-1, D, D+1} with noise.

    >>> labels_risk(50, 100, 0.1), labels_risk(201, 100, 0.1), labels_risk(100, 100, 0.1)
    (0.6020408163265306, 0.1, inf)
    """
    return _missed(examples, dimensions, noise_variance, signal) + _variance(examples, dimensions, noise_variance)


def distilled_risk(examples: int, dimensions: int, *, signal: float = 1.0, teacher_error: float = 0.0) -> float:
    """Expected excess risk of fitting a teacher's noiseless outputs; 0 from N = D on if the teacher is the truth.

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
    """Both risks over a grid of sample sizes, hence the distillation gain curve.

    >>> gain_curve([10, 50, 90, 100, 110, 201], 100, 0.1).gain.round(3)
    array([0.011, 0.102, 1.   ,   inf, 1.111, 0.1  ])
    """
    sizes = np.asarray(sizes, int)
    labels = [labels_risk(int(size), dimensions, noise_variance, signal=signal) for size in sizes]
    distilled = [distilled_risk(int(size), dimensions, signal=signal, teacher_error=teacher_error) for size in sizes]
    return GainCurve(sizes, np.array(labels), np.array(distilled))


def equivalent_labels(risk: float, dimensions: int, noise_variance: float) -> float:
    """How many labels (beyond D + 1) reach an excess risk: the inverse of ``labels_risk``; inf for a risk of 0.

    >>> equivalent_labels(0.1, 100, 0.1)
    201.0
    """
    if not (risk >= 0 and noise_variance > 0 and dimensions >= 1):
        raise ValueError("expected risk >= 0, noise_variance > 0 and dimensions >= 1")
    return dimensions + 1 + (noise_variance * dimensions / risk if risk > 0 else np.inf)


def crossover_size(dimensions: int, noise_variance: float, teacher_error: float) -> float:
    """The sample size beyond D + 1 from which labels beat an imperfect, independent teacher.

    A teacher trained on M > D + 1 labels of the same noise has error ``v D / (M - D - 1)``, and the crossover is M:
    with fresh data distillation pays exactly as long as the student has fewer examples than its teacher had.

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
    """Draws of both risks, every draw with its own inputs, truth, noise and teacher.

    Compare means with the closed form away from N = D only; within a few of D the draws have heavy tails.

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
        # Only lengths matter: the inputs are isotropic, so direction is free and length is fixed exactly.
        truth = _of_length(generator, dimensions, signal)
        teacher = truth + _of_length(generator, dimensions, teacher_error)
        noise = np.sqrt(noise_variance) * generator.standard_normal(examples)
        targets = np.stack([inputs @ truth + noise, inputs @ teacher], axis=1)
        fitted = np.linalg.lstsq(inputs, targets, rcond=None)[0]
        labels[draw], distilled[draw] = np.sum((fitted - truth[:, None]) ** 2, axis=0)
    return SimulatedRisks(labels, distilled)


@dataclass(frozen=True)
class RiskCheck:
    """Simulated students against the closed form at one sample size: what the mean of ``repeats`` draws should be.

    arm: ``labels``, ``distilled`` or ``gain`` (labels - distilled, paired by the draw). exact: the closed form. mean,
    error: of the draws, and the Monte-Carlo standard error of that mean.
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
        """mean / exact - 1; where the closed form is 0: 0 if the mean is rounding too, else inf."""
        return self._relative(self.mean - self.exact)

    @property
    def deviation_error(self) -> float:
        """Monte-Carlo standard error of `deviation`."""
        return self._relative(self.error)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Of `deviation`, by the normal distribution of the mean of the draws."""
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
    """Minimum-norm linear students, simulated, against the closed form: three checks a ratio N/D and noise variance.

    With the defaults the Monte-Carlo error is below 1.5 % everywhere, in about six CPU-seconds. Ratios at which N is within
    3 of D are a `ValueError`: the draws have no variance there, so their mean has no error to state.

    >>> check = check_closed_form(dimensions=20, ratios=[2.0], noise_variances=[0.2], repeats=200)[0]
    >>> check.arm, check.examples, round(check.exact, 4), check.within(0.2)
    ('labels', 40, 0.2105, True)
    """
    checks = []
    for noise_variance in noise_variances:
        for ratio in ratios:
            examples = round(ratio * dimensions)
            if abs(examples - dimensions) <= 3 and noise_variance > 0:
                raise ValueError(
                    f"expected sample sizes more than 3 away from D = {dimensions}; came {examples}; try more dimensions"
                )
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
    """What the examples do not span of the truth."""
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
        raise ValueError(
            f"expected examples >= 0, dimensions >= 1, variances and signal >= 0; got {examples}, {dimensions}, "
            f"{variance}, {signal}"
        )
