"""`disobey run STUDY --until-settled`: the loop of `studies.kit.settle`, told on standard error."""

from __future__ import annotations

import sys

from disobey.measures.inference.policy import using
from disobey.records.manifest import Damaged
from disobey.records.results import Result
from disobey.studies.kit.settle import ANYTIME, Stopping, Train, settle, with_paths
from disobey.studies.kit.study import Study
from disobey.training.execution.engine import Outcome


def until_settled(study: Study, train: Train, stopping: Stopping) -> tuple[Study, Outcome, Result | ValueError]:
    """The study with all of its seeds, their runs, and what they say; why nothing, where runs failed."""
    settled = settle(study, train, stopping, _tell)
    try:
        with using(ANYTIME):
            result = settled.study.analyze(settled.outcome.records)
    except Damaged:
        raise
    except ValueError as error:
        if settled.outcome.failed:
            return settled.study, settled.outcome, error
        raise
    return settled.study, settled.outcome, with_paths(result, settled, stopping)


def _tell(line: str) -> None:
    print(f"disobey: {line}", file=sys.stderr, flush=True)
