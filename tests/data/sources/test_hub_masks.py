"""Masks from the hub's files: two columns of pictures become images and the classes of their pixels."""

import io

import numpy as np
import pytest

from disobey.data.dataset import VOID, DataSpec
from disobey.data.load import load
from tests.support.refusals import refuses

datasets = pytest.importorskip("datasets")
Image = pytest.importorskip("PIL.Image")


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def saved(folder, kind):
    rng = np.random.default_rng(0)
    mask = np.zeros((6, 5), np.uint8)
    mask[0], mask[-1, -1] = 3, 255
    rows = {
        "image": [png(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)) for _ in range(10)],
        "annotation": [png(mask) for _ in range(10)] if kind == "image" else [1] * 10,
    }
    features = {
        "image": datasets.Image(),
        "annotation": datasets.Image() if kind == "image" else datasets.Value("int64"),
    }
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows, datasets.Features(features))}).save_to_disk(
        str(folder)
    )
    return folder


def test_two_columns_of_pictures(tmp_path):
    data = load(DataSpec(f"segmentation:hub:{saved(tmp_path / 'a', 'image')}"), 0)
    assert data.train.labels.shape == (7, 6, 5)
    assert data.classes == ("0", "1", "2", "3")
    assert (data.train.labels[:, 0] == 3).all()
    assert (data.train.labels[:, -1, -1] == VOID).all()


def test_a_column_of_numbers_is_no_mask(tmp_path):
    with refuses("mask-column"):
        load(DataSpec(f"segmentation:hub:{saved(tmp_path / 'b', 'number')}"), 0)
