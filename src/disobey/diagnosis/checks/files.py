"""What happened on the way in: rows that found no partner, arrays that nobody read, classes that never occur."""

from __future__ import annotations

import numpy as np

from disobey.diagnosis.errors import nearest
from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.representations import layers
from disobey.errors import printable
from disobey.measures.inference.examples import share
from disobey.records.results import Finding

MEANT = {  # names that mean an array, but are not near its own
    "labels": {"y_true", "y_test", "true", "truth", "ground_truth", "target", "gold"},
    "twin": {"control", "undistilled", "no_kd", "without_teacher"},
}


def joined_rows(evidence: Evidence) -> Finding | None:
    """Rows of two files, joined by id."""
    facts = evidence.pair.facts
    if "joined" not in facts:
        return None
    lost = facts["teacher_only"] + facts["student_only"]
    message = (
        f"{facts['joined']:,} rows were joined by id; {facts['teacher_only']:,} are the teacher's alone and "
        f"{facts['student_only']:,} the student's alone: left out."
    )
    kept = share("rows joined", facts["joined"], facts["joined"] + lost, evidence.level)
    status = "warning" if kept.value < 0.5 else ("note" if lost else "ok")
    return Finding(
        "joined rows", status, message, (kept,), "Check that both files cover the same split." if lost else ""
    )


def unread_arrays(evidence: Evidence) -> Finding | None:
    """Arrays in the file whose names mean nothing here."""
    names = (*evidence.pair.ignored, *layers(dict(evidence.pair.features))[1])
    if not names:
        return None
    shown = ", ".join(printable(name, 40) for name in names[:8])
    for name, held in (("labels", evidence.pair.labels is not None), ("twin", bool(evidence.pair.twins))):
        lower = [n.lower() for n in names]
        if not held and (nearest(name, lower) or not MEANT[name].isdisjoint(lower)):
            message = f"Not used: {shown}. There is no array {name!r}: is it one of these?"
            return Finding("unread arrays", "warning", message, (), f"Rename it to {name!r}.")
    return Finding("unread arrays", "note", f"Not used: {shown}.", (), "See docs/diagnose.md for the names that are.")


def label_variety(evidence: Evidence) -> Finding | None:
    """Labels of one class only cannot show a confusion."""
    labels = evidence.pair.labels
    if labels is None or len(np.unique(labels)) > 1:
        return None
    message = f"All {len(labels):,} labels are class {int(labels[0])}."
    return Finding("label variety", "warning", message, (), "Is this a sorted file cut at its start?")
