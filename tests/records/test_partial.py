"""Missing runs are said before anything, and nothing is settled on seeds that selected themselves."""

from disobey.records.mixing import mixtures
from disobey.records.partial import UNSETTLED, Missing, marked
from disobey.records.results import Claim, Result, Text

MISSING = Missing(4, 40, (0, 3), 5, "Diverged: no finite number from step 12")
RESULT = Result(
    "s", "q?", (Claim("a", "s", "supported", (), "r", note="n"), Text("t", "b")), "The summary.", headline="It pays."
)


def test_claims_are_unsettled_and_the_summary_begins_with_what_is_missing():
    found = marked(RESULT, MISSING)
    assert found.summary.startswith("2 of 5 seeds (0, 3) are incomplete: 4 of 40 runs are missing")
    assert found.summary.startswith(found.cautions[0])
    assert found.headline == ""
    assert found.summary.endswith("The summary.")
    (claim,) = found.of(Claim)
    assert claim.verdict == UNSETTLED
    assert claim.corrected == UNSETTLED
    assert claim.literal is None
    assert claim.note.startswith("n; would be supported")
    assert Result.from_json(found.to_json()) == found


def test_partial_settles_and_still_says_so():
    found = marked(RESULT, MISSING, settle=True)
    assert found.blocks == RESULT.blocks
    assert found.headline == RESULT.headline
    assert "incomplete" in found.cautions[0]


def test_runs_made_alike_mix_nothing():
    maker = {"runs": 3, "torch": "2", "device": "cpu"}
    assert mixtures([maker]) == []
    assert mixtures([maker, maker | {"device": "cuda"}]) == [
        "runs of different device are analyzed together: cpu (3 runs), cuda (3 runs)"
    ]
