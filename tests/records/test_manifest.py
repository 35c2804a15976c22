"""Nothing on disk is believed unchecked: whatever is done to a record's files is noticed before they are used."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from disobey.records import manifest, tables
from disobey.records.housekeeping import check, removable, remove, survey
from disobey.records.manifest import Damaged
from disobey.records.store import Store
from tests.support.refusals import refuses

RNG = np.random.default_rng(0)
RECIPE = {"model": {"width": 8}, "optim": {"lr": 0.01, "steps": 30}}


def fill(folder, seed=0, recipe=RECIPE):
    """A whole record, with other numbers every time."""
    for name in ("predictions", "weights"):
        (folder / name).mkdir()
    logs = RNG.normal(size=(20, 3)).astype(np.float32)
    for name in ("train", "validation", "test", "test@8"):
        np.save(folder / "predictions" / f"{name}.npy", logs)
    for name in ("last", "8"):
        save_file({"w": RNG.normal(size=(4, 4)).astype(np.float32)}, folder / "weights" / f"{name}.safetensors")
    ids = np.arange(20) + 100 * seed
    columns = {f"{split}.{name}": ids for split in ("train", "validation", "test") for name in ("ids", "labels")}
    save_file(columns, folder / "examples.safetensors")
    save_file({"loss": RNG.normal(size=30)}, folder / "history.safetensors")
    info = {"recipe": recipe, "seed": seed, "name": "n", "summary": {"test_accuracy": 0.91}, "cost": {"seconds": 1.0}}
    (folder / "run.json").write_text(json.dumps(info, indent=1))


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    for run_id, seed in (("k-s0", 0), ("k-s1", 1)):
        with store.writing(run_id) as folder:
            fill(folder, seed)
    return store


def read(store):
    """Everything that an analysis or a student reads of a record."""
    record = store.found("k-s0", RECIPE)
    return [
        record.info,
        record.history,
        record.examples,
        record.weights(),
        record.weights(8),
        record.log_probs("test", 8),
        *(np.array(record.log_probs(split)) for split in ("train", "validation", "test")),
    ]


FILES = (
    "run.json",
    "examples.safetensors",
    "history.safetensors",
    "predictions/train.npy",
    "predictions/test.npy",
    "predictions/test@8.npy",
    "weights/last.safetensors",
    "weights/8.safetensors",
)


def flip(path, place=0.7):
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 4
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def longer(path):
    path.write_bytes(path.read_bytes() + b"\0" * 40)


def empty(path):
    path.write_bytes(b"")


def zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


def gone(path):
    path.unlink()


def folder_instead(path):
    path.unlink()
    path.mkdir()


def pipe_instead(path):
    path.unlink()
    os.mkfifo(path)


DAMAGES = (flip, cut, longer, empty, zeros, gone, folder_instead, pipe_instead)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", FILES)
def test_every_damage_to_every_file_is_noticed(store, name, damage):
    assert len(read(store)) == 9
    damage(store.folder("k-s0") / name)
    with refuses("damaged-record", "k-s0"):
        read(store)
    with refuses("damaged-record"):
        check(store, "k-s0")


@pytest.mark.parametrize("name", FILES)
def test_another_runs_file_is_noticed(store, name):
    own, other = (store.folder(run_id) / name for run_id in ("k-s0", "k-s1"))
    own.write_bytes(other.read_bytes())
    with refuses("damaged-record", "k-s0"):
        read(store)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_other_numbers_in_a_sound_file_are_noticed(store, value):
    path = store.folder("k-s0") / "predictions" / "test.npy"
    array = np.load(path)
    array[3, 1] = value
    np.save(path, array)
    with refuses("damaged-record", "predictions/test.npy"):
        read(store)


def test_every_byte_of_run_json_is_under_its_seal(store):
    """Whatever byte of it is changed: noticed, or (white space alone) the same values."""
    path = store.folder("k-s0") / "run.json"
    whole = path.read_bytes()
    values = json.loads(whole)
    unnoticed = 0
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 7)
        path.write_bytes(changed)
        try:
            assert store.found("k-s0", RECIPE).info == values
            unnoticed += 1
        except Damaged:
            continue
    assert unnoticed < whole.count(b"\n") + whole.count(b" ")


@pytest.mark.parametrize("place", np.linspace(0.0, 0.999, 25))
def test_one_bit_anywhere_in_the_weights(store, place):
    flip(store.folder("k-s0") / "weights" / "last.safetensors", place)
    with refuses("damaged-record", "weights/last.safetensors"):
        store.found("k-s0").weights()


def test_a_file_that_is_not_in_the_manifest_is_not_read(store):
    record = store.folder("k-s0") / "predictions"
    (record / "test@9.npy").write_bytes((record / "test.npy").read_bytes())
    with refuses("damaged-record", "not in its manifest"):
        store.found("k-s0").log_probs("test", 9)


def test_a_file_is_hashed_once_in_a_process_and_again_when_it_has_changed(store, monkeypatch):
    hashed = []
    digest = manifest.digest
    monkeypatch.setattr(manifest, "digest", lambda path: hashed.append(path.name) or digest(path))
    read(store)
    first = list(hashed)
    read(store)
    assert hashed == first
    assert sorted(set(first)) == [*sorted(Path(name).name for name in FILES if name != "run.json"), "validation.npy"]
    flip(store.folder("k-s0") / "predictions" / "test.npy")
    with refuses("damaged-record"):
        read(store)


def test_damage_survives_a_trip_between_processes():
    error = pickle.loads(pickle.dumps(Damaged("a/k-s0", "nothing")))
    assert (error.id, error.path, error.why) == ("damaged-record", Path("a/k-s0"), "nothing")
    assert str(error) == str(Damaged("a/k-s0", "nothing"))


def strip(store, run_id):
    """As a version without manifests wrote it."""
    path = store.folder(run_id) / "run.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in info.items() if name not in ("files", "seal")}))


def test_records_without_a_manifest_are_read_and_counted(store):
    strip(store, "k-s0")
    assert len(read(store)) == 9
    assert store.found("k-s0").unverified
    assert not store.found("k-s1").unverified
    assert survey(store, hashes=True).unverified == {"k-s0"}


@pytest.mark.parametrize("name", FILES[1:6])
@pytest.mark.parametrize("damage", [cut, empty, gone, zeros], ids=lambda f: f.__name__)
def test_without_a_manifest_a_file_that_cannot_be_read_is_still_damage(store, name, damage):
    strip(store, "k-s0")
    damage(store.folder("k-s0") / name)
    with refuses("damaged-record", "k-s0"):
        read(store)


@pytest.mark.parametrize("missing", ["files", "seal"])
def test_half_a_manifest_is_damage(store, missing):
    path = store.folder("k-s0") / "run.json"
    info = json.loads(path.read_text())
    del info[missing]
    path.write_text(json.dumps(info))
    with refuses("damaged-record"):
        store.found("k-s0")


HOSTILE = {
    "seed is a path": {"seed": "../../../../tmp/x"},
    "seed is negative": {"seed": -1},
    "seed is a float": {"seed": 0.0},
    "seed is true": {"seed": True},
    "recipe is a list": {"recipe": []},
    "no recipe": {"recipe": None},
    "files leave the folder": {"files": {"../k-s1/run.json": {"bytes": 1, "sha256": ""}}},
    "files are absolute": {"files": {"/etc/passwd": {"bytes": 1, "sha256": ""}}},
    "summary of texts": {"summary": {"test_accuracy": "best"}},
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_run_json_that_is_not_ours(store, change):
    path = store.folder("k-s0") / "run.json"
    info = json.loads(path.read_text()) | change
    info["seal"] = manifest.seal_of(info)
    path.write_text(json.dumps(info))
    with refuses("damaged-record"):
        store.found("k-s0")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 900 + "1" + "}" * 900, "", "null", "\ufeff{}", "NaN"])
def test_a_run_json_that_is_no_record(store, text):
    (store.folder("k-s0") / "run.json").write_text(text)
    with refuses("damaged-record"):
        store.found("k-s0")
    assert store.find("k-s0") is None


def test_tables_are_believed_only_with_their_note(tmp_path):
    path, array = tmp_path / "cache" / "t.npy", RNG.normal(size=(5, 3))
    of = {"teacher-s0": "ab"}
    tables.write_table(path, array, of)
    np.testing.assert_array_equal(tables.read_table(path, of), array)
    assert tables.read_table(path, {"teacher-s0": "cd"}) is None, "another teacher's weights"
    for damage in (flip, cut, longer, empty, zeros, gone):
        tables.write_table(path, array, of)
        damage(path)
        assert tables.read_table(path, of) is None, damage.__name__
    for damage in (cut, empty, zeros, gone):
        tables.write_table(path, array, of)
        damage(tables.note_of(path))
        assert tables.read_table(path, of) is None, damage.__name__


def report_on(store, name, runs):
    folder = store.root / "reports" / name
    folder.mkdir(parents=True)
    (folder / "provenance.json").write_text(json.dumps({} if runs is None else {"runs": runs}))


def test_what_no_report_refers_to_can_go(store):
    report_on(store, "deviation", ["k-s0"])
    tables.write_table(store.root / "cache" / "a.npy", np.zeros(3), {"k-s0": ""})
    tables.write_table(store.root / "cache" / "b.npy", np.zeros(3), {"k-s1": ""})
    seen = survey(store, hashes=True)
    assert seen.orphans == ("k-s1",)
    items = removable(seen)
    assert {item.path.name for item in items} == {"k-s1", "b.npy"}
    assert remove(store, items) == sum(item.bytes for item in items) > 0
    assert [path.name for path in (store.root / "runs").iterdir()] == ["k-s0"]
    assert {path.name for path in (store.root / "cache").iterdir()} == {"a.npy", "a.json"}
    assert not removable(survey(store))


def test_no_run_goes_where_a_report_does_not_name_its_runs(store):
    report_on(store, "deviation", None)
    assert removable(survey(store)) == []


def test_damage_is_listed_and_found_by_hash(store):
    flip(store.folder("k-s0") / "weights" / "8.safetensors")
    cut(store.folder("k-s1") / "history.safetensors")
    assert survey(store).damaged.keys() == {"k-s1"}
    assert survey(store, hashes=True).damaged.keys() == {"k-s0", "k-s1"}
    store.set_aside("k-s1", "because")
    assert len(survey(store).aside) == 2
