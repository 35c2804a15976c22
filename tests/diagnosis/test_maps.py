"""Maps of scores: pixels become examples, images clusters; what is shown on the images; what is refused."""

import numpy as np
import pytest

from disobey.diagnosis.diagnose import diagnose
from disobey.diagnosis.input.join import read_pair
from disobey.diagnosis.input.pair import pair_from
from disobey.records.results import Gallery, Table
from tests.support.refusals import refuses


def maps(n=12, size=(20, 18), classes=4, gap=1.0, seed=0):
    """Images, masks and two models; the student is less sure, by ``gap`` nats, next to a class boundary."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((n, *size), np.int64)
    labels[:, :, 9:] = rng.integers(1, classes, n)[:, None, None]
    teacher = rng.normal(size=(n, classes, *size))
    np.put_along_axis(teacher, labels[:, None], 4.0, axis=1)
    student = teacher + 0.3 * rng.normal(size=teacher.shape)
    student[:, :, :, 8:10] *= 1 - gap / 4
    images = rng.integers(0, 256, (n, *size, 3), dtype=np.uint8)
    return images, labels, teacher, student


def test_pixels_are_examples_and_images_clusters_whichever_axis_is_last():
    images, labels, teacher, student = maps()
    labels[0, 0, 0], labels[1, 1, 1] = 255, -1
    first = pair_from({"teacher": teacher, "student": student, "labels": labels, "images": images})
    last = pair_from({"teacher": np.moveaxis(teacher, 1, 3), "student": np.moveaxis(student, 1, 3), "labels": labels})
    assert first.shape == last.shape == (12 * 256, 4)
    kept, total, count = first.facts["pixels"]
    assert (kept, total, count) == (12 * 256, 12 * 360 - 2, 12)
    for name in ("labels", "cluster", "groups"):
        assert np.array_equal(getattr(first, name), getattr(last, name))
    assert np.bincount(first.cluster).tolist() == [256] * 12
    assert first.labels.min() >= 0
    rows = [np.concatenate(list(p.teacher.blocks(300))) for p in (first, last)]
    assert np.array_equal(*rows)
    right = rows[0].argmax(axis=1) == first.labels
    assert right.mean() > 0.95


def test_a_deviation_at_boundaries_is_told_and_shown():
    images, labels, teacher, student = maps()
    result = diagnose(teacher, student, labels, images=images)
    groups = next(b for b in result.blocks if isinstance(b, Table) and b.title == "By group")
    found = {row[0]: row[groups.columns.index("mean deviation (nats)")] for row in groups.rows}
    assert found["boundary"].high < found["interior"].low
    assert found["boundary"].over == "clusters"
    assert found["boundary"].n == 12
    scores = next(b for b in result.blocks if isinstance(b, Table) and b.title == "Segmentation")
    assert [row[0] for row in scores.rows] == ["teacher", "student", "student − teacher"]
    assert "4,320 pixels of 12 images" in scores.caption
    gallery = next(b for b in result.blocks if isinstance(b, Gallery) and "see different" in b.title)
    assert np.array(gallery.exhibits[0].image).shape == (4 * 42, 4 * 58, 3)
    assert result.settings["clusters"] == 12


def test_without_labels_and_images_there_are_maps_all_the_same():
    _, _, teacher, student = maps()
    result = diagnose(teacher, student)
    gallery = next(b for b in result.blocks if isinstance(b, Gallery) and "see different" in b.title)
    assert np.array(gallery.exhibits[0].image).shape == (6 * 42, 6 * 38, 3)
    assert "image" not in gallery.caption


def test_files_are_read_by_name_and_by_order(tmp_path):
    images, labels, teacher, student = maps(n=6)
    np.savez(tmp_path / "pair.npz", teacher=teacher, student=student, labels=labels, images=images)
    for name, array in (("t", teacher), ("s", student), ("y", labels)):
        np.save(tmp_path / f"{name}.npy", array)
    named = read_pair(tmp_path / "pair.npz")
    ordered = read_pair(*(tmp_path / f"{name}.npy" for name in "tsy"))
    assert named.shape == ordered.shape == (6 * 256, 4)
    assert np.array_equal(named.labels, ordered.labels)


@pytest.mark.parametrize(
    ("change", "id"),
    [
        ({"student": np.zeros((12, 4, 20, 17))}, "map-shapes"),
        ({"labels": np.zeros((12, 20, 17), int)}, "map-labels"),
        ({"labels": np.zeros((12, 20, 18))}, "map-labels"),
        ({"labels": np.full((12, 20, 18), 255)}, "no-examples"),
        ({"labels": np.full((12, 20, 18), 7)}, "label-range"),
    ],
)
def test_maps_that_do_not_fit_are_refused(change, id):
    _, labels, teacher, student = maps()
    with refuses(id):
        pair_from({"teacher": teacher, "student": student, "labels": labels} | change)


def test_more_pixels_than_memory_holds_are_refused_before_they_are_read():
    endless = np.broadcast_to(np.zeros((), np.float32), (2**20, 2, 32, 32))
    with refuses("too-large"):
        pair_from({"teacher": endless, "student": endless})


def test_axes_that_cannot_be_told_apart_are_refused():
    square = np.zeros((6, 5, 5, 5))
    with refuses("map-axes"):
        pair_from({"teacher": square, "student": square})
