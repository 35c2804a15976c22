"""What the runs of a design measured, one number a seed: what tables, charts and claims are made from."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from disobey.measures import agreement, calibration, deviation
from disobey.measures.inference.comparisons import ratio_over_runs
from disobey.measures.inference.measure import Measure, applicable, values
from disobey.measures.inference.policy import current
from disobey.measures.inference.runs import example_error, mean_over_runs
from disobey.measures.segmentation import iou_by_image
from disobey.records.predictions import Predictions
from disobey.records.results import Estimate
from disobey.records.runs import RunRecord, pair
from disobey.studies.kit.boxes import AP, ap_by_image_of, ap_of
from disobey.studies.kit.design import Arm, Design, Records
from disobey.studies.kit.memo import remembered
from disobey.training.recipe import Recipe, Run

STANDARD = (*deviation.MEASURES.values(), *agreement.MEASURES.values(), *calibration.MEASURES.values())

IOU = "mean_iou"  # of classes of pixels
OF_IMAGES = (IOU, AP)  # scores of all images together, to which each adds something
ACCURACIES = ("student_accuracy", "accuracy", *OF_IMAGES)  # measures whose intervals are over runs and examples

Reader: TypeAlias = Callable[[RunRecord, str], Mapping[Hashable, float]]  # (record, split) -> value by measure


class Control(Enum):
    """The arm's own control, where another arm could stand."""

    CONTROL = "control"


CONTROL = Control.CONTROL


@dataclass(frozen=True)
class _Subject:
    """Whom numbers are about: a model beside a checkpoint of a teacher. Arms that share one share its numbers."""

    recipe: Recipe
    teacher: Recipe | None
    teacher_step: int | None


