"""Every check catches the fault that it is for, and sound pairs raise no warning. The full table is in docs/diagnose.md."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from disobey.diagnosis.checks import alignment, numbers
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
