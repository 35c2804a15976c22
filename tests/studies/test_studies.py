"""Studies without training: records are made up, so what an analysis must find is known."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import log_softmax

from disobey.data.dataset import DataSpec
from disobey.data.load import load
from disobey.records.results import Chart, Claim, Gallery, Result, Table
from disobey.studies import STUDIES
from disobey.studies.deviation.study import Deviation
from disobey.studies.kit.options import options
from disobey.studies.kit.setup import Setup
from disobey.studies.loss_switching.study import LossSwitching
from tests.support.refusals import refuses

SETUP = Setup(data="digits-8x8", seeds=(0, 1, 2, 3, 4), steps=60)


@dataclass(frozen=True)
class Fake:
    """A record that never was trained: log-probabilities by split and step."""

    answers: dict
    examples: dict
    summary: dict

    def log_probs(self, split, step=None):
        return self.answers[split]

    @property
    def info(self):
        return {"data": {"source": "made up"}}


def records_of(study, speak):
    """Fake records for every planned run: ``speak(run, split, labels, rng)`` gives logits (N, C)."""
    found = {}
    for number, run in enumerate(study.plan()):
        data = load(DataSpec("digits-8x8"), run.seed)
        rng = np.random.default_rng(number)
        answers, examples = {}, {}
        for split in ("train", "validation", "test"):
            part = data.split(split)
            examples |= {f"{split}.ids": part.ids, f"{split}.labels": part.labels, f"{split}.given": part.observed}
            answers[split] = log_softmax(speak(run, split, part.labels, rng), axis=1)
        summary = {"fitted": 1.0, "train_accuracy": 1.0, "test_accuracy": 0.9}
        found[run] = Fake(answers, examples, summary)
    return found


def base_logits(seed, split, labels):
    """The teacher's logits: right mostly, confident by varying degrees; the same whoever asks."""
    rng = np.random.default_rng([seed, len(labels)])
    z = rng.normal(size=(len(labels), 10))
    z[np.arange(len(labels)), labels] += rng.gamma(3, 1, size=len(labels))
    return z


def obedient_or_exaggerating(slope):
    def speak(run, split, labels, rng):
        z = base_logits(run.seed, split, labels)
        if run.recipe.replica == 0:
            return z
        if run.recipe.targets.uses_teacher:
            return slope * z + 0.05 * rng.normal(size=z.shape)
        return 0.5 * z + rng.normal(size=z.shape)

    return speak


def verdicts(result):
    return {claim.name: claim.verdict for claim in result.of(Claim)}


def test_deviation_says_what_to_set():
    study = Deviation(SETUP, "mlp:16", students=("self",), temperatures=(1.0, 4.0), label_noise=(0.0,))
    result = study.analyze(records_of(study, obedient_or_exaggerating(1.0)))
    (main,) = (t for t in result.of(Table) if t.title.startswith("Recommendation"))
    rows = {row[0]: row[1] for row in main.rows}
    assert rows["recommended"] == "final teacher, τ=4, weight 1"  # as good as its teacher; the controls are not
    assert (rows["teacher"], rows["temperature"], rows["weight"]) == ("final", "4", "1")
    assert any(str(what).startswith("claim C3") for what in rows)
    (every,) = (t for t in result.of(Table) if t.title.startswith("Candidates"))
    assert len(every.rows) == 4  # labels; the final teacher at two temperatures; an early one


def deviation():
    return Deviation(SETUP, "mlp:16", students=("self",), temperatures=(4.0,), label_noise=(0.0,))


def test_a_planted_exaggeration_is_supported():
    study = deviation()
    found = verdicts(study.analyze(records_of(study, obedient_or_exaggerating(1.5))))
    assert found["C2 train"] == found["C2 test"] == "supported"


def test_a_planted_caution_is_contradicted():
    study = deviation()
    found = verdicts(study.analyze(records_of(study, obedient_or_exaggerating(0.3))))
    assert found["C2 train"] == found["C2 test"] == "contradicted"


def test_more_than_the_control_is_not_yet_what_the_claim_says():
    study = deviation()  # a slope of 0.8 where the control has 0.5
    claims = {c.name: c for c in study.analyze(records_of(study, obedient_or_exaggerating(0.8))).of(Claim)}
    assert claims["C2 test"].literal == "contradicted"
    assert claims["C2 test"].verdict == "undecided"


def test_deviation_of_independent_models_is_selection_and_not_supported():
    """A student that never listened looks less confident than its teacher, and so does its control: no verdict."""

    def speak(run, split, labels, rng):
        z = rng.normal(size=(len(labels), 10))
        z[np.arange(len(labels)), labels] += 2.0
        return z

    study = deviation()
    result = study.analyze(records_of(study, speak))
    claims = {c.name: c for c in result.of(Claim)}
    for name in ("C1 train", "C1 test"):
        student, minus_twin = claims[name].evidence
        assert student.high < 0  # alone it would have been an effect
        assert claims[name].literal == "supported"
        assert minus_twin.low < 0 < minus_twin.high
        assert claims[name].verdict in ("negligible", "undecided")
        assert "control" in claims[name].note
    for name in ("C2 train", "C2 test"):  # least squares would call it caution: noise attenuates it
        instrumental, _, least_squares, _ = claims[name].evidence
        assert least_squares.high < 0.8
        assert 0.9 < instrumental.value < 1.1
        assert claims[name].corrected in ("negligible", "undecided")


