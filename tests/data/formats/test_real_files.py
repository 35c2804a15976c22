"""Public releases in their own formats; skipped where the files are not beside the repository."""

from pathlib import Path

import numpy as np
import pytest

from disobey.data.formats.files import from_path

DATA = Path(__file__).parents[4] / "shared" / "data"
pytestmark = [pytest.mark.real_data, pytest.mark.skipif(not DATA.is_dir(), reason=f"no experiment data in {DATA}")]


def sizes(data):
    return [len(data.train), len(data.validation), len(data.test)]


def test_mnist():
    data = from_path(str(DATA / "mnist"))
    assert sizes(data) == [54_000, 6_000, 10_000]
    assert np.bincount(data.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "classes", "last"), [("cifar10", 10, "truck"), ("cifar100", 100, "worm")])
def test_cifar(name, classes, last):
    pytest.importorskip("pyarrow")
    data = from_path(str(DATA / name))
    assert data.test.inputs.shape == (10_000, 32, 32, 3)
    assert len(data.classes) == classes
    assert data.classes[-1] == last
    assert set(np.bincount(data.test.labels)) == {10_000 // classes}


@pytest.mark.parametrize(
    ("name", "classes", "test"), [("ag_news", 4, 7600), ("sst2", 2, 1821), ("banking77", 77, 3080)]
)
def test_texts(name, classes, test):
    data = from_path(str(DATA / name))
    assert data.kind == "text"
    assert len(data.classes) == classes
    assert len(data.test) == test
    assert (data.test.inputs == 1).mean() < 0.1  # few words of the test split are unknown
