import os
from dataclasses import replace

import numpy as np
import pytest

from disobey.data import load as door
from disobey.data.dataset import DataSpec
from disobey.data.load import DATASETS, description, fold_parts, load, resolve
from disobey.data.subsets import stratified_order, stream
from tests.support.refusals import refuses

DIGITS = DataSpec("digits-8x8")


def write_csv(path, rows=60, words=("sun", "moon")):
    path.write_text("text,label\n" + "".join(f"the {words[i % 2]} number {i},{words[i % 2]}\n" for i in range(rows)))
    return path


def test_subsets_are_nested_within_a_seed_and_ids_follow():
    whole = load(DIGITS, 1).train
    previous = set()
    for n in (10, 50, 500, len(whole)):
        part = load(replace(DIGITS, train=n), 1).train
        assert len(part) == n
        assert previous <= set(part.ids)
        assert len(np.unique(part.labels)) == 10
        rows = np.searchsorted(whole.ids, part.ids)
        assert (whole.inputs[rows] == part.inputs).all()
        assert (whole.labels[rows] == part.labels).all()
        previous = set(part.ids)
    assert previous == set(whole.ids)
    assert set(load(replace(DIGITS, train=50), 2).train.ids) != set(load(replace(DIGITS, train=50), 1).train.ids)


def test_validation_and_test_are_nobodys_affair():
    base = load(DIGITS, 0)
    other = load(DataSpec("digits-8x8", train=30, noise=0.5, fold=(1, 3)), 9)
    for name in ("validation", "test"):
        assert (base.split(name).ids == other.split(name).ids).all()
        assert not other.split(name).mislabelled.any()
    ids = np.concatenate([base.split(name).ids for name in ("train", "validation", "test")])
    assert sorted(ids) == list(range(1797))


@pytest.mark.parametrize("kind", ["symmetric", "class"])
def test_noise_is_exact_and_the_mask_is_kept(kind):
    data = load(DataSpec("digits-8x8", train=200, noise=0.25, noise_kind=kind), 3)
    assert data.train.mislabelled.sum() == 50
    clean = load(DataSpec("digits-8x8", train=200), 3)
    assert (clean.train.labels == data.train.labels).all()
    assert not clean.train.mislabelled.any()
    assert not load(DIGITS, 3).train.mislabelled.any()  # nothing leaked into the shared base


def test_class_noise_prefers_what_looks_alike():
    data = load(DataSpec("languages", noise=0.3, noise_kind="class"), 0)
    wrong = data.train.mislabelled
    told = {
        data.classes[a]: data.classes[b]
        for a, b in zip(data.train.labels[wrong], data.train.observed[wrong], strict=True)
    }
    assert told["Portuguese"] == "Spanish"
    assert told["Spanish"] in ("Portuguese", "Italian")


def test_parts_partition_the_students_examples_with_their_labels():
    spec = DataSpec("digits-8x8", train=300, noise=0.2)
    student = load(spec, 5).train
    parts = fold_parts(spec, 5, 4)
    assert len(parts) == 300
    for i in range(4):
        teacher = load(replace(spec, fold=(i, 4)), 5).train
        kept = parts != i
        assert (teacher.ids == student.ids[kept]).all()
        assert (teacher.observed == student.observed[kept]).all()
        counts = np.bincount(student.labels[~kept], minlength=10)
        assert counts.max() - counts.min() <= 2
    bigger = load(replace(spec, train=600), 5).train  # an example keeps its part whatever the size of the subset
    lookup = dict(zip(bigger.ids, fold_parts(replace(spec, train=600), 5, 4), strict=True))
    assert all(lookup[name] == part for name, part in zip(student.ids, parts, strict=True))


def test_load_agrees_with_its_slow_twin():
    base = load(DIGITS, 0).train
    order = stratified_order(base.labels, stream(4, "subset"))
    assert load(replace(DIGITS, train=77), 4).train.ids.tolist() == sorted(base.ids[row] for row in order[:77])


@pytest.mark.parametrize(
    ("spec", "id", "part"),
    [
        (DataSpec("digits-8x9"), "unknown-data", "try 'digits-8x8'"),
        (DataSpec("digits-8x8", train=0), "train-size", "1257"),
        (DataSpec("digits-8x8", train=1258), "train-size", "got 1258"),
        (DataSpec("digits-8x8", noise=1.0), "noise-range", "1.0"),
        (DataSpec("digits-8x8", noise=-0.1), "noise-range", "-0.1"),
        (DataSpec("digits-8x8", noise=float("nan")), "noise-range", "nan"),
        (DataSpec("digits-8x8", noise_kind="pair"), "noise-kind", "pair"),  # type: ignore[arg-type]
        (DataSpec("digits-8x8", augment="cut"), "unknown-augment", "cut"),  # type: ignore[arg-type]
        (DataSpec("digits-8x8", fold=(3, 3)), "fold-range", "(3, 3)"),
        (DataSpec("digits-8x8", fold=(0, 1)), "fold-range", "(0, 1)"),
        (DataSpec("digits-8x8", train=5, fold=(0, 6)), "fold-range", "(0, 6)"),
        (DataSpec("synthetic:overlap#examples=200", augment="crop"), "augment-kind", "features"),
        (DataSpec("languages", augment="mixup"), "augment-kind", "text"),
        (DataSpec("no/such/file.csv"), "no-file", "no/such/file.csv"),
        (DataSpec("hub:"), "hub-name", "hub:NAME"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(spec, id, part):
    with refuses(id, "expected ", part):
        load(spec, 0)


def test_a_changed_file_is_another_identity(tmp_path):
    file = write_csv(tmp_path / "a.csv")
    spec = resolve(DataSpec(str(file)))
    assert len(spec.fingerprint) == 16
    assert resolve(spec) == spec
    assert load(spec, 0).classes == ("moon", "sun")
    write_csv(file, rows=62)
    os.utime(file, ns=(1, 1))
    with refuses("changed-data", spec.fingerprint):
        load(spec, 0)
    assert resolve(spec).fingerprint != spec.fingerprint
    load(resolve(spec), 0)
    write_csv(file)
    assert resolve(spec) == spec  # the content counts, not the time


def test_embedded_data_need_no_fingerprint_but_unknown_names_are_found_early():
    assert resolve(DIGITS) == DIGITS
    with refuses("unknown-data", "try 'languages'"):
        resolve(DataSpec("languagse"))


def test_every_name_has_a_line_of_description():
    for name in DATASETS:
        assert 20 < len(description(name)) < 120


def test_a_run_does_not_read_the_file_twice(tmp_path, monkeypatch):
    file = write_csv(tmp_path / "b.csv")
    reads = []
    real = door.from_path
    monkeypatch.setattr(door, "from_path", lambda name: reads.append(name) or real(name))
    for seed in range(5):
        load(DataSpec(str(file), train=10), seed)
    assert len(reads) == 1