def test_a_gain_is_found_and_paired():
    def speak(run, split, labels, rng):
        z = base_logits(run.seed, split, labels)
        worse = rng.random(len(labels)) < (0.05 if run.recipe.targets.uses_teacher else 0.25)
        z[worse] = rng.normal(size=(int(worse.sum()), 10))
        return z

    study = deviation()
    result = study.analyze(records_of(study, speak))
    assert verdicts(result)["C3"] == "supported"
    assert all(e.n == 5 for c in result.of(Claim) for e in c.evidence)
    (gain,) = next(c.evidence for c in result.of(Claim) if c.name == "C3")
    assert gain.over == "runs and examples"


def test_a_seed_without_all_its_arms_is_left_out():
    study = deviation()
    records = records_of(study, obedient_or_exaggerating(1.5))
    missing = next(run for run in records if run.seed == 3 and run.recipe.targets.uses_teacher)
    del records[missing]
    result = study.analyze(records)
    assert all(e.n == 4 for c in result.of(Claim) for e in c.evidence)
    with refuses("no-complete-seed"):
        study.analyze({})


def test_the_share_recovered_is_planted_and_undefined_without_a_gain():
    study = LossSwitching(SETUP, "mlp:16", switch_points=(0.0, 0.5, 1.0), label_noise=(0.0,))

    def speaking(gain):
        def speak(run, split, labels, rng):
            phases = run.recipe.targets.phases
            listened = [phase.terms[0].source == "teacher" for phase in phases]
            share = 0.0 if not any(listened) else 1.0 if all(listened) else (0.8 if listened[-1] else 0.1)
            z = np.zeros((len(labels), 10))
            order = np.random.default_rng([run.seed, 1]).permutation(len(labels))
            right = order < len(labels) * (0.7 + gain * share) + rng.integers(-1, 2)
            z[np.arange(len(labels)), np.where(right, labels, (labels + 1) % 10)] = 3.0
            return z

        return speak

    claims = {c.name: c for c in study.analyze(records_of(study, speaking(0.2))).of(Claim)}
    assert claims["S0"].verdict == claims["S1"].verdict == "supported"
    assert claims["S1"].evidence[0].low < 0.8 < claims["S1"].evidence[0].high
    assert claims["S2"].verdict == "undecided"  # that it can help is not contradicted by one setting
    assert claims["S2"].evidence[0].high < 0
    none = {c.name: c for c in study.analyze(records_of(study, speaking(0.0))).of(Claim)}
    assert none["S1"].verdict == "undecided"
    assert none["S1"].note


@pytest.mark.parametrize("name", STUDIES)
def test_smoke_runs_end_to_end_and_is_deterministic(name, smoke_runs):
    study, records = smoke_runs.records(name)
    result = study.analyze(records)
    assert result.smoke
    assert set(result.settings) == {option.name for option in options(study)}
    assert Result.from_json(result.to_json()).to_json() == result.to_json()  # unknown numbers are equal to nothing
    assert study.analyze(records).to_json() == result.to_json()
    assert result.of(Claim)
    assert result.of(Table)
    assert all(chart.alt for chart in result.of(Chart))
    exact = {"denoising": {"draws"}, "eigenspace": {"cases"}, "dataset-dependency": {"draws"}}.get(name, set())
    known = {"runs", "runs and examples", "examples"} | exact  # the parts that train nothing
    known |= {"settings"} if name == "dataset-dependency" else set()  # where each is one number
    assert {e.over for c in result.of(Claim) for e in c.evidence} <= known


def test_studies_share_their_equal_runs():
    deviation_runs = {run.id for run in Deviation().plan()}
    switching_runs = {run.id for run in LossSwitching().plan()}
    assert len(deviation_runs & switching_runs) == 30  # teacher, one-hot and distillation, two noises, five seeds


def test_plans_pair_their_arms():
    study = Deviation()
    arm = study.design().one(noise=0.2, student="self", early=False, temperature=4.0)
    teacher, student, twin = arm.recipes()
    assert (teacher.replica, student.replica, twin.replica) == (0, 1, 1)
    assert (student.data, student.model, student.optim) == (twin.data, twin.model, twin.optim)
    assert student.teacher == teacher


@pytest.mark.parametrize("study", STUDIES.values(), ids=list(STUDIES))
def test_presets_plan(study, monkeypatch):
    import disobey.studies.kit.setup as setup

    small = load(DataSpec("digits-8x8"), 0)
    monkeypatch.setattr(setup, "load", lambda spec, seed: small)  # no download
    monkeypatch.setattr(setup, "resolve", lambda spec: spec)
    for changes in study.presets.values():
        assert study(**changes).plan()


def test_galleries_show_what_was_disobeyed():
    study = deviation()
    result = study.analyze(records_of(study, obedient_or_exaggerating(1.5)))
    gallery = result.of(Gallery)[0]
    assert len(gallery.exhibits) == 12
    assert np.shape(gallery.exhibits[0].image) == (8, 8)


def test_setup_refuses_nonsense():
    for seeds in ((), (1, 1)):
        with refuses("bad-seeds", str(seeds)):
            Setup(seeds=seeds)
    with refuses("bad-early", "1.0"):
        Deviation(early=1.0)
