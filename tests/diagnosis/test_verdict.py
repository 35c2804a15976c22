"""The verdict is put together from findings alone; what a program reads of a finding is an id."""

from dataclasses import replace

import pytest

from disobey.diagnosis.checks.findings import note, ok, warning
from disobey.diagnosis.diagnose import CHECKS, diagnose, judged
from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.input.pair import pair_from
from disobey.diagnosis.report.verdict import ACCURACY, EFFECT, PAID, verdict
from disobey.records.results import Finding, Result, Table
from tests.support import reference_pairs as pairs

IDS = [
    "clusters",
    "tokenizers",
    "own-text",
    "row-alignment",
    "label-alignment",
    "class-order",
    "label-order",
    "twin-alignment",
    "twin-class-order",
    "vocabulary",
    "stated-values",
    "plausible-teacher",
    "identical-models",
    "constant-rows",
    "finite-values",
    "saturated-rows",
    "duplicated-rows",
    "distillation-visible",
    "same-teacher",
    "same-labels",
    "temperature-slip",
    "memorized-teacher",
    "gain",
    "negative-transfer",
    "capacity-gap",
    "calibrated-student",
    "test-size",
    "ceiling",
    "best-of-many",
    "truncation",
    "joined-rows",
    "unread-arrays",
    "label-variety",
    "not-judged",
    "read-as",
]

FOUND = {
    "paid": ok(PAID, "Seen.", headline="student − control (twin): +2.0 points: it paid"),
    "open": note(PAID, "Seen.", advice="Add seeds. Or not.", headline="student − control (twin): not distinguishable"),
    "effect": ok(EFFECT, "Seen.", headline="Distillation had an effect"),
    "gap": ok(ACCURACY, "Seen.", headline="the student is as accurate as its teacher"),
    "unsure": note(EFFECT, "Seen.", advice="Train a twin. Then ask again.", headline="Nobody can say"),
    "ceiling": warning("ceiling", "Few decide.", advice="Use a harder test set. Or another."),
    "broken": warning("row-alignment", "Rows differ. Badly.", advice="Look at the loader.", invalidates=True),
}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["effect", "gap"], ["Distillation had an effect; the student is as accurate", "No check"]),
        (["gap", "effect", "ceiling"], ["Distillation had an effect; the", "Next (ceiling): use a harder test set."]),
        (["effect", "gap", "paid"], ["Student − control (twin): +2.0 points: it paid. Distillation had", "No check"]),
        (["effect", "open"], ["distinguishable. Distillation had", "Next (gain): add seeds."]),
        (["open", "unsure"], ["distinguishable. Nobody can say.", "Next (distillation visible): train a twin."]),
        (["unsure"], ["Nobody can say.", "Next (distillation visible): train a twin."]),
        (["gap"], ["The student is as accurate as its teacher."]),
        ([], ["Student and teacher were compared."]),
        (["effect", "ceiling", "broken"], ["face value: rows differ.", "Next (row alignment): look at the loader."]),
    ],
)
def test_clauses_of_findings_make_the_verdict(names, words):
    text = verdict([FOUND[name] for name in names])
    at = [text.index(part) for part in words]
    assert at == sorted(at)


def test_what_invalidates_comes_before_everything_else():
    shuffled = diagnose(pair_from(pairs.shuffled_rows(1)))
    assert any(finding.invalidates for finding in shuffled.of(Finding))
    assert "face value" in shuffled.summary
    mild = [replace(finding, invalidates=False) for finding in shuffled.of(Finding)]
    assert "face value" not in verdict(mild)


def test_no_table_is_read_for_the_verdict():
    result = diagnose(pair_from(pairs.clean(3, kind="plain")))
    renamed = [replace(t, rows=tuple(("other", *row[1:]) for row in t.rows)) for t in result.of(Table)]
    assert renamed
    assert verdict(result.of(Finding)) == result.summary


def test_ids_are_those_of_the_last_release():
    """Renaming one breaks somebody's program: add, do not rename."""
    found: dict[str, str] = {}
    faulty = (fault(1, 300) for fault in pairs.FAULTS)
    sound = (pairs.clean(1, 300, kind=kind) for kind in pairs.KINDS)
    for arrays in (*faulty, *sound):
        for finding in judged(gather(pair_from(arrays)), CHECKS):
            found[finding.id] = finding.name
            names = [estimate.name for estimate in finding.evidence]
            assert len(set(names)) == len(names), f"{finding.id}: evidence is found by name"
            assert all(finding.estimate(name) is not None for name in names)
    assert set(found) <= set(IDS)
    assert set(IDS) - set(found) <= {
        "joined-rows",
        "unread-arrays",
        "read-as",
    }  # of files, which have tests of their own
    assert all(name == id.replace("-", " ") for id, name in found.items())


def test_a_finding_is_what_it_was_after_it_was_written_down():
    result = diagnose(pair_from(pairs.constant_student(1)), checks=CHECKS[:14])
    again = Result.from_json(result.to_json())
    assert again.to_json() == result.to_json()
    told = [[(f.id, f.case, f.invalidates, f.headline) for f in each.of(Finding)] for each in (result, again)]
    assert told[0] == told[1]
    assert any(finding.invalidates for finding in again.of(Finding))
