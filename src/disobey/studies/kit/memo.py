"""What was computed from finished runs once, for many readings of the same runs in other roles."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

from disobey.records.runs import RunRecord
from disobey.studies.kit.design import Records
from disobey.training.recipe import Run

T = TypeVar("T")


class Remembering(dict[Run, RunRecord]):
    """Finished runs that come with a memo, which several such mappings may share."""

    memo: dict[Hashable, Any]

    def __init__(self, records: Records, memo: dict[Hashable, Any] | None = None):
        super().__init__(records)
        self.memo = {} if memo is None else memo


def remembered(records: Records, what: Hashable, made_from: Iterable[RunRecord], make: Callable[[], T]) -> T:
    """``make()``, once for the same runs where the records remember; each time where they do not.

    Args:
        records: finished runs.
        what: names what is computed, with everything it depends on besides the runs.
        made_from: the runs it depends on, told apart by where they lie.
        make: computes it.
    """
    if not isinstance(records, Remembering):
        return make()
    key = (what, *(str(record.path) for record in made_from))
    if key not in records.memo:
        records.memo[key] = make()
    return records.memo[key]
