"""Boxes from the hub's files: a column of pictures and one of objects, in both forms that are usual."""

import io

import numpy as np
import pytest

from disobey.data.boxes import present
from disobey.data.dataset import DataSpec
from disobey.data.load import load
from tests.support.refusals import refuses

datasets = pytest.importorskip("datasets")
Image = pytest.importorskip("PIL.Image")

BOX = {"bbox": [[1.0, 0.0, 2.0, 3.0], [0.0, 0.0, 4.0, 4.0]]}


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def saved(folder, objects, feature):
    rng = np.random.default_rng(0)
    rows = {
        "image": [png(rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)) for _ in range(10)],
        "objects": [objects] * 10,
    }
    features = datasets.Features({"image": datasets.Image(), "objects": feature})
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows, features)}).save_to_disk(str(folder))
    return load(DataSpec(f"detection:hub:{folder}"), 0)


NUMBERS = datasets.Sequence(datasets.Value("float32"), length=4)
NAMED = datasets.ClassLabel(names=["cat", "dog", "bird"])


def test_lists_of_boxes_and_classes_by_number_or_name(tmp_path):
    feature = {"bbox": datasets.Sequence(NUMBERS), "category": datasets.Sequence(NAMED)}
    data = saved(tmp_path / "a", BOX | {"category": [2, 0]}, feature)
    assert data.boxed
    assert data.classes == ("nothing", "cat", "dog", "bird")
    assert (data.train.labels == [[1, 0, 3, 3, 3], [0, 0, 4, 4, 1]]).all()
    feature = {"bbox": datasets.Sequence(NUMBERS), "category": datasets.Sequence(datasets.Value("string"))}
    data = saved(tmp_path / "b", BOX | {"category": ["z", "a"]}, feature)
    assert data.classes == ("nothing", "a", "z")
    assert data.train.labels[0, :, 4].tolist() == [2, 1]


def test_a_list_of_objects(tmp_path):
    objects = [{"bbox": box, "category": kind} for box, kind in zip(BOX["bbox"], (1, 1), strict=True)]
    data = saved(tmp_path, objects, [{"bbox": NUMBERS, "category": NAMED}])
    assert present(data.train.labels).all()
    assert (data.train.labels[..., 4] == 2).all()


def test_other_columns_are_refused(tmp_path):
    plain = datasets.Sequence(datasets.Value("int64"))
    with refuses("box-column"):
        saved(tmp_path / "a", {"bbox": [1, 2], "category": [0]}, {"bbox": plain, "category": plain})
    with refuses("box-column"):
        saved(tmp_path / "b", {"bbox": BOX["bbox"], "area": [1]}, {"bbox": datasets.Sequence(NUMBERS), "area": plain})
    with refuses("box-column"):
        feature = {"bbox": datasets.Sequence(NUMBERS), "category": datasets.Sequence(NAMED)}
        saved(tmp_path / "c", BOX | {"category": [2]}, feature)
