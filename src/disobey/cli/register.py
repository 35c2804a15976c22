"""`disobey register STUDY`: claims, rules, settings and seeds, written down under a hash before the runs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disobey.cli.options import parse_study
from disobey.records.registration import Registration
from disobey.records.results import Result
from disobey.records.runs import RunRecord
from disobey.studies.kit.said import register, said_before
from disobey.studies.kit.study import Study


@dataclass(frozen=True)
class RegisterOptions:
    """Options of `disobey register` beside the study's own."""

    file: Path | None = None
    """where to write it; registered-STUDY.json where not given"""
    preset: str = ""
    """named settings of this study; other options override them"""
    full: bool = False
    """short for --preset full, where the study has one"""
    smoke: bool = False
    """the settings of the smoke test"""
    until_settled: bool = False
    """seeds are going to be added until every claim is settled"""
    max_seeds: int = 40
    """with --until-settled: no more seeds than these"""
    block: int = 5
    """with --until-settled: seeds that are added at a time"""


def main(argv: list[str]) -> int:
    """Writes a registration; the exit status."""
    from disobey.cli.run import named_study, starting_point

    kind, rest = named_study(argv, "register")
    study, options = parse_study(
        starting_point(kind, rest),
        RegisterOptions(),
        rest,
        prog=f"disobey register {kind.name}",
        description=f"Writes claims, rules, settings and seeds down before the runs.\n\n{kind.question}",
    )
    registration = register(study, stopping_rule(options.until_settled, options.max_seeds, options.block))
    path = options.file or Path(f"registered-{study.name}.json")
    registration.write(path)
    print(f"{path}: {len(registration.claims)} claims, {len(registration.seeds)} seeds, {registration.date}")
    print(f"sha256 {registration.sha256}")
    print(f"make the hash public now, then: disobey run {study.name} --registered {path}")
    return 0


def stopping_rule(until_settled: bool, max_seeds: int, block: int) -> Mapping[str, Any]:
    """The stopping rule as a registration holds it; empty for a fixed number of seeds."""
    return {"until_settled": True, "max_seeds": max_seeds, "block": block} if until_settled else {}


@dataclass(frozen=True)
class Registered:
    """A registration beside what is run now."""

    registration: Registration
    current: Registration

    @classmethod
    def read(cls, path: str, study: Study, rule: Mapping[str, Any]) -> Registered | None:
        """Of a file, None for an empty path; what differs is said. Raises `Refusal` where the file was changed."""
        if not path:
            return None
        registration = Registration.read(Path(path))
        found = cls(registration, register(study, rule))
        differing = registration.differences(found.current)
        tell(f"{registration.words} ({registration.sha256})")
        for line in differing:
            tell(f"differs from what was registered: {line}")
        if not differing:
            tell("nothing differs from what was registered")
        return found

    def mark(self, result: Result, records: Iterable[RunRecord]) -> Result:
        """The result whose claims say that their rules are older than the runs, where they are."""
        marked, differing = said_before(result, self.registration, self.current, records)
        known = set(self.registration.differences(self.current))
        for line in (line for line in differing if line not in known):
            tell(f"not said before the runs: {line}")
        return marked


def tell(line: str) -> None:
    """A line for people on standard error."""
    print(f"disobey: {line}", file=sys.stderr)
