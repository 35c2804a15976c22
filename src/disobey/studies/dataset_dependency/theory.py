"""The planted case with a known answer: students of one gradient step, with the properties measured as of all data.

By the closed form of `theory.class_similarity` distillation makes the first gradient of a softmax-linear student
noisier where classes are not similar, and cleaner where they are. Nothing is trained here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import DataSpec
from disobey.data.load import load
from disobey.data.sources.planted import class_frame
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Estimate
from disobey.studies.dataset_dependency.properties import SIMILARITY, label_properties
from disobey.theory.class_similarity import SimilarClasses, distilled_ratio
from disobey.theory.class_similarity_simulation import gradient_snr, one_hot_residuals

SIMILARITIES = (0.0, 0.2, 0.4, 0.6, 0.8)
EXAMPLES, CLASSES, FEATURES, SIGMA = 4000, 6, 160, 0.3


@dataclass(frozen=True, eq=False)
class OneStep:
    """Draws of the generator (B similarities, R draws).

    Attributes:
        similarity: (B, R) as measured on training examples.
        log_ratio: (B, R) natural logarithm of the SNR of the distillation gradient over that of the labels'.
        predicted: (B,) the same by the closed form.
    """

    similarity: NDArray
    log_ratio: NDArray
    predicted: NDArray

    def rise(self) -> Estimate:
        """Slope of the log ratio on the measured similarity, over draws."""
        centred = self.similarity - self.similarity.mean(axis=0)
        slopes = (centred * self.log_ratio).sum(axis=0) / (centred**2).sum(axis=0)
        return mean_over_runs(slopes, "slope of the log SNR ratio on measured similarity", over="draws")

    def without(self) -> Estimate:
        """The log ratio where no classes are similar, over draws."""
        return mean_over_runs(self.log_ratio[0], "log SNR ratio without similarity", over="draws")


@cache
def one_step(draws: int) -> OneStep:
    """So many draws at every similarity."""
    found = np.array([[_draw(b, seed) for seed in range(draws)] for b in SIMILARITIES])
    models = [SimilarClasses(EXAMPLES // 2, CLASSES, FEATURES, b, SIGMA) for b in SIMILARITIES]
    return OneStep(found[..., 0], found[..., 1], np.log([distilled_ratio(model) for model in models]))


def _draw(similarity: float, seed: int) -> tuple[float, float]:
    """(measured similarity, log SNR ratio) of one data set."""
    name = (
        f"synthetic:planted#examples={EXAMPLES},classes={CLASSES},features={FEATURES},similarity={similarity:g},"
        f"sigma={SIGMA:g},seed={seed}"
    )
    data = load(DataSpec(name), 0)
    x = data.train.inputs.astype(np.float64) @ class_frame(FEATURES, seed)  # class k along coordinate k
    gradient = x.T @ one_hot_residuals(data.train.labels, CLASSES) / len(x)
    distilled = x.T @ (x @ gradient) / len(x)
    ratio = gradient_snr(distilled) / gradient_snr(gradient)
    return label_properties(data)[SIMILARITY], float(np.log(ratio))