@dataclass(frozen=True, eq=False)
class Evidence:
    """Numbers by arm, split and measure: arrays (S,), one value for each complete seed.

    Attributes:
        design: the arms that were asked for.
        seeds: those of which every run is finished (S of them).
        records: the finished runs, for what is not a number (pictures, histories).
        memo: what is slow to compute from them and asked for at several levels.
    """

    design: Design
    seeds: tuple[int, ...]
    records: Records
    columns: Mapping[tuple[_Subject, str], Mapping[Hashable, NDArray]]
    memo: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def read(
        cls,
        design: Design,
        records: Records,
        measures: Sequence[Measure] | Reader = STANDARD,
        splits: Sequence[str] = ("test",),
    ) -> Self:
        """Reads every arm and its control from disk, once.

        Args:
            design: the arms.
            records: finished runs; a seed that lacks one of the design's runs is left out whole.
            measures: measures of teacher and student; or a function of one record and a split (see `run_summary`).
            splits: which examples: train, validation, test.

        Raises:
            ValueError: no seed is complete.
        """
        seeds = design.complete(records)
        columns: dict[tuple[_Subject, str], Mapping[Hashable, NDArray]] = {}
        for arm in design.arms:
            for who in (arm, arm.control_arm()) if arm.control is not None else (arm,):
                for split in splits:
                    key = _subject(who), split
                    if key not in columns:
                        columns[key] = _by_name([_numbers(key[0], seed, split, records, measures) for seed in seeds])
        return cls(design, seeds, records, columns)

    def measures(self, arm: Arm, *, split: str = "test") -> tuple[Hashable, ...]:
        """Names of what is known about an arm."""
        return tuple(self.columns[_subject(arm), split])

    def per_seed(
        self, arm: Arm, measure: Hashable, *, split: str = "test", minus: Arm | Control | None = None
    ) -> NDArray:
        """One value a seed, (S,), in the order of ``seeds``.

        Args:
            arm: whose.
            measure: its name.
            split: on which examples.
            minus: an arm, or ``CONTROL`` for the arm's own control: then differences, paired by seed.
        """
        own = self.columns[_subject(arm), split][measure]
        if minus is None:
            return own
        return own - self.per_seed(arm.control_arm() if isinstance(minus, Control) else minus, measure, split=split)

    def known(self, arm: Arm, measure: Hashable, *, split: str = "test") -> bool:
        """Whether every seed has a value, of the arm and of its control (no teacher error: no slope on the errors)."""
        found = [
            self.columns[_subject(a), split].get(measure) for a in (arm, *([arm.control_arm()] if arm.control else []))
        ]
        return all(column is not None and bool(np.isfinite(column).all()) for column in found)

    def mean(
        self,
        arm: Arm,
        measure: Hashable,
        *,
        split: str = "test",
        minus: Arm | Control | None = None,
        name: str = "",
    ) -> Estimate:
        """Mean over seeds, paired where ``minus`` is given; the interval is made as `policy.current` says.

        That of a test accuracy is over runs and examples (images, where these are pixels): all seeds share one test
        set.
        """
        column = self.per_seed(arm, measure, split=split, minus=minus)
        counts = measure in ACCURACIES and split == "test"
        error = self.example_error(arm, split=split, minus=minus, of=measure) if counts else 0.0
        return mean_over_runs(column, name or _named(arm, measure, minus), example_error=error)

    def example_error(
        self, arm: Arm, *, split: str = "test", minus: Arm | Control | None = None, of: Hashable = "accuracy"
    ) -> float:
        """Standard error of a mean score (see `right`), or of a mean difference, that comes from the split's examples.

        0 where the seeds do not share their examples: then they vary with the runs, and count there.
        """
        other = arm.control_arm() if isinstance(minus, Control) else minus
        key = ("example error", _subject(arm), split, None if other is None else _subject(other), _score(of))
        if key not in self.memo:
            own = self.right(arm, split, of=of)
            table = own if own is None or other is None else _minus(own, self.right(other, split, of=of))
            self.memo[key] = 0.0 if table is None else example_error(table)
        return self.memo[key]

    def right(self, arm: Arm, split: str = "test", *, of: Hashable = "accuracy") -> NDArray | None:
        """(S, N) 1 where the student is right; None where seeds have other examples, or runs no classes.

        Where examples are pixels or boxes, (S, K): what each of K images adds to the accuracy, or to the mean IoU or
        the average precision where ``of`` names it.
        """
        records = [self.records[Run(arm.recipe, seed)] for seed in self.seeds]
        rows = [
            remembered(self.records, (_score(of), split), [r], lambda r=r: _right(r, split, _score(of)))
            for r in records
        ]
        ids = [record.examples[f"{split}.ids"] for record in records]
        if any(row is None for row in rows) or any(not np.array_equal(own, ids[0]) for own in ids):
            return None
        return np.stack(rows).astype(np.float64)  # type: ignore[arg-type]

    def means(
        self, measure: Hashable, *, split: str = "test", control: bool = False, minus: Arm | Control | None = None
    ) -> Callable[[Arm], Estimate]:
        """`mean` as a function of the arm, or of its control: a column of a table, the height of a line."""
        return lambda arm: self.mean(arm.control_arm() if control else arm, measure, split=split, minus=minus)

    def share(
        self, arm: Arm, measure: Hashable, *, of: Arm, over: Arm | Control = CONTROL, split: str = "test"
    ) -> Estimate:
        """Share of a gain that an arm keeps: (arm − over) / (of − over), a ratio of paired means.

        Args:
            arm: whose share.
            measure: of what the gain is.
            of: the arm with the whole gain.
            over: the arm without any; the control of ``of`` where not given.
            split: on which examples.

        Returns:
            The share with Fieller's interval; undefined (NaN) where the gain's own interval does not lie above 0: a
            share of a loss, or of nothing, means nothing.
        """
        name = "share of the gain recovered"
        over = of.control_arm() if isinstance(over, Control) else over
        gain = self.mean(of, measure, split=split, minus=over)
        if not (gain.known and gain.low > 0):
            return Estimate(name, math.nan, math.nan, math.nan, gain.level, gain.n, "runs")
        part, whole = (self.per_seed(a, measure, split=split, minus=over) for a in (arm, of))
        return ratio_over_runs(part, whole, name=name)

    def predictions(
        self, arm: Arm, *, split: str = "test", seed: int | None = None, class_names: tuple[str, ...] | None = None
    ) -> Predictions:
        """Teacher, student and control of one seed (the first complete one where None), example by example."""
        seed = self.seeds[0] if seed is None else seed
        teacher = arm.compared_with
        assert teacher is not None, f"{arm.label} is compared with no teacher"
        return pair(
            self.records[Run(teacher, seed)],
            self.records[Run(arm.recipe, seed)],
            split,
            twin=None if arm.control is None else self.records[Run(arm.control, seed)],
            step=arm.teacher_step,
            class_names=class_names,
        )

    def summary(self, recipe: Recipe, key: str) -> Estimate:
        """Mean over seeds of a number in the runs' own summaries: about teachers, say, which are no arms."""
        return mean_over_runs([self.records[Run(recipe, seed)].summary[key] for seed in self.seeds], key)


def run_summary(record: RunRecord, split: str) -> Mapping[Hashable, float]:
    """A `Reader` of the numbers that training wrote down: ``accuracy`` of the split, and what belongs to no split."""
    return {key.removeprefix(f"{split}_"): float(value) for key, value in record.summary.items()}


def rank_association(xs: Sequence[NDArray], ys: Sequence[NDArray], name: str) -> Estimate:
    """Spearman correlation over settings within each seed, averaged over seeds with an interval over runs.

    Args:
        xs: one array (S,) a setting.
        ys: the same settings' other quantity. A seed in which either is constant has correlation 0.
        name: of the estimate.
    """
    by_seed = []
    for x, y in zip(np.transpose(xs), np.transpose(ys), strict=True):
        constant = np.ptp(x) == 0 or np.ptp(y) == 0
        by_seed.append(0.0 if constant else float(np.corrcoef(rankdata(x), rankdata(y))[0, 1]))
    # Where every seed has the same order nothing varies: half of what exchanging two neighbours would change remains.
    settings = len(xs)
    coarse = 6 / (settings * (settings**2 - 1)) / math.sqrt(len(by_seed)) if settings > 2 else 0.0
    return mean_over_runs(by_seed, name, example_error=coarse if np.ptp(by_seed) == 0 else 0.0)


