"""Boxes from COCO's JSON: what is read, where boxes lie after scaling and cropping, and what is refused."""

import json
from typing import Any

import numpy as np
import pytest

from disobey.data.boxes import present
from disobey.data.dataset import DataSpec
from disobey.data.formats.detections import placed
from disobey.data.load import load, resolve
from tests.support.refusals import refuses

Image = pytest.importorskip("PIL.Image")


def content(count, size=(20, 16), **changes):
    """Pictures with two boxes, of which one is ``changes``; width 20, height 16."""
    images = [{"id": 10 + n, "file_name": f"{n}.png", "width": size[0], "height": size[1]} for n in range(count)]
    boxes = [{"image_id": 10 + n, "category_id": 7, "bbox": [2, 2, 6, 8]} for n in range(count)]
    more = [{"image_id": 10, "category_id": 3, "bbox": [8, 0, 12, 10], "iscrowd": 0} | changes]
    names = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]
    return {"images": images, "annotations": boxes + more, "categories": names}


def write(folder, count=10, size=(20, 16), file="annotations.json", pictures=".", **changes):
    rng = np.random.default_rng(count)
    place = folder / pictures
    place.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(place / f"{number}.png")
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps(content(count, size, **changes)))
    return folder


def read(path, options=""):
    return load(DataSpec(f"detection:{path}{options}"), 0)


def every(data):
    return np.concatenate([data.split(name).labels for name in ("train", "validation", "test")])


def test_one_file_is_split_and_knows_its_classes_and_boxes(tmp_path):
    data = read(write(tmp_path) / "annotations.json")
    assert data.boxed
    assert data.classes == ("nothing", "cat", "dog")
    assert (len(data.train), len(data.validation), len(data.test)) == (7, 1, 2)
    labels = every(data)
    assert labels.shape == (10, 2, 5)
    assert sorted(present(labels).sum(axis=1)) == [1] * 9 + [2]
    assert (labels[:, 0] == [2, 2, 8, 10, 1]).all()
    assert labels[present(labels)][:, 4].max() == 2
    assert resolve(DataSpec(f"detection:{tmp_path}")).fingerprint
    assert read(tmp_path).fingerprint == data.fingerprint


def test_crowds_are_left_out_and_boxes_cut_at_the_border(tmp_path):
    assert present(every(read(write(tmp_path / "a", iscrowd=1)))).sum() == 10
    labels = every(read(write(tmp_path / "b", bbox=[14, 4, 10, 4])))
    assert [14, 4, 20, 8, 2] in labels.reshape(-1, 5).tolist()
    assert present(every(read(write(tmp_path / "c", bbox=[19, 0, 40, 4])))).sum() == 10


@pytest.mark.parametrize(
    ("file", "pictures"),
    [
        ("{}.json", "images"),
        ("{}/annotations.json", "{}"),
        ("{}/_annotations.coco.json", "{}"),
        ("annotations/instances_{}2017.json", "{}2017"),
        ("annotations/instances_{}2017.json", "images/{}2017"),
    ],
)
def test_folders_with_a_file_a_split(tmp_path, file, pictures):
    for name, count in (("train", 8), ("val", 3), ("test", 4)):
        write(tmp_path, count, file=file.format(name), pictures=pictures.format(name))
    data = read(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (8, 3, 4)


def test_scaling_and_cropping_moves_boxes_with_their_pixels(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    images, objects = [], []
    for number in range(9):
        wide, tall = (int(side) for side in rng.integers(30, 60, 2))
        left, top = int(rng.integers(wide // 3, wide // 2)), int(rng.integers(tall // 3, tall // 2))
        picture = np.zeros((tall, wide), np.uint8)
        picture[top : top + 8, left : left + 6] = 255
        Image.fromarray(picture).save(tmp_path / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png"})
        objects.append({"image_id": number, "category_id": 1, "bbox": [left, top, 6, 8]})
    whole = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "square"}]}
    (tmp_path / "annotations.json").write_text(json.dumps(whole))
    data = read(tmp_path, "#size=24")
    for picture, ((left, top, right, bottom, _),) in zip(data.train.inputs, data.train.labels, strict=True):
        rows, columns = np.nonzero(picture[..., 0] > 127)
        seen = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert np.abs(np.array(seen) - (left, top, right, bottom)).max() <= 1


def test_what_is_cropped_away_is_no_box():
    boxes, sizes = np.array([[0, 0, 6, 8], [2, 0, 6, 8], [4, 0, 4.5, 8]]), np.full((3, 2), (16, 8))
    where, there = placed(boxes, sizes, 8)
    assert there.tolist() == [True, True, False]
    assert where[0].tolist() == [0, 0, 2, 8]
    same, kept = placed(boxes, sizes, 0)
    assert np.array_equal(same, boxes)
    assert kept.tolist() == [True, True, False]


def test_files_that_cannot_be_boxes_are_refused(tmp_path):
    with refuses("no-file"):
        read(tmp_path / "nowhere.json")
    with refuses("no-boxes"):
        read(tmp_path)
    changes: list[dict[str, Any]] = [{"bbox": [1, 2, 3]}, {"bbox": [1, 2, -3, 4]}, {"category_id": 8}, {"image_id": 3}]
    for change in changes:
        with refuses("not-coco"):
            read(write(tmp_path / "bad", **change))
    (tmp_path / "bad" / "annotations.json").write_text('[{"image_id": 1, "bbox": [0, 0, 1, 1], "score": 1}]')
    with refuses("not-coco"):
        read(tmp_path / "bad")
    with refuses("few-pictures"):
        read(write(tmp_path / "few", 5))
    other = write(tmp_path / "sizes")
    (other / "annotations.json").write_text(json.dumps(content(10, (40, 32))))
    with refuses("box-picture"):
        read(other)
    many = content(10)
    many["annotations"] *= 1001
    (other / "annotations.json").write_text(json.dumps(many))
    with refuses("many-boxes"):
        read(other)
    outside = content(10)
    outside["images"][0]["file_name"] = "../../../etc/passwd"
    (other / "annotations.json").write_text(json.dumps(outside))
    with refuses("no-file"):
        read(other)
    split = write(tmp_path / "classes", 8, file="train.json")
    strange = content(8)
    strange["categories"][0]["name"] = "bird"
    (split / "val.json").write_text(json.dumps(strange))
    with refuses("box-classes"):
        read(split)
