"""Known hierarchies: every class in one group, found by names in any order, and `grouped:` data made from them."""

from pathlib import Path

import numpy as np
import pytest

from disobey.data.dataset import DataSpec
from disobey.data.formats.files import FASHION_CLASSES, FASHION_MNIST
from disobey.data.load import load
from disobey.data.sources.hierarchies import CIFAR100_SUPERCLASSES, groups_of, hierarchy_of
from tests.support.refusals import refuses

CIFAR100 = Path(__file__).parents[4] / "shared" / "data" / "cifar100"
FINE = tuple(sorted(name for members in CIFAR100_SUPERCLASSES.values() for name in members))


def test_cifar100_is_20_groups_of_5_in_any_order():
    assert len(set(FINE)) == 100
    groups = groups_of("anything.npz", FINE)
    assert np.bincount(groups).tolist() == [5] * 20
    assert groups[:8] == (4, 1, 14, 8, 0, 6, 7, 7)  # apple: fruit, aquarium fish: fish, baby: people, bear: carnivores
    assert groups_of("anything.npz", FINE[::-1]) == groups[::-1]


def test_numbers_for_names_need_the_data_sets_name():
    numbers = tuple(map(str, range(100)))
    assert groups_of("hub:uoft-cs/cifar100#fine_label", numbers) == groups_of("x", FINE)
    assert groups_of("x", numbers) == ()
    assert groups_of("hub:uoft-cs/cifar100#coarse_label", tuple(map(str, range(20)))) == ()


def test_fashion_groups():
    assert groups_of("fashion-mnist", FASHION_CLASSES) == (0, 1, 0, 2, 0, 3, 0, 3, 4, 3)
    assert hierarchy_of("mnist-5k", tuple("0123456789")) is None


def test_grouped_data_joins_the_classes_of_a_group():
    base, back = load(DataSpec("digits-8x8"), 0), load(DataSpec("grouped:split:digits-8x8"), 0)
    assert back.classes == base.classes
    for part in ("train", "validation", "test"):
        assert np.array_equal(back.split(part).labels, base.split(part).labels)
        assert np.array_equal(back.split(part).inputs, base.split(part).inputs)


def test_grouped_cifar100_has_the_superclasses(tmp_path):
    labels = np.repeat(np.arange(100), 10)
    inputs = np.zeros((1000, 4, 4, 3), np.uint8)
    np.savez(tmp_path / "toy.npz", inputs=inputs, labels=labels, classes=np.array(FINE))
    fine, coarse = (load(DataSpec(f"{kind}{tmp_path}/toy.npz"), 0) for kind in ("", "grouped:"))
    assert coarse.classes == tuple(CIFAR100_SUPERCLASSES)
    members = {coarse.classes[c]: fine.classes[f] for c, f in zip(coarse.test.labels, fine.test.labels, strict=True)}
    assert all(fine_name in CIFAR100_SUPERCLASSES[name] for name, fine_name in members.items())


def test_unknown_hierarchies_are_refused():
    with refuses("no-hierarchy", "try merged:digits-8x8"):
        load(DataSpec("grouped:digits-8x8"), 0)


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.skipif(not CIFAR100.is_dir(), reason=f"no experiment data in {CIFAR100}")
def test_the_release_has_the_names():
    pytest.importorskip("pyarrow")
    coarse = load(DataSpec(f"grouped:{CIFAR100}#fine_label"), 0)
    assert coarse.classes == tuple(CIFAR100_SUPERCLASSES)
    assert np.bincount(coarse.test.labels).tolist() == [500] * 20


@pytest.mark.real_data
@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="the package dataset-fashion-mnist is not installed")
def test_grouped_fashion():
    assert np.bincount(load(DataSpec("grouped:fashion-mnist"), 0).test.labels).tolist() == [
        4000,
        1000,
        1000,
        3000,
        1000,
    ]
