"""Published statements as values with their rules, and their verdicts on what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

from disobey.records.results import Claim, Estimate, Verdict
from disobey.studies.kit.verdicts import Rule, decide

ORDER: tuple[Verdict, ...] = ("supported", "contradicted", "negligible", "undecided")


class Labelled(Protocol):
    """What claims are judged on: an arm, or several arms with their roles, that say in words which setting they are."""

    @property
    def label(self) -> str:
        """The setting in words."""
        ...


E = TypeVar("E")
G = TypeVar("G", bound=Labelled)


@dataclass(frozen=True)
class Source:
    """Where a statement stands.

    Attributes:
        name: short, beside every claim.
        cite: the whole reference, for the methods; the name where it is empty.
    """

    name: str
    cite: str = ""


@dataclass(frozen=True)
class Skip:
    """A claim that cannot be judged on a setting, and why: an option that was not asked for, say."""

    reason: str


@dataclass(frozen=True)
class Noted:
    """Evidence with what a reader must know beside it."""

    estimates: Sequence[Estimate]
    note: str


@dataclass(frozen=True)
class Decided:
    """Evidence that carries out a `Stated` rule, one of several parts that no rule value can express."""

    verdict: Verdict
    estimates: Sequence[Estimate]
    note: str = ""


Answer: TypeAlias = Sequence[Estimate] | Noted | Decided | Skip


@dataclass(frozen=True)
class ClaimSpec(Generic[E, G]):
    """One statement: what it says, who said so, by which rule it is judged, and on which numbers.

    Attributes:
        id: short name, C1 say: programs find it by this.
        text: the statement as one sentence.
        source: where it stands.
        rule: how its estimates decide; fixed before the runs.
        evidence: from all evidence and one setting to the estimates, those that the rule reads first.
    """

    id: str
    text: str
    source: Source
    rule: Rule
    evidence: Callable[[E, G], Answer]


@dataclass(frozen=True)
class Verdicts:
    """What was judged, and what was not.

    Attributes:
        claims: the judged claims, in the order of settings and statements.
        skipped: (id, setting, reason) of what could not be judged.
    """

    claims: tuple[Claim, ...]
    skipped: tuple[tuple[str, str, str], ...] = ()

    def __add__(self, more: Verdicts) -> Verdicts:
        return Verdicts(self.claims + more.claims, self.skipped + more.skipped)

    def of(self, id: str) -> tuple[Claim, ...]:
        """The claims of one id, a setting each."""
        return tuple(claim for claim in self.claims if claim.name == id)

    def tally(self, id: str) -> str:
        """How the claims of one id came out: ``3 supported, 1 undecided``; empty where there is none."""
        return _counts(self.of(id))

    def summary(self) -> str:
        """How all claims came out, as in "Of 6 claims, 1 supported, 5 contradicted."."""
        return f"Of {len(self.claims)} claims, {_counts(self.claims)}."

    def gains(self, id: str, setting: Callable[[str], str] = str) -> str:
        """First estimate in percent and verdict of one id by setting: ``0% noise: +1.25% supported``."""
        return "; ".join(f"{setting(c.setting)}: {c.evidence[0].value:+.2%} {c.verdict}" for c in self.of(id))

    def not_judged(self) -> str:
        """A sentence on what was not judged and why; empty where everything was."""
        reasons = dict.fromkeys(f"{id} ({reason})" for id, _, reason in self.skipped)
        return f"Not judged: {', '.join(reasons)}." if reasons else ""


def judge(specs: Sequence[ClaimSpec[E, G]], evidence: E, settings: Iterable[G]) -> Verdicts:
    """Every statement on every setting.

    Args:
        specs: the statements.
        evidence: what was measured; handed to each statement as it is.
        settings: arms, or groups of arms, each with a ``label``.
    """
    claims, skipped = [], []
    for setting in settings:
        for spec in specs:
            answer = spec.evidence(evidence, setting)
            if isinstance(answer, Skip):
                skipped.append((spec.id, setting.label, answer.reason))
                continue
            verdict, estimates, notes = _carried_out(spec.rule, answer)
            found, source = tuple(estimates), spec.source.name
            words, label = spec.rule.words, setting.label
            claims.append(Claim(spec.text, source, verdict, found, words, spec.id, label, notes, id=spec.id))
    return Verdicts(tuple(claims), tuple(skipped))


def _carried_out(rule: Rule, answer: Sequence[Estimate] | Noted | Decided) -> tuple[Verdict, Sequence[Estimate], str]:
    if isinstance(answer, Decided):
        return answer.verdict, answer.estimates, answer.note
    estimates, note = (answer.estimates, answer.note) if isinstance(answer, Noted) else (answer, "")
    verdict, own = decide(rule, estimates)
    return verdict, estimates, " ".join(filter(None, (own, note)))


def _counts(claims: Sequence[Claim]) -> str:
    verdicts = [claim.verdict for claim in claims]
    return ", ".join(f"{verdicts.count(v)} {v}" for v in ORDER if v in verdicts)