def association_within(
    xs: Sequence[NDArray], ys: Sequence[NDArray], others: tuple[Sequence[NDArray], Sequence[NDArray]], name: str
) -> Estimate:
    """Correlation of two quantities over the seeds *within* settings, minus the same correlation in undistilled arms.

    Two quantities of one network go together without any teacher: a luckier one is more accurate, hence nearer to every
    other good network, hence steeper. Settings that differ differ in many ways. What is left after both is taken off
    is what the teacher adds. The interval is a jackknife over seeds, as all settings share them.

    Args:
        xs: one array (S,) a setting: a quantity of the students.
        ys: the same settings' other quantity.
        others: both quantities of undistilled models, one array (S,) a setting of theirs.
        name: of the estimate.

    Returns:
        Difference of two correlations, in [-2, 2]; no interval below four seeds.
    """
    tables = [np.asarray(part, dtype=np.float64) for part in (xs, ys, *others)]

    def difference(kept: NDArray) -> float:
        first, second, third, fourth = (table[:, kept] for table in tables)
        return _within(first, second) - _within(third, fourth)

    seeds, how = tables[0].shape[1], current()
    everything = np.arange(seeds)
    value = difference(everything)
    if seeds < 4:
        return Estimate(name, value, math.nan, math.nan, how.level, seeds, "runs")
    left_out = np.array([difference(np.delete(everything, i)) for i in everything])
    error = math.sqrt((seeds - 1) / seeds * float(((left_out - left_out.mean()) ** 2).sum()))
    half = how.factor(seeds) * error
    return Estimate(name, value, value - half, value + half, how.level, seeds, "runs")


def _within(x: NDArray, y: NDArray) -> float:
    """Pooled correlation within rows (settings) of (G, S): deviations from each row's mean, in its own spread."""
    x, y = (table - table.mean(axis=1, keepdims=True) for table in (x, y))
    scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    products = (x * y).sum(axis=1)
    return float(np.divide(products, scale, out=np.zeros_like(products), where=scale > 0).mean())


def _subject(arm: Arm) -> _Subject:
    return _Subject(arm.recipe, arm.compared_with, arm.teacher_step)


def _numbers(
    subject: _Subject, seed: int, split: str, records: Records, measures: Sequence[Measure] | Reader
) -> Mapping[Hashable, float]:
    student = records[Run(subject.recipe, seed)]
    if callable(measures):
        return remembered(records, (measures, split), [student], lambda: measures(student, split))
    assert subject.teacher is not None, "measures of a pair need a teacher"
    teacher, step = records[Run(subject.teacher, seed)], subject.teacher_step

    def read() -> Mapping[Hashable, float]:
        predictions = pair(teacher, student, split, step=step)
        return {**values(applicable(measures, predictions), predictions), **ap_of(student, split)}

    return remembered(records, (tuple(measures), split, step), [student, teacher], read)


def _score(measure: Hashable) -> Hashable:
    """Which table of `Evidence.right` belongs to a measure: every accuracy has the same."""
    return measure if measure in OF_IMAGES else "right"


def _right(record: RunRecord, split: str, score: Hashable) -> NDArray | None:
    """(N,) whether each example's most likely class is its true label; None where runs have no classes.

    Of pixels and boxes (K,) what each image adds to the share, to the mean IoU or to the average precision.
    """
    if score == AP:
        return ap_by_image_of(record, split)
    labels = record.examples.get(f"{split}.labels")
    log_probs = record.log_probs(split)
    fits = labels is not None and labels.ndim == 1 and log_probs.ndim == 2
    if not fits or labels is None:
        return None
    predicted, images = log_probs.argmax(axis=1), record.examples.get(f"{split}.cluster")
    if images is None:
        return predicted == labels
    if score == IOU:
        return iou_by_image(labels, predicted, images, log_probs.shape[1])
    code = np.unique(images, return_inverse=True)[1]
    return np.bincount(code, predicted == labels) * (code.max() + 1) / len(code)


def _minus(own: NDArray, other: NDArray | None) -> NDArray | None:
    return None if other is None or other.shape != own.shape else own - other


def _by_name(rows: Sequence[Mapping[Hashable, float]]) -> dict[Hashable, NDArray]:
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}


def _named(arm: Arm, measure: Hashable, minus: Arm | Control | None) -> str:
    if minus is None:
        return f"{measure}, control" if arm.is_control else str(measure)
    return f"{measure}, student − {'control' if isinstance(minus, Control) else minus.label}"
