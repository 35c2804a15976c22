"""top-k on made-up records: planted costs get their words, and nothing gets one from nothing."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from disobey.records.results import Chart, Claim, Table
from disobey.studies.kit.null import null_of
from disobey.studies.top_k.study import TextSetup, TopK
from disobey.training.recipe import Run
from tests.support.refusals import refuses

SETUP = TextSetup("text:jinja2#128", seeds=(0, 1, 2, 3, 4), steps=4, batch=2)
STUDY = replace(TopK.smoke(), setup=SETUP)
WINDOWS = 64


@dataclass(frozen=True)
class Fake:
    """A record of numbers alone."""

    summary: dict
    history: dict


def made_up(cost, spread=0.002):
    """Records in which ``cost(kept, k)`` is added to the NLL of the whole teacher's student (labels: ``kept`` none)."""
    rng, found = np.random.default_rng(0), {}
    arms = {arm.recipe: arm for arm in STUDY.arms}
    easy = rng.normal(0, 0.5, WINDOWS)  # windows differ, in all runs alike
    for run in STUDY.plan():
        arm = arms.get(run.recipe)
        more = cost(arm["kept"], arm["k"]) if arm else cost("labels", 0)
        nll = 4 + more + easy + spread * rng.normal(size=WINDOWS) + spread * rng.normal()
        history = {"nll": nll, "kl": nll - 3, "right": np.full(WINDOWS, 0.2), "overconfidence": more / 5 + 0 * nll}
        history["overconfidence"] += spread * rng.normal()
        history |= {"mass": np.linspace(0.1, 1, 128), "collision": np.array([0.1])}
        numbers = {name: float(values.mean()) for name, values in history.items() if name != "mass"}
        found[run] = Fake(numbers | {"parameters": 10}, history)
    return found


def words(records):
    return {(claim.name, claim.setting): claim.verdict for claim in STUDY.verdicts(records).claims}


def test_a_costly_list_a_good_bucket_and_good_draws_are_found():
    found = words(made_up(lambda kept, k: {"labels": 0.3, "renormalized": 0.8 / (k or 1)}.get(kept, 0.0)))
    at = "k = 2, τ = 1"
    expected = {"K1": "supported", "K2": "supported", "K3": "supported", "K4": "supported", "K5": "supported"}
    assert {id: found[id, at] for id in expected} == expected
    assert found["K6", at] == "negligible"
    assert found["K7", at] == "contradicted"
    assert found["K7", "k = 8, τ = 1"] == "supported"
    assert {word for (id, _), word in found.items() if id == "K0"} == {"supported"}
    assert {word for (id, _), word in found.items() if id == "K8"} == {"supported"}


def test_noisy_draws_and_a_bad_bucket_are_contradicted():
    found = words(made_up(lambda kept, k: {"labels": 0.3, "draws": 0.1, "bucket": 0.5, "mixed": 0.2}.get(kept, 0.0)))
    at = "k = 8, τ = 2"
    expected = {"K1": "negligible", "K3": "contradicted", "K4": "contradicted", "K5": "contradicted"}
    assert {id: found[id, at] for id in expected} == expected
    assert found["K6", at] == "supported"
    assert next(word for (id, _), word in found.items() if id == "K8") == "contradicted"


def test_windows_count_where_runs_agree():
    """Arms that differ on single windows: the interval of a difference is wider than the runs alone make it."""
    records = made_up(lambda kept, k: 0.0)
    arm = STUDY.cuts()[0].draws
    shift = 0.2 * np.random.default_rng(1).normal(size=WINDOWS)
    for seed in SETUP.seeds:
        record = records[Run(arm.recipe, seed)]
        record.history["nll"] += shift
        record.summary["nll"] += shift.mean()
    (claim,) = (c for c in STUDY.verdicts(records).claims if (c.name, c.setting) == ("K4", STUDY.cuts()[0].label))
    assert claim.evidence[0].over == "runs and examples"
    assert claim.evidence[0].high - claim.evidence[0].low > 2 * 0.2 / np.sqrt(WINDOWS)


def test_students_differ_in_their_targets_alone_and_the_bytes_are_equal():
    design = STUDY.design()
    plain = STUDY.control.targets
    assert {replace(arm.recipe, targets=plain) for arm in design.arms} == {STUDY.control}
    assert {arm.control for arm in design.arms} == {STUDY.control}
    for cut in STUDY.cuts():
        assert cut.draws["bytes"] == cut.renormalized["bytes"] == cut.bucket.number("bytes") - 4
    assert len({run.id for run in STUDY.plan()}) == len(STUDY.plan())


def test_what_is_shown_names_every_arm():
    result = STUDY.analyze(made_up(lambda kept, k: 0.1 if kept == "labels" else 0.0))
    assert [chart.name for chart in result.of(Chart)] == ["nll", "cost", "overconfidence"]
    assert len(result.of(Table)[0].rows) == len(STUDY.arms) + 1
    lost = {row[0]: row for row in result.of(Table)[1].rows}
    bias = lost["top 2, renormalized, τ = 1"]
    assert bias[3].value == pytest.approx(2 * bias[2].value)
    assert lost["4 draws, τ = 1"][4].value == pytest.approx(np.sqrt(0.9 / 4))
    assert {claim.name for claim in result.of(Claim)} == {f"K{i}" for i in range(9)}


def test_the_null_has_replicas_of_the_control_in_every_place():
    null = null_of(STUDY, pool=5)
    (place,) = null.places
    assert place.control == STUDY.control
    assert len(place.recipes) == len(STUDY.arms) + 1
    assert {run.recipe for run in null.runs()} >= {STUDY.teacher_recipe, STUDY.control}


def test_options_that_cannot_be():
    with refuses("cuts"):
        TopK(ks=())
    with refuses("cuts"):
        TopK(ks=(0,))
    with refuses("bad-seeds"):
        TextSetup(seeds=(1, 1))
