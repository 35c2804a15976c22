"""Tables of language models: where they are shown, that they hold what was planted, and what top-k lists can say."""

import numpy as np

from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.evidence.language import positions, speaks
from disobey.diagnosis.input.pair import pair_from
from disobey.diagnosis.report import language
from disobey.measures import tokens
from disobey.measures.inference.examples import over_examples
from disobey.records.results import Estimate
from tests.support import reference_pairs as pairs


def rows_of(table):
    return {row[0]: row for row in table.rows}


def test_only_where_there_are_tokens():
    assert not speaks(gather(pair_from(pairs.clean(1, 200, "plain"))))
    for kind in ("language", "top-k"):
        assert speaks(gather(pair_from(pairs.clean(1, 200, kind))))
    few = pairs.language(1, 200, vocabulary=30)
    assert speaks(gather(pair_from(few)))
    del few["cluster"]
    evidence = gather(pair_from(few))
    assert not speaks(evidence)
    assert all(make(evidence) is None for make in (language.overlap, language.parts, language.memory, language.cache))


def test_numbers_are_those_of_the_measures():
    evidence = gather(pair_from(pairs.language(2, 400)))
    found = rows_of(language.overlap(evidence))
    student, control, difference = found["overlap_ratio.k16"][1:4]
    assert student == over_examples(tokens.MEASURES["overlap_ratio.k16"], evidence.sample)
    assert abs(difference.value - (student.value - control.value)) < 1e-12
    assert {e.over for row in found.values() for e in row[1:4]} == {"clusters"}
    assert found["acceptance"][1].value > found["acceptance"][2].value  # it was distilled, the control was not
    lost = rows_of(language.cache(evidence))
    assert lost[1][1].value > lost[16][1].value > lost[64][1].value > 0
    assert {row[0] for row in language.memory(evidence).rows} == {"forgotten", "gained"}


def test_a_planted_place_is_found():
    arrays = pairs.language(3, 800)
    late = np.arange(800) % 20 >= 15
    arrays["student"][late] = np.random.default_rng(0).normal(size=(late.sum(), 300))
    table = language.parts(gather(pair_from(arrays)))
    kl = {row[0]: row[3].value for row in table.rows if row[1] == "KL (nats)"}
    by_place = [value for name, value in kl.items() if "quarter" in name]
    assert len(by_place) == 4
    assert by_place[3] > 5 * by_place[0]
    assert sum(row[2] for row in table.rows if row[1] == "KL (nats)" and "entropy" in row[0]) == 800
    assert all(isinstance(cell, Estimate) for row in table.rows for cell in row[3:])


def test_lists_say_what_they_can():
    arrays = pairs.top_k(4, 300)
    arrays |= {
        f"label_{side}": np.full(300, -value) for side, value in (("teacher", 1.0), ("student", 1.5), ("twin", 2))
    }
    evidence = gather(pair_from(arrays))
    found = rows_of(language.overlap(evidence))
    assert set(found) == {"mass_on_list", "acceptance"}
    p, q = (np.exp(arrays[f"topk_{side}"].astype(float)) for side in ("teacher", "student"))
    bound = np.minimum(p, q).sum(1) + np.minimum(1 - p.sum(1), 1 - q.sum(1))
    assert abs(found["acceptance"][1].value - bound.mean()) < 1e-5
    assert abs(found["mass_on_list"][1].value - q.sum(1).mean()) < 1e-5
    gaps = [row for row in language.parts(evidence).rows if row[1].startswith("log-prob gap")]
    assert np.allclose([[cell.value for cell in row[3:]] for row in gaps], [[0.5, 1.0, -0.5]] * len(gaps))


def test_several_seeds_and_places_of_tokens():
    arrays = pairs.language(5, 300)
    first, twin = arrays.pop("student"), arrays.pop("twin")
    rng = np.random.default_rng(0)
    for i in range(3):
        arrays[f"student/seed{i}"], arrays[f"twin/seed{i}"] = (
            side + 0.2 * rng.normal(size=first.shape) for side in (first, twin)
        )
    evidence = gather(pair_from(arrays))
    assert rows_of(language.overlap(evidence))["acceptance"][3].over == "runs"
    assert language.parts(evidence).rows[0][3].over == "clusters"
    assert positions(np.array([5, 5, 2, 5])).tolist() == [0, 1, 0, 2]
