"""Finished smoke runs: every study is trained once in a whole test run, whichever process asks first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from disobey.records.store import Store
from disobey.studies import STUDIES
from disobey.studies.kit.design import Records
from disobey.training.execution.engine import run_all


@dataclass(frozen=True)
class SmokeRuns:
    """Stores of smoke runs under one folder that all test processes share."""

    folder: Path

    def store(self, name: str) -> Path:
        """The store of a study's smoke test, with all of its runs; not to be written to."""
        self.records(name)
        return self.folder / name

    def records(self, name: str) -> tuple[Any, Records]:
        """The smoke study and its records, trained where nobody did so before."""
        study = STUDIES[name].smoke()
        self.folder.mkdir(exist_ok=True)
        with FileLock(self.folder / f"{name}.lock"):
            outcome = run_all(study.plan(), Store(self.folder / name), workers=0)
        assert not outcome.failed, [failure.message for failure in outcome.failed.values()]
        return study, outcome.records
