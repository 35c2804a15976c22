"""The study eigenspace: whole in smoke, controls that fail, paths that match the weights on disk."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from disobey.data.load import load
from disobey.studies.eigenspace import theory
from disobey.studies.eigenspace.layer_paths import WHOLE, bases, paths
from disobey.studies.eigenspace.study import Eigenspace
from disobey.training.recipe import Run
from disobey.training.restore import built
from tests.support.refusals import refuses


@pytest.fixture(scope="module")
def smoke(ran):
    return ran(Eigenspace.smoke())


def test_smoke_says_everything_and_the_same_again(smoke, says):
    says(*smoke, {"E1", "E2", "E3", "E4", "E5"})


def test_twins_share_everything_but_the_targets(smoke):
    study, _ = smoke
    for net in study.nets():
        student, twin = study.student(net), study.twin(net)
        assert replace(student, targets=twin.targets, teacher=None, teaching=twin.teaching) == twin
        (term,) = twin.targets.at(0.0)
        assert (term.source, term.temperature) == ("labels", net.temperature)


def test_paths_are_the_projected_movement(smoke):
    study, records = smoke
    net = next(n for n in study.nets() if n.model.startswith("deep-linear"))
    run = Run(study.twin(net), 0)
    dataset = load(run.recipe.data, 0)
    within = bases(run, records[run], dataset)
    found = paths(run, records[run], dataset, within, study.steps)
    start = built(run.recipe, dataset, 0).state_dict()
    end = load_file(records[run].weights())
    first = next(iter(within))
    moved = (end[f"{first}.weight"] - start[f"{first}.weight"]).double() @ within[first].of.directions
    expected = [float(moved[:, band].norm()) for band in within[first].bands]
    np.testing.assert_allclose(found[first][-1], expected)
    assert found[WHOLE].shape == found[first].shape == (len(study.steps) + 1, 3)
    assert (np.diff(found[first][:, 0]) > 0).all()


def test_a_twin_beside_itself_has_no_bias(smoke):
    study, records = smoke
    moved = study.paths(records, (0, 1))
    net = moved.judged()[0]
    beside = replace(moved, students={key: moved.twins[replace(key[0], age=None), key[1]] for key in moved.students})
    assert np.abs(moved.end(net)).max() > 0
    assert np.abs(beside.biases(net)).max() == 0


def test_the_theorem_stands_and_every_control_breaks():
    (claim,) = theory.theorem(5000)[0].claims
    assert claim.verdict == "supported"
    pure, *controls = claim.evidence
    assert pure.value == 0
    assert all(control.value > 0.01 for control in controls)
    # the shares of docs/theory.md, section 2, within four standard errors
    for control, share in zip(controls, (0.058, 0.192, 0.342, 0.408), strict=False):
        assert abs(control.value - share) < 4 * (share * (1 - share) / 2000) ** 0.5
    assert controls[-1].value > 0.95  # a start off zero


def test_a_blind_check_is_undecided(monkeypatch):
    monkeypatch.setattr(theory, "_ahead", lambda drawn: np.zeros(len(drawn.lower), bool))
    assert theory.theorem(5000)[0].claims[0].verdict == "undecided"


def test_a_broken_theorem_is_contradicted(monkeypatch):
    monkeypatch.setattr(theory, "matched_progress_gap", lambda *a, **k: np.array([1.0, -1.0]))
    assert theory.theorem(5000)[0].claims[0].verdict == "contradicted"


def test_the_simulated_generations_agree():
    assert theory.simulated().status == "ok"


def test_it_pays_at_the_top_only():
    claim, (best, teacher), table = theory.pays(points=3)
    assert claim.verdict == "supported"
    gains = {row[0]: row[1] for row in table.rows}
    assert gains["top 10 only"] == pytest.approx(0.18, abs=0.01)
    assert {len(column) for column in best.data.values()} == {9 * 6}
    gain = np.reshape(teacher.data["gain"], (6, 3, 3))[:, 1, 1]  # both at 173
    middle = dict(zip(dict.fromkeys(teacher.data["signal"]), gain, strict=True))
    assert middle["alignment 2"] > 0 > middle["alignment 0"]
    reference = {row[0]: row[5:] for row in table.rows}["top 10 only"]
    np.testing.assert_allclose(reference, (0.0329, 0.0259, 0.210, 0.397), rtol=5e-3)


def test_bad_options_are_refused():
    with refuses("ages"):
        Eigenspace(ages=(1.0,))
    torch.manual_seed(0)  # the study draws nothing from the global stream
    before = torch.get_rng_state()
    theory.theorem(10)
    assert torch.equal(before, torch.get_rng_state())
