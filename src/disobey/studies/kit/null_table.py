"""How often every claim comes out how where there is no effect: counted, stored with the package, shown in reports."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from disobey.records.results import Table
from disobey.studies.kit.claims import ORDER, changing
from disobey.studies.kit.design import Records
from disobey.studies.kit.memo import Remembering
from disobey.studies.kit.null import OVER_RUNS, Null, centres, drawn, moving, right_words

DECIDED = ("supported", "contradicted")


@dataclass
class ClaimCounts:
    """One claim in one setting over null studies.

    Attributes:
        id: of the claim.
        setting: in words.
        right: decided words that are true where there is no effect.
        margin: of its rule; 0: no effect can be planted.
        words: how often each word came out.
        corrected: how often each is left after Holm's correction.
    """

    id: str
    setting: str
    right: tuple[str, ...] = ()
    margin: float = 0.0
    words: Counter[str] = field(default_factory=Counter)
    corrected: Counter[str] = field(default_factory=Counter)

    @property
    def wrong(self) -> int:
        """How often the word was false."""
        return sum(self.words[word] for word in DECIDED if word not in self.right)


@dataclass
class Counts:
    """All claims of a study over null studies.

    Attributes:
        studies: how many were drawn.
        claims: by id and setting, in the order of the study.
        exact: ids of claims that rest on no trained run: they have no null.
        any_wrong: studies with at least one false word.
        any_wrong_corrected: those in which one is left after Holm's correction.
    """

    studies: int
    claims: dict[tuple[str, str], ClaimCounts] = field(default_factory=dict)
    exact: dict[str, None] = field(default_factory=dict)
    any_wrong: int = 0
    any_wrong_corrected: int = 0


def count(null: Null, records: Records, *, studies: int = 1000, effect: float = 0.0, seed: int = 0) -> Counts:
    """Judges null studies, each on random seeds of the pool.

    Args:
        null: what stands where.
        records: finished runs of ``null.runs()``.
        studies: how many are drawn.
        effect: planted in the claimed direction, in margins of each rule.
        seed: of the draws.
    """
    whole = Remembering(records)
    truth = centres(null, whole)
    change, rng, found = moving(null, truth, effect), np.random.default_rng(seed), Counts(studies)
    for _ in range(studies):
        study, dealt = drawn(null, whole, rng)
        with changing(change):
            verdicts = study.verdicts(dealt).corrected()
        wrong, left = False, False
        for claim in verdicts.claims:
            key = claim.id, claim.setting
            if claim.evidence[claim.deciding].over not in OVER_RUNS:
                found.exact[claim.id] = None
                continue
            if not null.places and key not in truth.specs:
                continue  # judged in no study on the whole pool: there is no centre to move from
            if key not in found.claims:
                spec = truth.specs.get(key)
                centre = next(iter(truth.values.get(key, ())), np.nan)
                right = right_words(spec, not null.places, centre) if spec else ()
                found.claims[key] = ClaimCounts(*key, right, claim.margin)
            own = found.claims[key]
            own.words[claim.verdict] += 1
            own.corrected[claim.corrected] += 1
            wrong |= claim.verdict in DECIDED and claim.verdict not in own.right
            left |= claim.corrected in DECIDED and claim.corrected not in own.right
        found.any_wrong += wrong
        found.any_wrong_corrected += left
    return found


def as_json(null: Null, found: Counts, planted: Counts | None = None, effect: float = 2.0) -> dict[str, Any]:
    """What is stored of a measured null: shares, and how it was measured."""

    def row(own: ClaimCounts) -> dict[str, Any]:
        shares = {word: round(own.words[word] / found.studies, 4) for word in ORDER}
        power = None
        if planted is not None and own.margin and (own.id, own.setting) in planted.claims:
            word = "contradicted" if own.right == ("supported",) else "supported"
            power = round(planted.claims[own.id, own.setting].words[word] / planted.studies, 4)
        return {
            "id": own.id,
            "setting": own.setting,
            **shares,
            "right": list(own.right),
            "wrong": round(own.wrong / found.studies, 4),
            "power": power,
        }

    return {
        "mechanism": "replicas" if null.places else "centred",
        "studies": found.studies,
        "seeds": null.size,
        "pool": len(null.seeds),
        "replicas": null.replicas,
        "effect": effect,
        "any_wrong": round(found.any_wrong / found.studies, 4),
        "any_wrong_corrected": round(found.any_wrong_corrected / found.studies, 4),
        "exact": list(found.exact),
        "claims": [row(own) for own in found.claims.values()],
    }


def table_of(measured: Mapping[str, Any], title: str) -> Table:
    """Shares of words without an effect, and of the claimed word with one of a few margins."""

    def share(value: float | None) -> str:
        return "" if value is None else f"{value:.1%}"

    rows = [
        (c["id"], c["setting"], *(share(c[word]) for word in ORDER), share(c["wrong"]), share(c["power"]))
        for c in measured["claims"]
    ]
    columns = ("claim", "setting", *ORDER, "false word", f"found, effect of {measured['effect']:g} margins")
    return Table(title, columns, tuple(rows), _caption(measured))


def _caption(measured: Mapping[str, Any]) -> str:
    how = (
        "undistilled replicas of the controls stand in the places of students and controls"
        if measured["mechanism"] == "replicas"
        else "the estimates are moved so that the mean over all trained seeds lies on the border of the rule"
    )
    exact = f" No null: {', '.join(measured['exact'])}, computed without trained runs." if measured["exact"] else ""
    where = f" Measured with `{measured['command']}`." if measured.get("command") else ""
    error = 196 * (0.05 * 0.95 / measured["studies"]) ** 0.5
    return (
        f"{measured['studies']:,} studies without an effect, {measured['seeds']} seeds each out of {measured['pool']}: "
        f"{how}. At least one false word in {measured['any_wrong']:.1%} of the studies, after Holm's correction in "
        f"{measured['any_wrong_corrected']:.1%}. A share of 5% is known to ±{error:.1f} points from the draws alone; "
        f"the pool of runs adds to that. Negligible is a right word here, and supported where the claim is that two "
        f"things are equal.{exact}{where}"
    )


@cache
def stored() -> Mapping[str, Any]:
    """The measured nulls that come with the package, by study."""
    return json.loads(resources.files("disobey.studies").joinpath("null_tables.json").read_text("utf-8"))


def null_block(study: str) -> tuple[Table, ...]:
    """The stored null of a study as a table for its report; nothing where none was measured."""
    measured = stored().get(study)
    return () if measured is None else (table_of(measured, "With no effect: how often these rules decide"),)
