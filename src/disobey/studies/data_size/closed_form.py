"""Evidence of the data-size study that needs no training: kernel students, probes of features, and the linear theory.

A kernel student has no features to learn. Were its gain from the teacher's logits that of the network, features would not
be what a teacher gives; a probe of the network's features on the same labels asks the opposite question.
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
from disobey.records.runs import RunRecord, pair
from disobey.studies.data_size.cells import Cell, Design
from disobey.studies.data_size.evidence import Records, RunOf
from disobey.theory import kernel_students
from disobey.theory.sample_size import check_closed_form
from disobey.training.predict import CHUNK
from disobey.training.recipe import Run
from disobey.training.train import trained

TARGETS = ("labels", "teacher")
KERNELS = ("laplace", "linear")


@dataclass(frozen=True, eq=False)
class ClosedFormResults:
    """accuracies: (kernel, target) to (S, K'); probes: target to (S, K'), over the K' ``sizes`` that were done; ``small`` of
    them are small. networks: the student's own accuracies there. linear_theory: largest relative deviation of
    simulated linear students from the closed form, with its Monte-Carlo error."""

    sizes: tuple[int, ...]
    small: tuple[bool, ...]
    linear_theory: Estimate | None = None
    accuracies: Mapping[tuple[str, str], NDArray] = field(default_factory=dict)
    probes: Mapping[str, NDArray] = field(default_factory=dict)
    networks: Mapping[str, NDArray] = field(default_factory=dict)

    @property
    def judged(self) -> bool:
        """Whether any small size was done, so that the gains below exist."""
        return bool(self.accuracies) and any(self.small)

    @property
    def kernel_gain(self) -> NDArray:
        """Of the Laplace kernel at the small sizes that were done, one value a seed (S,)."""
        return self._small(self.accuracies[KERNELS[0], "teacher"] - self.accuracies[KERNELS[0], "labels"])

    @property
    def probe_gain(self) -> NDArray:
        return self._small(self.probes["teacher"] - self.probes["labels"])

    @property
    def end_to_end(self) -> NDArray:
        return self._small(self.networks["teacher"] - self.networks["labels"])

    def _small(self, table: NDArray) -> NDArray:
        return table[:, list(self.small)].mean(axis=1)


def students(design: Design, seeds: tuple[int, ...], records: Records, run_of: RunOf) -> ClosedFormResults:
    """Everything in closed form for this study's finished runs; grows as the cube of the largest n."""
    theory = linear_theory() if "noise" in design.regimes else None
    sizes = tuple(n for n in design.sizes if n <= design.kernels)
    small = tuple(n in design.small for n in sizes)
    if not sizes:
        return ClosedFormResults(sizes, small, theory)
    accuracies = {(kernel, target): np.empty((len(seeds), len(sizes))) for kernel in KERNELS for target in TARGETS}
    probes, networks = ({target: np.empty((len(seeds), len(sizes))) for target in TARGETS} for _ in range(2))
    for i, seed in enumerate(seeds):
        for k, n in enumerate(sizes):
            runs = {target: run_of(Cell(arm, n), seed) for target, arm in zip(TARGETS, ("A0", "A1"), strict=True)}
            dataset = load(runs["labels"].recipe.data, seed)
            teacher = records[runs["teacher"].teachers()[0]]
            logits = kernel_students.centred_logits(
                np.asarray(pair(teacher, records[runs["teacher"]], "train").teacher)
            )
            targets = {
                "labels": kernel_students.one_hot(dataset.train.given, len(dataset.classes)),
                "teacher": logits,
            }
            inputs = [flat_inputs(dataset, split) for split in ("train", "validation", "test")]
            for kernel in KERNELS:
                problem = kernel_students.problem(*inputs, kernel=kernel)
                for target in TARGETS:
                    fitted = kernel_students.fit(problem, targets[target], dataset.validation.labels)
                    accuracies[kernel, target][i, k] = fitted.accuracy(dataset.test.labels)
            for target, run in runs.items():
                networks[target][i, k] = records[run].summary["test_accuracy"]
                probes[target][i, k] = _probed(run, records[run], dataset)
    return ClosedFormResults(sizes, small, theory, accuracies, probes, networks)


@cache
def linear_theory() -> Estimate:
    """The simulated linear student furthest from the closed form: its relative deviation, with its Monte-Carlo interval."""
    checks = check_closed_form()
    worst = max(checks, key=lambda check: max(map(abs, check.interval())))
    low, high = worst.interval()
    bounds = sorted((abs(low), abs(high)))
    name = f"relative deviation from the closed form, worst of {len(checks)}"
    least = 0.0 if low < 0 < high else bounds[0]
    return Estimate(name, abs(worst.deviation), least, bounds[1], 0.95, worst.repeats, "runs")


def _probed(run: Run, record: RunRecord, dataset: Dataset) -> float:
    """Test accuracy of a logistic probe of the last features, fitted on the student's own labelled examples."""
    model = trained(run, record, dataset)
    layers = []
    for split in ("train", "validation", "test"):
        x = inputs_tensor(dataset, split)
        parts = [features(model, x[i : i + CHUNK], ["penultimate"])["penultimate"] for i in range(0, len(x), CHUNK)]
        layers.append(torch.cat(parts).double().numpy())
    probe = logistic_probe(layers[0], dataset.train.given, layers[1], dataset.validation.labels, layers[2])
    return probe.accuracy(dataset.test.labels)
