"""A slope in logit space that noise does not attenuate: least squares with a second teacher as the instrument.

The least-squares slope of a student's log-odds on its teacher's is pulled towards 0 by whatever is particular to this
one teacher: any other network, distilled or not, looks as if it underfits. A second teacher, trained the same way from
another seed, shares the signal with the first one and not its noise. The covariances with *its* log-odds are those of
the signal alone, and their ratio is the slope.

The class of each example is the second teacher's choice, too. Choosing by the first one would add luck to the first
one's side of the ratio only; so, a student that is one more network of the same kind has a slope of exactly 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.measures.deviation import log_odds


def instrumental_slope(teacher: NDArray, student: NDArray, second: NDArray) -> float:
    """Slope of the student's log-odds on the teacher's, with a second teacher's as the instrument.

    Args:
        teacher: (N, C) natural log-probabilities of the teacher that taught.
        student: (N, C) of the student (or its control), on the same examples.
        second: (N, C) of another teacher of the same recipe that the student never met.

    Returns:
        cov(y, z) / cov(x, z): above 1 the student exaggerates its teacher's confidence. NaN where the second teacher's
        log-odds do not vary with the first one's.

    Reference:
        Wald 1940, Annals of Mathematical Statistics 11; Fuller 1987, Measurement Error Models, section 1.4.

    >>> rng = np.random.default_rng(0)
    >>> signal = rng.normal(0, 2, 4000)
    >>> first, second = (np.stack([s, -s], 1) for s in signal + rng.normal(0, 1, (2, 4000)))
    >>> student = 1.2 * np.stack([signal, -signal], 1)
    >>> round(instrumental_slope(*(z - np.logaddexp(z[:, :1], z[:, 1:]) for z in (first, student, second))), 1)
    1.2
    """
    chosen = second.argmax(axis=1)
    z, x, y = (log_odds(part, chosen) for part in (second, teacher, student))
    finite = np.isfinite(x) & np.isfinite(y) & np.isfinite(z)
    x, y, z = x[finite], y[finite], z[finite]
    if len(z) < 2:
        return float("nan")
    z = z - z.mean()
    below = float(z @ (x - x.mean()))
    return float(z @ (y - y.mean())) / below if below != 0 else float("nan")
