"""What the tests of every study need: the whole study in smoke, and that it says the same twice."""

import pytest

from disobey.records.results import Claim, Result


@pytest.fixture(scope="session")
def ran(smoke_runs):
    """All runs of a smoke study: to (study, records)."""

    def finished(study):
        smoke, records = smoke_runs.records(study.name)
        assert smoke == study
        return smoke, records

    return finished


@pytest.fixture(scope="session")
def says():
    """Asserts that a study makes exactly these claims, the same whenever it is asked and after it was written down."""

    def check(study, records, claims: set[str]):
        result = study.analyze(records)
        assert result.smoke
        assert {c.name for c in result.of(Claim)} == claims
        assert study.analyze(records).to_json() == result.to_json()
        assert Result.from_json(result.to_json()).to_json() == result.to_json()

    return check
