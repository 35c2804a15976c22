"""Published statements as values with their rules, and their verdicts on what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeAlias, TypeVar

from disobey.measures.inference.comparisons import holm
from disobey.measures.inference.policy import Intervals, current, using
from disobey.records.results import Claim, Estimate, Verdict
from disobey.studies.kit.verdicts import (
    Decision,
    Groups,
    Rule,
    decide,
    detectable,
    shares_level,
)

ORDER: tuple[Verdict, ...] = ("supported", "contradicted", "negligible", "undecided")
SMALLEST_P = 1e-6  # smaller p-values are not told apart
HALVINGS = 12  # of the search for a p-value: exact to 0.3%


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
    """Evidence with what a reader must know beside it.

    Attributes:
        estimates: what the rule reads, then what is shown beside it.
        note: as a sentence.
    """

    estimates: Sequence[Estimate]
    note: str


@dataclass(frozen=True)
class Parts:
    """Evidence for the parts of an `AllOf` rule.

    Attributes:
        groups: the estimates of each part, in the order of the rule's parts.
        more: what is shown beside them.
        note: what a reader must know.
    """

    groups: Sequence[Sequence[Estimate]]
    more: Sequence[Estimate] = ()
    note: str = ""


Answer: TypeAlias = Sequence[Estimate] | Noted | Parts | Skip


@dataclass(frozen=True)
class ClaimSpec(Generic[E, G]):
    """One statement: what it says, who said so, by which rule it is judged, and on which numbers.

    Attributes:
        id: short name, C1 say: programs find it by this.
        text: the statement as one sentence.
        source: where it stands.
        rule: how its estimates decide.
        evidence: from all evidence and one setting to the estimates, those that the rule reads first.
        counted: how its source counts, in words: on how many of its settings the statement holds; empty where it
            does not.
    """

    id: str
    text: str
    source: Source
    rule: Rule
    evidence: Callable[[E, G], Answer]
    counted: str = ""


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

    def corrected(self) -> Verdicts:
        """The same claims with the words that are left after Holm's correction for all of them together.

        Every claim that is judged counts, decided or not. A claim's p-value is the smallest alpha at which its rule
        still says the same word.
        """
        alpha = 1 - current().level
        adjusted = holm([1.0 if math.isnan(c.p_value) else c.p_value for c in self.claims]) if self.claims else ()
        claims = [
            replace(c, adjusted=float(p), corrected=c.verdict if p <= alpha * (1 + 1e-9) else "undecided")
            for c, p in zip(self.claims, adjusted, strict=True)
        ]
        return replace(self, claims=tuple(claims))

    def tally(self, id: str) -> str:
        """How the claims of one id came out: ``3 supported, 1 undecided``; empty where there is none."""
        return _counts(self.of(id))

    def summary(self) -> str:
        """How all claims came out, as in "Of 6 claims, 1 supported, 5 undecided."."""
        if not self.claims:
            return "No claim was judged."
        kept = _counts([replace(c, verdict=c.corrected) for c in self.corrected().claims])
        alone = _counts(self.claims)
        more = "" if kept == alone else f" (each on its own: {alone})"
        return f"Of {len(self.claims)} claims, corrected for being several, {kept}{more}."

    def gains(self, id: str, setting: Callable[[str], str] = str) -> str:
        """Deciding estimate in points and verdict of one id by setting: ``0% noise: +1.25 points, supported``."""
        return "; ".join(
            f"{setting(c.setting)}: {100 * c.evidence[c.deciding].value:+.2f} points, {c.verdict}" for c in self.of(id)
        )

    def not_judged(self) -> str:
        """A sentence on what was not judged and why; empty where everything was."""
        reasons = dict.fromkeys(f"{id} ({reason})" for id, _, reason in self.skipped)
        return f"Not judged: {', '.join(reasons)}." if reasons else ""


Change: TypeAlias = Callable[[ClaimSpec, str, Answer], Answer]
_CHANGE: ContextVar[Change | None] = ContextVar("change", default=None)


@contextmanager
def changing(change: Change) -> Iterator[None]:
    """Every answer that is judged inside is changed first: moved to where a claim has no effect, or a planted one."""
    token = _CHANGE.set(change)
    try:
        yield
    finally:
        _CHANGE.reset(token)


def judge(specs: Sequence[ClaimSpec[E, G]], evidence: E, settings: Iterable[G]) -> Verdicts:
    """Every statement on every setting, with intervals as `policy.current` says.

    Args:
        specs: the statements.
        evidence: what was measured; handed to each statement as it is.
        settings: arms, or groups of arms, each with a ``label`` (and with ``levels``, its factors, where it has them).
    """
    claims, skipped = [], []
    for setting in settings:
        for spec in specs:
            found = _judged(spec, evidence, setting)
            if isinstance(found, Skip):
                skipped.append((spec.id, setting.label, found.reason))
            else:
                claims.append(found)
    return Verdicts(tuple(claims), tuple(skipped))


def _judged(spec: ClaimSpec[E, G], evidence: E, setting: G) -> Claim | Skip:
    how = current()

    def ask(level: float, how: Intervals = how) -> Answer:
        with using(replace(how, level=level)):
            answer, change = spec.evidence(evidence, setting), _CHANGE.get()
            return answer if change is None or isinstance(answer, Skip) else change(spec, setting.label, answer)

    answer = ask(how.level)
    if isinstance(answer, Skip):
        return answer
    groups = _groups(answer)
    estimates = [estimate for group in groups for estimate in group]
    decision = _decided(spec.rule, ask, how.level, answer)
    single, at = decision.single, decision.deciding
    note = "" if isinstance(answer, Sequence) else answer.note
    return Claim(
        spec.text,
        spec.source.name,
        decision.word,
        (*estimates, *(answer.more if isinstance(answer, Parts) else ())),
        spec.rule.words,
        spec.id,
        setting.label,
        " ".join(filter(None, (decision.note, note))),
        id=spec.id,
        literal=decision.literal,
        corrected=decision.word,
        p_value=p_value(spec.rule, ask, decision.word, 1 - how.level),
        deciding=at,
        border=single.border,
        margin=single.margin,
        direction=single.direction,
        unit=single.unit,
        detectable=detectable(estimates[at]) if decision.word == "undecided" else math.nan,
        robust=tuple(_robust(ask, how, estimates[at], at)),
        levels=getattr(setting, "levels", ()),  # an arm has them; a group of arms need not
    )


Asked: TypeAlias = Callable[..., Answer]


def _decided(rule: Rule, ask: Asked, level: float, answer: Answer | None = None) -> Decision:
    """The rule's decision at a level, on its answer where that is known; several chances to contradict share it out."""
    groups = _groups(ask(level) if answer is None else answer)
    chances = shares_level(rule, groups)
    strict = _groups(ask(1 - (1 - level) / chances)) if chances > 1 else None
    return decide(rule, groups, strict)


