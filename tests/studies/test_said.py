"""What a study says before its runs, and which claims may say so afterwards."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from disobey.records.registration import Registration
from disobey.records.results import Claim, Text
from disobey.studies import STUDIES
from disobey.studies.kit.declared import claim_specs
from disobey.studies.kit.options import changed
from disobey.studies.kit.said import first_finished, register, said_before

EARLY, LATE = "2026-11-28T20:00:00Z", "2026-11-28T21:00:00Z"


@dataclass(frozen=True)
class Record:
    """Of a run that was finished at a time."""

    cost: dict = field(default_factory=dict)
    path: Path = Path("nowhere")


def finished(at):
    return Record({"finished": at})


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_can_be_registered_without_a_run(name):
    study = STUDIES[name].smoke()
    said = register(study, date=EARLY)
    assert len(said.claims) >= 2
    assert set(said.claims) == {spec.id for spec in claim_specs(study)}
    assert all(claim["rule"]["words"] and claim["text"] for claim in said.claims.values())
    assert said.seeds == study.setup.seeds  # type: ignore[attr-defined]
    assert said.differences(register(study, date=LATE)) == ()
    assert "seeds" not in said.settings


@pytest.mark.parametrize("name", ["deviation", "teacher-free", "state-distillation", "sequence-distillation"])
def test_every_claim_that_is_judged_was_registered(name, smoke_runs):
    study, records = smoke_runs.records(name)
    judged = {claim.id for claim in study.analyze(records).of(Claim)}
    assert judged <= set(register(study).claims)


def result_of(smoke_runs):
    study, records = smoke_runs.records("deviation")
    return study, study.analyze(records)


def test_claims_say_so_where_nothing_differs_and_the_runs_came_later(smoke_runs):
    study, result = result_of(smoke_runs)
    said = register(study, date=EARLY)
    marked, differing = said_before(result, said, register(study), [finished(LATE), finished(LATE)])
    assert differing == ()
    assert {claim.said for claim in marked.of(Claim)} == {said.words}
    assert said.sha256 in marked.of(Text)[-1].body


def test_no_claim_says_so_after_a_run(smoke_runs):
    study, result = result_of(smoke_runs)
    marked, differing = said_before(result, register(study, date=LATE), register(study), [finished(EARLY)])
    assert len(differing) == 1
    assert {claim.said for claim in marked.of(Claim)} == {""}


def test_a_changed_rule_unmarks_its_own_claim_only(smoke_runs):
    study, result = result_of(smoke_runs)
    said = register(study, date=EARLY)
    rule = {**said.claims["C3"], "rule": {**said.claims["C3"]["rule"], "margin": 0.5}}
    said = replace(said, claims={**said.claims, "C3": rule})
    marked, differing = said_before(result, said, register(study), [finished(LATE)])
    assert len(differing) == 1
    assert differing[0].startswith("claim C3: rule")
    words = {claim.name: claim.said for claim in marked.of(Claim)}
    assert words.pop("C3") == ""
    assert set(words.values()) == {said.words}


def test_other_settings_or_seeds_unmark_all_claims(smoke_runs):
    study, result = result_of(smoke_runs)
    for change in ({"steps": 31}, {"seeds": (0, 1, 2)}):
        said = register(changed(study, change), date=EARLY)
        marked, differing = said_before(result, said, register(study), [finished(LATE)])
        assert len(differing) == 1
        assert {claim.said for claim in marked.of(Claim)} == {""}


def test_records_know_when_they_were_finished(smoke_runs, tmp_path):
    _, records = smoke_runs.records("deviation")
    assert all(isinstance(record.cost["finished"], str) for record in records.values())
    assert 1.7e9 < first_finished(records.values()) < 1e11
    assert first_finished([]) == float("inf")
    (tmp_path / "run.json").write_text("{}")
    assert first_finished([Record({}, tmp_path)]) == pytest.approx((tmp_path / "run.json").stat().st_mtime)


def test_the_registration_of_a_run_is_read_back(tmp_path, smoke_runs):
    study, _ = smoke_runs.records("deviation")
    said = register(study, {"until_settled": True, "max_seeds": 40, "block": 5})
    said.write(tmp_path / "said.json")
    assert Registration.read(tmp_path / "said.json").differences(said) == ()
    assert len(Registration.read(tmp_path / "said.json").differences(register(study))) == 3
