"""Evidence of the data-size study that needs no training: kernel students, probes of features, and linear theory.

A kernel student learns no features. If it gains as much from the teacher's logits as the network does, the teacher does
not transfer features; a probe of the network's features, fitted on the same labels, tests the opposite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from disobey.data.dataset import Dataset
from disobey.data.flat import flat_inputs
from disobey.data.load import load
from disobey.data.tensors import inputs_tensor
from disobey.measures.probes import logistic_probe
from disobey.models.features import features
from disobey.records.results import Estimate
from disobey.records.runs import RunRecord
from disobey.studies.data_size.cells import KD, LABELS, Cell, Design
from disobey.studies.kit.design import Arm
from disobey.studies.kit.evidence import Evidence
from disobey.theory import kernel_students
from disobey.theory.sample_size import check_closed_form
from disobey.training.predict import CHUNK
from disobey.training.recipe import Run
from disobey.training.restore import trained

ARM_OF_TARGET = {"labels": LABELS, "teacher": KD}
KERNELS = ("laplace", "linear")
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class ClosedFormResults:
    """Accuracies of students in closed form.

    Attributes:
        sizes: the K' sizes n that were computed.
        small: whether each of them is one of the small sizes.
        linear_theory: see `linear_theory`; None without the regime ``noise``.
        accuracies: test accuracies (S, K') by kind of student (a kernel, ``probe`` or ``network``) and target.
    """

    sizes: tuple[int, ...] = ()
    small: tuple[bool, ...] = ()
    linear_theory: Estimate | None = None
    accuracies: Mapping[tuple[str, str], NDArray] = field(default_factory=dict)

    def small_gain(self, student: str) -> NDArray:
        """Gain of a kind of student from the teacher's targets at small n, (S,)."""
        gain = self.accuracies[student, "teacher"] - self.accuracies[student, "labels"]
        return gain[:, list(self.small)].mean(axis=1)


def closed_form(design: Design, arms: Mapping[Cell, Arm], evidence: Evidence, kernels: int) -> ClosedFormResults:
    """Students in closed form on the examples of finished runs, up to n = ``kernels``; the cost grows as n³."""
    theory = linear_theory() if "noise" in design.regimes else None
    sizes = tuple(n for n in design.sizes if n <= kernels)
    if not sizes:
        return ClosedFormResults(linear_theory=theory)
    tables = [
        [
            _accuracies({target: arms[Cell(arm, n)] for target, arm in ARM_OF_TARGET.items()}, evidence, seed)
            for n in sizes
        ]
        for seed in evidence.seeds
    ]
    accuracies = {key: np.array([[cell[key] for cell in row] for row in tables]) for key in tables[0][0]}
    return ClosedFormResults(sizes, tuple(n in design.small for n in sizes), theory, accuracies)


def _accuracies(arms: Mapping[str, Arm], evidence: Evidence, seed: int) -> dict[tuple[str, str], float]:
    """Test accuracies by kind of student and target for one seed and size; ``arms``: the networks by target."""
    runs = {target: Run(arm.recipe, seed) for target, arm in arms.items()}
    dataset = load(runs["labels"].recipe.data, seed)
    predictions = evidence.predictions(arms["teacher"], split="train", seed=seed).teacher
    targets = {
        "labels": kernel_students.one_hot(dataset.train.observed, len(dataset.classes)),
        "teacher": kernel_students.centred_logits(np.asarray(predictions)),
    }
    inputs = [flat_inputs(dataset, split) for split in SPLITS]
    accuracies = {}
    for kernel in KERNELS:
        problem = kernel_students.problem(*inputs, kernel=kernel)
        for target, values in targets.items():
            fitted = kernel_students.fit(problem, values, dataset.validation.labels)
            accuracies[kernel, target] = fitted.accuracy(dataset.test.labels)
    records = {target: evidence.records[run] for target, run in runs.items()}
    accuracies |= {("network", target): record.summary["test_accuracy"] for target, record in records.items()}
    return accuracies | {("probe", target): _probed(run, records[target], dataset) for target, run in runs.items()}


@cache
def linear_theory() -> Estimate:
    """Largest relative deviation of a simulated linear student from the closed form, with a Monte-Carlo interval."""
    checks = check_closed_form()
    worst = max(checks, key=lambda check: max(map(abs, check.interval())))
    low, high = worst.interval()
    bounds = sorted((abs(low), abs(high)))
    name = f"relative deviation from the closed form, worst of {len(checks)}"
    least = 0.0 if low < 0 < high else bounds[0]
    return Estimate(name, abs(worst.deviation), least, bounds[1], 0.95, worst.repeats, "runs")


def _probed(run: Run, record: RunRecord, dataset: Dataset) -> float:
    """Test accuracy of a logistic probe of the last features, fitted on the student's training labels."""
    model = trained(run, record, dataset)
    layers = []
    for split in SPLITS:
        x = inputs_tensor(dataset, split)
        parts = [features(model, x[i : i + CHUNK], ["penultimate"])["penultimate"] for i in range(0, len(x), CHUNK)]
        layers.append(torch.cat(parts).double().numpy())
    probe = logistic_probe(layers[0], dataset.train.observed, layers[1], dataset.validation.labels, layers[2])
    return probe.accuracy(dataset.test.labels)
