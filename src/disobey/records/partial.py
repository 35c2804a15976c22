"""A result of a study of which runs failed or are missing: said above everything, and nothing is settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from disobey.records.results import Claim, Result, Verdict

UNSETTLED: Verdict = "undecided"


@dataclass(frozen=True)
class Missing:
    """Runs that a study planned and has no record of. seeds: those of its seeds that lack a run, of how many."""

    runs: int
    planned: int
    seeds: tuple[int, ...]
    planned_seeds: int
    because: str

    @property
    def sentence(self) -> str:
        """What a reader must know before any number.

        >>> Missing(4, 40, (0, 3), 5, "Diverged: no finite number from step 12").sentence
        '2 of 5 seeds (0, 3) are incomplete: 4 of 40 runs are missing, the first because Diverged: no finite number from
        step 12'
        """
        seeds, verb = ", ".join(map(str, self.seeds)), "is" if len(self.seeds) == 1 else "are"
        runs = "run is" if self.planned == 1 else "runs are"
        return (
            f"{len(self.seeds)} of {self.planned_seeds} seeds ({seeds}) {verb} incomplete: {self.runs} of "
            f"{self.planned} {runs} missing, the first because {self.because.rstrip('. ')}"
        )


def marked(result: Result, missing: Missing, *, settle: bool = False) -> Result:
    """The result with what is missing said before it; its claims unsettled unless ``settle`` (``--partial``).

    The seeds that are left select themselves: those that diverge are no random sample of all.
    """
    blocks: Sequence = result.blocks
    if not settle:
        blocks = [_unsettled(block) if isinstance(block, Claim) else block for block in result.blocks]
    ending = "" if settle else " No claim is judged on the seeds that are left; --partial judges them all the same."
    caution = f"{missing.sentence}.{ending}"
    return before(replace(result, blocks=tuple(blocks), headline=result.headline if settle else ""), caution)


def before(result: Result, caution: str) -> Result:
    """The result with a sentence that a reader must know before any number."""
    summary = f"{caution} {result.summary}".rstrip()
    return replace(result, summary=summary, cautions=(caution, *result.cautions))


def _unsettled(claim: Claim) -> Claim:
    if {claim.verdict, claim.literal} <= {UNSETTLED, None}:
        return claim
    note = f"would be {claim.verdict} on the seeds that are left, which selected themselves"
    note = f"{claim.note}; {note}" if claim.note else note
    literal = claim.literal and UNSETTLED
    return replace(claim, verdict=UNSETTLED, literal=literal, corrected=UNSETTLED, note=note)
