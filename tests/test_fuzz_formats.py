"""Hostile files of every format, at `--data`, `diagnose` and every decoder: a message or a reading."""

import json
import random
import signal
import warnings
from contextlib import contextmanager

import pytest

from disobey.data.formats.files import from_path
from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.input.join import read_pair
from disobey.records.manifest import Damaged, seal_of
from disobey.records.store import Store
from disobey.training.recipe import Recipe, Run, closure
from tests.records.test_manifest import fill
from tests.support.format_mutants import FORMATS, mutants
from tests.support.mutants import bytes_mutants, json_mutants
from tests.training.test_recipe import STUDENT

MANY = [60, pytest.param(20_000, marks=pytest.mark.slow)]
SECONDS = 30  # that one file may take


@contextmanager
def in_time():
    def late(*args):
        raise AssertionError("a hang")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def read(use, *args):
    """Whether it was read; a refusal is one sentence on one line."""
    said = None
    try:
        with in_time(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numbers may overflow: they are anything now
            use(*args)
    except ValueError as error:
        said = str(error)
    assert said is None or ("\n" not in said and 0 < len(said) < 3_000), said
    return said is None


@pytest.mark.parametrize("n", MANY)
@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("npy", "safetensors")])
def test_hostile_data(tmp_path, name, n):
    """At ``--data``: a data set, or a refusal."""
    if name == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"a.{name}"
    if name == "idx":
        path = tmp_path / "train-images-idx3-ubyte"
        (tmp_path / "train-labels-idx1-ubyte").write_bytes(bytes((0, 0, 8, 1, 0, 0, 0, 30)) + bytes([0, 1, 2] * 10))
    opened = 0
    for data in mutants(name, 1, n):
        path.write_bytes(data)
        opened += read(from_path, str(tmp_path if name == "idx" else path))
    assert 0 < opened < n, "the attack reaches both sides of the reader"


@pytest.mark.parametrize("n", MANY)
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "idx"])
def test_hostile_pairs(tmp_path, name, n):
    """At ``diagnose``: evidence, or a refusal."""
    if name == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"a.{name}"
    if name == "npy":
        for other in ("teacher", "student"):
            (tmp_path / f"{other}.npy").write_bytes(next(mutants("npy", 5, 1)))
        path = tmp_path / "student.npy"
    opened = 0
    for data in mutants(name, 2, n):
        path.write_bytes(data)
        opened += read(lambda: gather(read_pair(tmp_path if name == "npy" else path)))
    assert opened < n


@pytest.mark.parametrize("n", MANY)
@pytest.mark.parametrize("which", ["labels", "student"])
def test_hostile_boxes(tmp_path, which, n):
    """At ``diagnose``: COCO's annotations, or a list of found boxes, of any content."""
    known = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 90, "height": 80} for i in range(6)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
        "annotations": [{"image_id": i, "category_id": 3, "bbox": [1, 2, 30, 40], "iscrowd": 0} for i in range(6)],
    }
    square = [[1, 1, 40, 1, 40, 40]]
    known["annotations"] += [{"image_id": i, "category_id": 5, "segmentation": square} for i in range(6)]
    boxes = [{"image_id": i % 6, "category_id": 3, "bbox": [1, 2, 28.5, 40], "score": 0.7} for i in range(12)]
    files = {"labels": known, "teacher": boxes, "student": boxes[:9]}
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    paths = [tmp_path / f"{name}.json" for name in ("teacher", "student", "labels")]
    rng, opened = random.Random(6), 0
    for number, value in enumerate(json_mutants(files[which], rng, n)):
        data = json.dumps(value).encode("utf-8", "surrogatepass")
        (tmp_path / f"{which}.json").write_bytes(next(bytes_mutants(data, rng, 1)) if number % 4 == 3 else data)
        opened += read(lambda: gather(read_pair(*paths[:2], labels=paths[2])))
    assert 0 < opened < n


@pytest.mark.parametrize("n", MANY)
def test_hostile_recipes(n):
    """Decoded, its runs named and listed, or refused: nothing that is a path, negative or without end."""
    whole = json.loads(STUDENT.to_json())
    whole["optim"], whole["keep"] = {"lr": 0.1, "steps": 9, "milestones": [0.5], "betas": [0.9, 0.99]}, [1, 2]
    good = 0
    for value in json_mutants(whole, random.Random(3), n):

        def use(value=value):
            recipe = Recipe.from_json(json.dumps(value))
            if max(recipe.teaching.members, recipe.teaching.folds) <= 50:
                for run in closure([Run(recipe)]):
                    assert Store("x").folder(run.id).parent.name == "runs"
                    assert min(run.recipe.keep, default=0) >= 0
                    assert run.recipe.optim.steps >= 0

        good += read(use)
    assert 0 < good < n


@pytest.mark.parametrize("n", MANY)
def test_hostile_run_records(tmp_path, n):
    """A run.json of any content, under a seal that fits: a record or damage."""
    store = Store(tmp_path)
    with store.writing("k-s0") as folder:
        fill(folder)
    path = store.folder("k-s0") / "run.json"
    good = 0
    for value in json_mutants(json.loads(path.read_text()), random.Random(4), n):
        if isinstance(value, dict) and "seal" in value:
            value["seal"] = seal_of(value)
        path.write_text(json.dumps(value))
        try:
            record = store.found("k-s0")
            assert record is not None
            read(record.log_probs, "test")
            good += 1
        except Damaged:
            continue
    assert 0 < good < n
