"""What a study is: a question, the runs that bear on it, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

from disobey.records.results import Result
from disobey.records.runs import RunRecord
from disobey.training.recipe import Run


class Study(Protocol):
    """A frozen dataclass whose fields are its command-line options.

    ``plan`` and ``analyze`` are pure: the first names the runs, the second reads finished ones. So studies resume,
    share runs and are redrawn without training.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]  # named settings: field values that differ from the defaults

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds; evidence of nothing."""
        ...

    def plan(self) -> list[Run]: ...

    def analyze(self, records: Mapping[Run, RunRecord]) -> Result:
        """What finished runs say. Raises `ValueError` where too few of them are there to say anything."""
        ...