def p_value(rule: Rule, ask: Asked, word: Verdict, alpha: float) -> float:
    """The smallest alpha at which the rule still says this word, as intervals are nested; NaN for undecided."""
    if word == "undecided":
        return math.nan
    if _decided(rule, ask, 1 - SMALLEST_P).word == word:
        return SMALLEST_P
    low, high = math.log(SMALLEST_P), math.log(alpha)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        same = _decided(rule, ask, 1 - math.exp(middle)).word == word
        low, high = (low, middle) if same else (middle, high)
    return math.exp(high)


def _robust(ask: Asked, how: Intervals, plain: Estimate, at: int) -> Iterable[Estimate]:
    """Median and midmean over runs of the deciding estimate (``plain``, at ``at``), where it is a mean over runs."""
    for center, words in (("median", "median"), ("midmean", "mean of the middle half")):
        found = [e for group in _groups(ask(how.level, replace(how, center=center))) for e in group][at]
        if (found.value, found.low) != (plain.value, plain.low) and found.over.startswith("runs"):
            yield replace(found, name=f"{words}: {found.name}")


def _groups(answer: Answer) -> Groups:
    assert not isinstance(answer, Skip), "a claim that is judged at one level is judged at every level"
    if isinstance(answer, Parts):
        return answer.groups
    return [answer.estimates if isinstance(answer, Noted) else answer]


def _counts(claims: Sequence[Claim]) -> str:
    verdicts = [claim.verdict for claim in claims]
    return ", ".join(f"{verdicts.count(v)} {v}" for v in ORDER if v in verdicts)
