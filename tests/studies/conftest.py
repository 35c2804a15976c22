"""What the tests of every study need: the whole study in smoke, and that it says the same twice."""

import pytest

from disobey.records.results import Claim, Result
from disobey.records.store import Store
from disobey.training.execution.engine import run_all


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    """Trains all runs of a study: to (study, records)."""

    def train(study):
        outcome = run_all(study.plan(), Store(tmp_path_factory.mktemp("store")), workers=0)
        assert not outcome.failed
        return study, outcome.records

    return train


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
