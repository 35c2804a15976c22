"""The settings of `dataset-dependency`: a planted grid, and data sets with other classes, labels, sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np
from scipy.stats import qmc

from disobey.data.dataset import DataSpec, Kind

PLANTED = "planted"  # the name of the generator's family
FACTORS: tuple[str, ...] = (
    "similarity",
    "label noise",
    "overlap σ",
    "log2 features",
    "spectrum slope",
    "log2 examples",
)
"""what the generator plants, in the order of the grid's columns"""
BOUNDS = ((0.0, 0.9), (0.0, 0.4), (0.2, 0.6), (4.0, 6.0), (0.0, 1.5), (8.5, 11.0))
CLASSES = 10
SMALL = 4  # a small training set is this part of the whole
IMAGES: tuple[tuple[str, float, int], ...] = (
    *(("", noise, 1) for noise in (0.0, 0.2, 0.4)),
    *((change, noise, 1) for change in ("split:", "similar:", "distinct:") for noise in (0.0, 0.2)),
    ("merged:", 0.2, 1),
    ("projected:", 0.2, 1),
    ("whitened:", 0.2, 1),
    ("", 0.2, SMALL),
)
"""(change of the data, label noise, divisor of the training set) of every re-sampling; images and features"""
TEXTS = tuple(cell for cell in IMAGES if cell[0] in ("", "similar:", "distinct:") and (cell[0] == "" or cell[1] > 0))


@dataclass(frozen=True)
class Setting:
    """One data set as teacher, student and control see it.

    Attributes:
        label: in words.
        family: the data set that it is a version of; versions are never on both sides of a prediction.
        data: for the recipes.
        factors: what was planted, by name; of re-sampled data the label noise alone.
        text: whether its inputs are texts.
    """

    label: str
    family: str
    data: DataSpec
    factors: Mapping[str, float]
    text: bool = False

    def __hash__(self) -> int:
        return hash(self.data)


def planted_settings(count: int) -> list[Setting]:
    """So many settings of the generator, spread evenly over the ranges of its six factors (scrambled Sobol points)."""
    low, high = map(list, zip(*BOUNDS, strict=True))
    exponent = int(np.ceil(np.log2(max(count, 2))))
    sobol = qmc.Sobol(len(BOUNDS), seed=7)  # pyright: ignore[reportCallIssue]
    points = qmc.scale(sobol.random_base2(exponent), low, high)
    return [_planted(i, row) for i, row in enumerate(points[:count])]


def _planted(number: int, row: np.ndarray) -> Setting:
    features, examples = round(float(2 ** row[3]) / 8) * 8, round(float(2 ** row[5]) / 10) * 10
    values = (round(float(row[0]), 2), round(float(row[1]), 2), round(float(row[2]), 3))
    slope = round(float(row[4]), 2)
    name = (
        f"synthetic:planted#examples={_whole()},classes={CLASSES},features={features},similarity={values[0]:g},"
        f"sigma={values[2]:g},slope={slope:g},seed={number}"
    )
    factors = (*values, np.log2(features), slope, np.log2(examples))
    label = f"b={values[0]:g}, noise {values[1]:.0%}, σ={values[2]:g}, D={features}, slope {slope:g}, n={examples:,}"
    planted = dict(zip(FACTORS, map(float, factors), strict=True))
    return Setting(label, PLANTED, DataSpec(name, train=examples, noise=values[1]), planted)


def _whole() -> int:
    """Examples of a planted data set: the training half is twice the largest size, for a test split of 3,277."""
    return 4 * 2 ** int(BOUNDS[-1][1])


def resampled(spec: DataSpec, kind: Kind, size: int, classes: int) -> list[Setting]:
    """The versions of one data set.

    Args:
        spec: the data set as it is.
        kind: of its inputs: texts can only lose classes, examples and right labels.
        size: of its training split.
        classes: how many it has; with fewer than six none is left out or merged.
    """
    found, family = [], short(spec.name)
    for change, noise, part in TEXTS if kind == "text" else IMAGES:
        if change in ("similar:", "distinct:", "merged:") and classes < 6:
            continue
        words = [change.removesuffix(":") or "as it is", f"{noise:.0%} label noise", *(["small"] if part > 1 else [])]
        half = 2 if change in ("similar:", "distinct:") else 1  # of the classes, so of the examples
        train = (spec.train or size) // part if part > 1 else spec.train and spec.train // half
        data = replace(spec, name=change + spec.name, train=train, noise=noise, fingerprint="")
        found.append(Setting(f"{family}, {', '.join(words)}", family, data, {"label noise": noise}, kind == "text"))
    return found


def short(name: str) -> str:
    """A data set's name without folders and options; a file is called by its folder, too.

    >>> short("mnist-5k"), short("../data/ag_news"), short("data/mine/train.csv#label=y")
    ('mnist-5k', 'ag_news', 'mine/train')
    """
    place = PurePath(name.partition("#")[0])
    if len(place.parts) < 2 or ":" in name:
        return str(place)
    return f"{place.parent.name}/{place.stem}" if place.suffix else place.name


def by_family(settings: Sequence[Setting]) -> dict[str, list[int]]:
    """Positions of the settings of every family, in their order."""
    found: dict[str, list[int]] = {}
    for position, setting in enumerate(settings):
        found.setdefault(setting.family, []).append(position)
    return found
