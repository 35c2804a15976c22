import builtins
import sys

import numpy as np
import pytest

from disobey.data.sources.hub import from_hub
from tests.support.refusals import refuses

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    library = pytest.importorskip("datasets")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(library.config, "HF_HUB_OFFLINE", True)
    return library


def pictures(datasets, rows=range(40), labels=None):
    from PIL import Image

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee"])})
    labels = [i % 2 for i in rows] if labels is None else labels
    return datasets.Dataset.from_dict({"image": [Image.fromarray(IMAGES[i]) for i in rows], "label": labels}, features)


def test_pictures_saved_to_disk_come_back(datasets, tmp_path):
    pictures(datasets).save_to_disk(str(tmp_path / "one"))
    data = from_hub(f"hub:{tmp_path / 'one'}")
    assert data.classes == ("ant", "bee")
    for split in (data.train, data.validation, data.test):
        assert (split.inputs == IMAGES[split.ids]).all()
        assert (split.labels == split.ids % 2).all()


def test_own_splits_and_a_test_split_without_labels(datasets, tmp_path):
    parts = {
        "train": pictures(datasets),
        "validation": pictures(datasets, range(10)),
        "test": pictures(datasets, range(6)),
    }
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "full"))
    data = from_hub(f"hub:{tmp_path / 'full'}")
    assert [len(s) for s in (data.train, data.validation, data.test)] == [40, 10, 6]
    parts["test"] = pictures(datasets, range(6), labels=[-1] * 6)
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "glue"))
    data = from_hub(f"hub:{tmp_path / 'glue'}")
    assert [len(s) for s in (data.train, data.validation, data.test)] == [36, 4, 10]


def test_texts_of_a_local_repository_equal_the_file_itself(datasets, tmp_path):
    from disobey.data.formats.files import from_path

    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "train.csv").write_text("text,intent\n" + "".join(f"say {i},{'xyz'[i % 3]}\n" for i in range(60)))
    data = from_hub(f"hub:{folder}#intent")
    assert data.kind == "text"
    assert data.fingerprint == from_path(f"{folder}#intent").fingerprint


@pytest.mark.parametrize(
    ("name", "id", "part"),
    [
        ("hub:", "hub-name", "hub:FOLDER"),
        ("hub:no/such/thing", "hub-failed", "hub:NAME:CONFIGURATION"),
        ("hub:x#colour=1", "data-option", "'colour=1'"),
    ],
)
def test_what_cannot_be_had_is_refused(datasets, name, id, part):
    with refuses(id, "expected ", part):
        from_hub(name)


def test_a_data_set_of_another_kind_is_refused(datasets, tmp_path):
    datasets.Dataset.from_dict({"audio": [[1.0]] * 4, "label": [0, 1] * 2}).save_to_disk(str(tmp_path / "a"))
    with refuses("no-column", "inputs", "audio"):
        from_hub(f"hub:{tmp_path / 'a'}")


def test_without_the_extra_comes_a_hint(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "datasets":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    monkeypatch.setattr(builtins, "__import__", absent)
    with refuses("no-datasets", "pip install 'disobey[hub]'"):
        from_hub("hub:somebody/something")
