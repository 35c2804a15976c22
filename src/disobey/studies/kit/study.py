"""What a study is: a question, the runs that bear on it, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar, Protocol, Self

from disobey.records.results import Block, Result
from disobey.studies.kit.claims import Source, Verdicts
from disobey.studies.kit.collapse import collapses
from disobey.studies.kit.design import Records
from disobey.studies.kit.methods import methods_text
from disobey.studies.kit.null_table import null_block
from disobey.studies.kit.options import effective_settings
from disobey.training.recipe import Run


def smoke_mark() -> Any:
    """The field ``is_smoke`` of a study: set by ``smoke()`` alone, no option, and kept by `dataclasses.replace`."""
    return field(default=False, metadata={"option": False}, kw_only=True)


class Study(Protocol):
    """A frozen dataclass whose fields are its command-line options.

    A study may have a class variable ``answers``: ids of the claims that answer its question, the most telling first.

    ``plan`` and ``analyze`` are pure: the first names the runs, the second reads finished ones. So studies resume,
    share runs and are redrawn without training.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]  # named settings: field values that differ from the defaults

    @property
    def is_smoke(self) -> bool:
        """Whether this is a smoke test: a field ``= smoke_mark()``, which no option clears."""
        ...

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds; evidence of nothing."""
        ...

    def plan(self) -> list[Run]:
        """The runs that bear on the question, seed by seed."""
        ...

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone, without charts and tables: cheap enough to be asked a thousand times."""
        ...

    def analyze(self, records: Records) -> Result:
        """What finished runs say. Raises `ValueError` where too few of them are there to say anything."""
        ...


def conclude(
    study: Study,
    seeds: Sequence[int],
    verdicts: Verdicts,
    blocks: Sequence[Block],
    *,
    records: Records,
    methods: str,
    cite: Source,
    summary: str = "",
) -> Result:
    """The result of a study: its claims, then its blocks, then how it was made.

    Args:
        study: marked as a smoke test or not; all of its fields become the result's settings.
        seeds: the complete ones.
        verdicts: the judged claims, and what was not judged.
        blocks: charts, tables and galleries in reading order.
        records: the finished runs: those that collapsed are named.
        methods: what was trained and measured, as sentences; what holds for every study is put after them.
        cite: the publication.
        summary: the sentences for somebody in a hurry; how many claims came out how where it is empty.
    """
    text = methods_text(methods, seeds, verdicts.not_judged(), cite.cite or cite.name)
    whole: tuple[Block, ...] = (
        *collapses(records),
        *verdicts.corrected().claims,
        *blocks,
        *null_block(study.name),
        text,
    )
    said = summary or verdicts.summary()
    settings = effective_settings(study)
    return Result(study.name, study.question, whole, said, study.is_smoke, settings, main=getattr(study, "answers", ()))
