"""What happened while reading: rows without a partner, arrays that were not used, classes that never occur."""

from __future__ import annotations

import numpy as np

from disobey.diagnosis.checks.findings import note, ok, warning
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
HALF = 0.5  # share of rows that found a partner below which files hardly belong together
NAMED = 8  # arrays that a message lists


def read_as(evidence: Evidence) -> Finding | None:
    """Arrays whose names say nothing, taken by their order."""
    read = evidence.pair.facts.get("by_position")
    if not read:
        return None
    words = ", ".join(f"{printable(name, 40)} as the {what}" for name, what in read.items())
    advice = "If that is wrong, name them: --teacher FILE --student FILE --labels FILE --twin FILE."
    return note("read-as", f"Read by order, since no name says what they are: {words}.", advice=advice)


def joined_rows(evidence: Evidence) -> Finding | None:
    """Rows of two files, joined by id."""
    facts, id = evidence.pair.facts, "joined-rows"
    if "joined" not in facts:
        return None
    lost = facts["teacher_only"] + facts["student_only"]
    message = (
        f"{facts['joined']:,} rows were joined by id; {facts['teacher_only']:,} rows of the teacher's file and "
        f"{facts['student_only']:,} of the student's had no partner and were left out."
    )
    kept = share("rows joined", facts["joined"], facts["joined"] + lost, evidence.level)
    advice = "Check that both files cover the same split."
    if kept.value < HALF:
        return warning(id, message, kept, advice=advice)
    return note(id, message, kept, advice=advice) if lost else ok(id, message, kept)


def unread_arrays(evidence: Evidence) -> Finding | None:
    """Arrays in the file whose names mean nothing here."""
    names, id = (*evidence.pair.ignored, *layers(dict(evidence.pair.features))[1]), "unread-arrays"
    if not names:
        return None
    shown = ", ".join(printable(name, 40) for name in names[:NAMED])
    for name, held in (("labels", evidence.pair.labels is not None), ("twin", bool(evidence.pair.twins))):
        lower = [n.lower() for n in names]
        if not held and (nearest(name, lower) or not MEANT[name].isdisjoint(lower)):
            message = f"Not used: {shown}. There is no array {name!r}: is it one of these?"
            return warning(id, message, advice=f"Rename it to {name!r}.", case=name)
    return note(id, f"Not used: {shown}.", advice="See docs/guides/diagnose.md for the names that are read.")


def label_variety(evidence: Evidence) -> Finding | None:
    """Labels of one class only cannot show a confusion."""
    labels = evidence.pair.labels
    if labels is None or len(np.unique(labels)) > 1:
        return None
    message = f"All {len(labels):,} labels are class {int(labels[0])}."
    return warning("label-variety", message, advice="Is this the start of a sorted file?")
