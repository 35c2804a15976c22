"""COCO's JSON: what is read, and what is refused."""

import json

import numpy as np
import pytest

from disobey.data.formats.coco import read_coco
from tests.support.refusals import refuses

CONTENT = {
    "images": [{"id": 7, "file_name": "a.png", "width": 30, "height": 20}, {"id": 3}],
    "categories": [{"id": 18, "name": "dog"}, {"id": 2, "name": "cat"}],
    "annotations": [
        {"image_id": 3, "category_id": 2, "bbox": [1, 2, 3.5, 4]},
        {"image_id": 7, "category_id": 18, "segmentation": [[5, 6, 9, 6, 9, 8]]},
        {"image_id": 7, "category_id": 18, "bbox": [0, 0, 9, 9], "iscrowd": 1, "segmentation": {"counts": [3]}},
    ],
}


def write(folder, **changes):
    path = folder / "a.json"
    path.write_text(json.dumps(CONTENT | changes))
    return path


def test_what_a_file_says(tmp_path):
    found = read_coco(write(tmp_path))
    assert found.names == ("dog", "cat")
    assert found.category_ids.tolist() == [18, 2]
    assert (found.image_ids.tolist(), found.files) == ([7, 3], ("a.png", ""))
    assert found.sizes.tolist() == [[30, 20], [0, 0]]
    assert (found.image.tolist(), found.category.tolist()) == ([1, 0, 0], [2, 1, 1])
    assert np.array_equal(found.boxes, [[1, 2, 4.5, 6], [5, 6, 9, 8], [0, 0, 9, 9]])
    assert found.crowd.tolist() == [False, False, True]
    assert found.polygons == (None, [[5.0, 6.0, 9.0, 6.0, 9.0, 8.0]], None)


def test_images_without_objects(tmp_path):
    assert read_coco(write(tmp_path, annotations=[])).boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_id": 4}, "image_id 4"),
        ({"category_id": 1}, "category_id 1"),
        ({"bbox": [1, 2, 3]}, "[1, 2, 3]"),
        ({"bbox": [1, 2, -3, 4]}, "-3"),
        ({"bbox": [1, 2, float("nan"), 4]}, "nan"),
        ({"bbox": "none"}, "float"),
        ({"bbox": None}, "without bbox"),
        ({"image_id": 3.5}, "3.5"),
    ],
)
def test_objects_that_cannot_be_are_refused(tmp_path, change, said):
    with refuses("not-coco", said):
        read_coco(write(tmp_path, annotations=[CONTENT["annotations"][0] | change]))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.json"
    for text in ("", "[]", "{}", '{"images": 3, "categories": [], "annotations": []}', '[{"image_id": 1}]', "\xff"):
        path.write_text(text)
        with refuses("not-coco"):
            read_coco(path)
    for change in ({"images": []}, {"categories": []}, {"images": [CONTENT["images"][0]] * 2}):
        with refuses("not-coco"):
            read_coco(write(tmp_path, **change))
