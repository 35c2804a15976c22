"""What a study says before its runs, and which claims of a result may say so."""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from disobey.records.registration import DATE, Registration, now, plain
from disobey.records.results import Block, Claim, Result, Text
from disobey.records.runs import RunRecord
from disobey.studies.kit.declared import claim_specs
from disobey.studies.kit.options import settings_of
from disobey.studies.kit.study import Study


def register(study: Study, stopping: Mapping[str, Any] | None = None, date: str = "") -> Registration:
    """The claims, rules, settings and seeds of a study as they are now.

    Args:
        study: before or after its runs: no record is read.
        stopping: when no more seeds are added, where seeds are added until claims are settled.
        date: of the registration; now where it is empty.
    """
    claims = {
        spec.id: {
            "text": spec.text,
            "source": spec.source.name,
            "rule": plain(spec.rule) | {"words": spec.rule.words},
        }
        for spec in claim_specs(study)
    }
    settings = {name: plain(value) for name, value in settings_of(study).items() if name != "seeds"}
    seeds = tuple(settings_of(study)["seeds"])
    return Registration(study.name, study.question, claims, settings, seeds, dict(stopping or {}), date or now())


def first_finished(records: Iterable[RunRecord]) -> float:
    """When the first of these runs was finished, in seconds since 1970; infinite for none.

    Records of versions that did not write it down: when their run.json was.
    """
    return min((_finished(record) for record in records), default=float("inf"))


def _finished(record: RunRecord) -> float:
    said = record.cost.get("finished")
    if isinstance(said, str):
        return _seconds(said)
    return (record.path / "run.json").stat().st_mtime


def _seconds(date: str) -> float:
    return float(calendar.timegm(time.strptime(date, DATE)))


def said_before(
    result: Result, registration: Registration, current: Registration, records: Iterable[RunRecord]
) -> tuple[Result, tuple[str, ...]]:
    """The result with what was registered, and everything that differs, in words.

    A claim says that its rule is older than the runs only where settings, seeds and the claim itself are those of the
    registration and no run was finished before it.

    Args:
        result: of the runs.
        registration: read from a file, which has verified its hash.
        current: of the study that was run.
        records: all of its runs.
    """
    differing = list(registration.differences(current))
    if first_finished(records) < _seconds(registration.date):
        differing.append(f"a run was finished before {registration.date}, the date of the registration")
    elsewhere = [line for line in differing if not line.startswith("claim ")]
    blocks: list[Block] = []
    for block in result.blocks:
        if isinstance(block, Claim):
            own = registration.claims.get(block.id or block.name)
            same = own is not None and own == current.claims.get(block.id or block.name)
            block = replace(block, said=registration.words if same and not elsewhere else "")
        blocks.append(block)
    text = f"{registration.words[0].upper()}{registration.words[1:]} (whole hash: {registration.sha256}). "
    text += ("Different now: " + "; ".join(differing) + ".") if differing else "Nothing differs."
    return replace(result, blocks=(*blocks, Text("Registration", text))), tuple(differing)
