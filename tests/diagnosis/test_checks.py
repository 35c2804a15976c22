"""Every check catches the fault that it is for, and sound pairs raise no warning. The full table is in docs/diagnose.md."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from disobey.diagnosis.checks import alignment, confidence, numbers, outcome
from disobey.diagnosis.diagnose import CHECKS, judged
from disobey.diagnosis.evidence import gather
from disobey.diagnosis.pairs import pair_from

_SPEC = importlib.util.spec_from_file_location("reference_pairs", Path(__file__).with_name("reference_pairs.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
pairs = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(pairs)


def _warned(arrays, checks=CHECKS):
    return {f.name: f for f in judged(gather(pair_from(arrays)), checks) if f.status == "warning"}


def _check_named(name):
    """The check whose findings have this name, so that a fault is not looked for by all of them."""
    home = {"row alignment": "row_alignment", "test size": "large_enough"}
    return [
        c
        for c in CHECKS
        if c.__name__ == home.get(name, name.replace(" ", "_").replace("best_of_many", "best_of_many"))
    ]


@pytest.mark.parametrize("fault", pairs.FAULTS, ids=lambda f: f.__name__)
def test_planted_faults_are_caught(fault):
    name = pairs.FAULTS[fault]
    checks = _check_named(name)
    assert checks, name
    found = _warned(fault(0), checks)
    assert name in found
    assert found[name].advice


@pytest.mark.parametrize("kind", pairs.KINDS)
def test_sound_pairs_raise_no_warning(kind):
    assert not _warned(pairs.clean(500, kind=kind))


def test_sound_top_k_raises_no_warning():
    assert not _warned(pairs.top_k(0))


@pytest.mark.slow
@pytest.mark.parametrize("fault", pairs.FAULTS, ids=lambda f: f.__name__)
def test_power(fault):
    name = pairs.FAULTS[fault]
    caught = sum(name in _warned(fault(seed), _check_named(name)) for seed in range(40))
    assert caught >= 38


@pytest.mark.slow
def test_false_alarms():
    alarms = {seed: found for seed in range(200) if (found := set(_warned(pairs.clean(seed))))}
    assert len(alarms) <= 2, alarms


def test_shift_is_found_with_its_sign():
    arrays = pairs.clean(3, kind="plain")
    moved = arrays | {"student": np.roll(arrays["student"], 17, axis=0)}
    finding = _warned(moved, [alignment.row_alignment])["row alignment"]
    assert "-17 rows" in finding.message
    assert np.array_equal(np.roll(moved["student"], -17, axis=0), arrays["student"])


def test_permutation_is_named():
    arrays = pairs.clean(3, kind="plain")
    classes = arrays["teacher"].shape[1]
    names = np.array([f"class {i}" for i in range(classes)])
    order = np.arange(classes)
    order[[0, 1]] = [1, 0]
    finding = _warned(arrays | {"student": arrays["student"][:, order], "class_names": names}, [alignment.class_order])
    assert "class 0 → class 1" in finding["class order"].message


def test_duplicates_of_one_side_only_are_no_fault():
    """A tree gives the same answer often; its student does not."""
    arrays = pairs.clean(1, kind="plain")
    flat = arrays | {"teacher": arrays["teacher"].round(-1)}
    assert numbers.duplicated_rows(gather(pair_from(flat))).status == "ok"


def test_findings_do_not_depend_on_the_order_of_classes():
    arrays = pairs.clean(2, kind="plain")
    order = np.random.default_rng(0).permutation(arrays["teacher"].shape[1])
    place = np.argsort(order)
    other = {n: a[:, order] if a.ndim == 2 else place[a] for n, a in arrays.items()}
    first, second = (judged(gather(pair_from(a))) for a in (arrays, other))
    assert [(f.name, f.status) for f in first] == [(f.name, f.status) for f in second]


def _noisy(seed, n=1500, noise=0.5):
    """Teacher, student and twin that learned labels of which half are wrong: flat, and rightly so."""
    rng = np.random.default_rng(seed)
    z = 4 * rng.normal(size=(n, 10))
    labels = z.argmax(axis=1)

    def model(scale):
        p = np.exp(z + scale * rng.normal(size=z.shape))
        return np.log((1 - noise) * p / p.sum(axis=1, keepdims=True) + noise / 10)

    teacher = model(0.5)
    student = teacher + 0.1 * rng.normal(size=z.shape)
    return {"teacher": teacher, "student": student, "twin": model(0.5), "labels": labels}


def test_noisy_training_labels_are_no_temperature():
    """The twin is as flat as the teacher, which it never saw."""
    arrays = _noisy(0)
    by_name = {
        f.name: f for f in judged(gather(pair_from(arrays)), [numbers.stated_values, confidence.plausible_teacher])
    }
    assert [f.status for f in by_name.values()] == ["note", "note"]
    assert "smoothed training labels" in by_name["stated values"].message
    sharp = arrays | {"twin": arrays["twin"] + 5 * np.eye(10)[arrays["labels"]]}
    assert "plausible teacher" in _warned(sharp, [confidence.plausible_teacher])


def test_seeds_of_another_teacher_are_found():
    rng = np.random.default_rng(0)
    z = 2 * rng.normal(size=(800, 5))
    own, other = (z + rng.normal(size=z.shape) for _ in range(2))
    taught = {f"student/seed{i}": own + 0.3 * rng.normal(size=z.shape) for i in range(4)}
    assert not _warned({"teacher": own, **taught}, [outcome.same_teacher])
    mixed = taught | {f"student/seed{i}": other + 0.3 * rng.normal(size=z.shape) for i in (1, 2, 3)}
    assert "student/seed0" in _warned({"teacher": own, **mixed}, [outcome.same_teacher])["same teacher"].message
