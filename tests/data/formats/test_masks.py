"""Masks and polygons from files: what is read, and what is refused."""

import json

import numpy as np
import pytest

from disobey.data.dataset import VOID, DataSpec
from disobey.data.load import load, resolve
from tests.support.refusals import refuses

Image = pytest.importorskip("PIL.Image")


def write(folder, count=10, size=(12, 10), mode="L", value=2):
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(count):
        picture = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        mask = np.zeros(size, np.uint8)
        mask[:4, :5], mask[-1, -1] = value, 255
        Image.fromarray(picture).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask).convert(mode).save(folder / "masks" / f"{number}.png")
    return folder


def read(path, options=""):
    return load(DataSpec(f"segmentation:{path}{options}"), 0)


def test_a_folder_of_pictures_and_masks(tmp_path):
    (write(tmp_path) / "classes.txt").write_text("road\ncar\nsky\n")
    data = read(tmp_path)
    assert data.classes == ("road", "car", "sky")
    assert (len(data.train), len(data.validation), len(data.test)) == (7, 1, 2)
    assert (data.train.labels[:, :4, :5] == 2).all()
    assert (data.train.labels[:, -1, -1] == VOID).all()
    assert read(tmp_path, "#size=8").train.labels.shape == (7, 8, 8)
    assert resolve(DataSpec(f"segmentation:{tmp_path}")).fingerprint


def test_splits_in_folders(tmp_path):
    for name, count in (("train", 8), ("val", 3), ("test", 4)):
        write(tmp_path / name, count)
    data = read(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (8, 3, 4)


def test_coco_polygons(tmp_path):
    write(tmp_path, 9, size=(20, 20))
    square = [[2, 2, 9, 2, 9, 9, 2, 9]]
    images = [{"id": n, "file_name": f"{n}.png"} for n in range(9)]
    annotations = [{"image_id": n, "category_id": 7, "segmentation": square} for n in range(9)]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "box"}]}
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(content))
    data = read(file)
    assert data.classes == ("ground", "box")
    assert (data.train.labels.sum(axis=(1, 2)) == 64).all()
    for change in ({"segmentation": {"counts": "a"}}, {"segmentation": [[1, 2, 3]]}, {"category_id": 8}):
        bad = content | {"annotations": [annotations[0] | change]}
        file.write_text(json.dumps(bad))
        with refuses("not-coco"):
            read(file)
    outside = {"images": [{"id": 0, "file_name": "../../etc/passwd"}], "annotations": annotations[:1]}
    file.write_text(json.dumps(content | outside))
    with refuses("no-file"):
        read(file)


def test_files_that_cannot_be_masks_are_refused(tmp_path):
    with refuses("no-file"):
        read(tmp_path / "none")
    with refuses("no-masks"):
        read(tmp_path)
    folder = write(tmp_path / "colour", mode="RGB")
    with refuses("mask-mode"):
        read(folder)
    folder = write(tmp_path / "few", count=3)
    with refuses("few-pictures"):
        read(folder)
    folder = write(tmp_path / "names", value=5)
    (folder / "classes.txt").write_text("a\nb\n")
    with refuses("mask-classes"):
        read(folder)
    (folder / "images" / "0.png").unlink()
    with refuses("no-masks"):
        read(folder)
    folder = write(tmp_path / "sizes")
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(folder / "masks" / "4.png")
    with refuses("mask-size"):
        read(folder)
    (folder / "masks" / "4.png").write_bytes(b"not a picture")
    with refuses("not-a-picture"):
        read(folder)
