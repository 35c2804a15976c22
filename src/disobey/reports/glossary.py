"""The words of the first screen that a newcomer cannot know, each in half a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TERMS: tuple[tuple[str, str, str], ...] = (
    ("control (twin)", r"\bcontrols?\b|\btwin\b", "the same student trained on labels alone"),
    ("self student", r"\bself\b", "a student of the teacher's own architecture"),
    ("τ", r"τ", "temperature: the higher, the softer the teacher's probabilities"),
    ("wrong labels", r"wrong labels|label noise", "training labels that were replaced at random; test labels are true"),
    ("early-stopped teacher", r"\bearly[- ]", "the teacher after a part of its training"),
    ("slope", r"\bslope\b", "of the student's log-odds against the teacher's: above 1 it is surer than its teacher"),
    ("φ", r"φ", "share of distillation's gain that an arm has"),
    ("sweep", r"\bsweeps?\b", "one pass of the recurrence on its way to the fixed point"),
    ("points", r"\bpoints\b", "percentage points: from 90% to 91% is one"),
    ("nats", r"\bnats\b", "unit of log-odds: 0.69 doubles the odds"),
)
_MOST = 5


def legend(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Terms that occur in these texts with their meanings, five at most.

    >>> legend(["Distillation beats its control by 2 points."])[0]
    ('control (twin)', 'the same student trained on labels alone')
    """
    text = "\n".join(texts)
    found = [(term, meaning) for term, pattern, meaning in _TERMS if re.search(pattern, text)]
    return found[:_MOST]
