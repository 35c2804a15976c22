"""The answer and the verdict matrix, on claims with planted words, numbers and settings."""

import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from disobey.records.results import Claim, Estimate, Finding, Result
from disobey.reports.answer import answer, cautions
from disobey.reports.forest import WIDTH, forest, scale_of
from disobey.reports.glossary import legend
from disobey.reports.matrix import matrix
from disobey.reports.wording import Settings, amount, level_words, levels_of, main_claims


def told(*claims, **more):
    return answer(Result("s", "q?", claims, **more)).lines()


def test_every_word_is_plain_and_comes_with_its_number(samples):
    pays = samples.judged("C3", "It pays.", "20%", "supported", 0.0192, 0.009)
    for verdict, expected in (
        ("supported", "It pays. Yes, +1.92 points [1.02, 2.82]."),
        ("contradicted", "It pays. No, the opposite, +1.92 points [1.02, 2.82]."),
        ("negligible", "It pays. No difference that matters, +1.92 points [1.02, 2.82] (within ±0.5 points)."),
        ("undecided", "It pays. Undecided, +1.92 points [1.02, 2.82]."),
    ):
        assert told(replace(pays, verdict=verdict, corrected=verdict))[0] == expected


def test_clean_and_noisy_labels_stand_apart(samples):
    first, basis = told(*samples.full_claims(), main=("C3",))
    assert first.startswith("Distillation pays. Clean labels: undecided, −0.04 points [−0.54, 0.46]")
    assert "; 20% wrong labels: yes, +1.92 points" in first
    assert basis.startswith("Brackets: 95% over 5 runs.")


def test_a_border_is_said_and_a_word_that_correction_changes(samples):
    first, basis = told(*samples.full_claims(), main=("C2",))
    assert "1.120 [1.100, 1.140] (against 1; undecided after correction)" in first
    assert "changes where that is said" in basis


def test_many_settings_are_told_together(samples):
    claims = [samples.judged("C3", "It pays.", f"{10 * i}%", "supported", i / 100, 0.002) for i in range(1, 6)]
    claims.append(samples.judged("C3", "It pays.", "0%", "undecided", 0.0, 0.1))
    (first, *_) = told(*claims)
    assert first == (
        "It pays. Yes in 5 of 6 settings, from +1 to +5 points; undecided in 1 of 6 settings, 0 points (clean labels)."
    )


def test_each_statement_names_what_sets_its_own_settings_apart(samples):
    noisy = [samples.judged("D3", "It is cleaner.", noise, "supported", 0.02, 0.01) for noise in ("0%", "20%")]
    other = replace(samples.judged("D2", "It holds.", "0%", "supported", 0.02, 0.01), levels=(("", "b=0"),))
    lines = told(*noisy, other, main=("D3", "D2"))
    assert lines[0].startswith("It is cleaner. Clean labels: yes")
    assert lines[1].startswith("It holds. b=0: yes")


def test_a_headline_is_the_studys_own_and_a_summary_is_the_last_resort(samples):
    claim = samples.judged("C3", "It pays.", "0%", "supported", 0.02, 0.01)
    assert told(claim, headline="It pays a lot.")[0] == "It pays a lot."
    assert told(summary="Only words.\n\nMore.") == ["Only words.", "More."]
    assert told() == []


def test_the_first_statement_answers_where_a_study_names_none(samples):
    claims = samples.full_claims()
    assert {c.name for c in main_claims(Result("s", "q", claims))} == {"C1"}
    assert [c.name for c in main_claims(Result("s", "q", claims, main=("C3", "C1")))] == ["C3", "C3", "C1", "C1"]
    assert {c.name for c in main_claims(Result("s", "q", claims, main=("gone",)))} == {"C1"}


def test_a_number_that_decides_nothing_says_why(samples):
    few = samples.judged("C3", "It pays.", "0%", "undecided", -0.3, 0.01, note="No verdict from fewer than 3 seeds.")
    assert told(few)[0] == "It pays. Undecided, −30.0 points [−31.0, −29.0] (no verdict from fewer than 3 seeds)."
    (cell,) = matrix([few]).rows[0].cells
    assert cell.lines[-1].name == "no verdict from fewer than 3 seeds"
    assert "(" not in told(replace(few, verdict="supported", corrected="supported"))[0]


def test_the_data_and_the_models_are_said_before_the_brackets(samples):
    settings = {"data": "mnist-5k", "teacher": "cnn:16", "students": ("self", "small"), "student": "", "steps": 300}
    basis = told(*samples.full_claims(), main=("C3",), settings=settings)[-1]
    assert basis.startswith("Data: mnist-5k; teacher: cnn:16; students: self, small. Brackets: 95%")


def test_warnings_about_runs_come_before_any_number(samples):
    fallen = Finding("Runs that collapsed", "warning", "Seed 3 fell out of line.")
    result = Result("s", "q?", (fallen, *samples.full_claims()), cautions=("A run is missing.",))
    assert cautions(result, answer(result)) == ["A run is missing.", "Seed 3 fell out of line."]
    alone = Result("s", "q?", (fallen,))  # a diagnosis has its findings for that
    assert cautions(alone, answer(alone)) == []


def test_old_claims_without_border_and_unit_are_told_too(samples):
    for claim in samples.claims():
        (line, *_) = told(claim)
        assert "nan" not in line
        assert claim.text.rstrip(".") in line
    assert told(Claim("It pays.", "", "undecided", (), ""))[0] == "It pays. Undecided."


def test_settings_are_told_by_what_differs(samples):
    old = [replace(c, levels=()) for c in samples.full_claims()]
    settings = Settings.over(old)
    assert settings.words == "self student, τ=4"
    assert settings.own(old[0]) == "clean labels"
    assert levels_of(old[1])[0] == ("label noise", "20%")
    assert level_words(("task", "parity")) == "parity task"
    assert amount(replace(old[0], evidence=())) == ""


# --- forest ---------------------------------------------------------------------------------------------------------


def drawn(claims):
    return ElementTree.fromstring(forest(claims, scale_of(claims)))


def test_intervals_lie_on_one_scale_with_border_margin_and_claimed_side(samples):
    claims = samples.full_claims()[4:]
    root = drawn(claims)
    line, band = root.find(".//line[@class='edge']"), root.find(".//rect")
    zero = float(line.get("x1"))
    dots = [float(dot.get("cx")) for dot in root.iter("circle")]
    assert dots[0] < zero < dots[1]
    left = float(band.get("x"))
    assert left < zero < left + float(band.get("width"))
    assert (zero - left) == pytest.approx(float(band.get("width")) / 2, abs=0.2)
    assert root.find("text").text == "0 →"
    assert [g.get("class") for g in root.iter("g")] == ["undecided", "supported"]
    assert ["hollow" in dot.get("class") for dot in root.iter("circle")] == [True, False]
    assert "+1.92 points [1.02, 2.82], border 0 points, margin 0.5 points" in root.get("aria-label")


def test_everything_lies_inside_whatever_the_numbers_are(samples):
    nan, inf = math.nan, math.inf
    ends = [(0.1, -inf, inf), (nan, nan, nan), (0.0, 0.0, 0.0), (5.0, 4.0, 6.0), (1e-9, -1e-9, 1e-9), (inf, 1.0, inf)]
    for value, low, high in ends:
        claim = replace(samples.full_claims()[4], evidence=(Estimate("e", value, low, high, 0.95, 5, "runs"),))
        for border in (0.0, nan):
            one = replace(claim, border=border)
            if scale_of([one]) is None:
                assert forest([one], None) == ""
                continue
            text = forest([one], scale_of([one]))
            assert "nan" not in text.replace("aria-label", "").split(">", 1)[1]
            assert "inf" not in text.split(">", 1)[1]
            xs = [float(x) for x in re.findall(r'(?:cx|x1|x2|x)="([-\d.]+)"', text)]
            assert all(0 <= x <= WIDTH for x in xs)


def test_an_open_end_is_an_arrow(samples):
    assert len(list(drawn(samples.full_claims()[:1]).iter("polygon"))) == 1


def test_words_of_the_user_cannot_leave_the_text_alternative(samples):
    evil = '"><script>alert(1)</script>\x00'
    claim = replace(samples.full_claims()[4], unit=evil)
    root = ElementTree.fromstring(forest([claim], scale_of([claim])))
    assert "script" not in {element.tag for element in root.iter()}


# --- matrix ---------------------------------------------------------------------------------------------------------


def test_statements_by_settings_with_their_lines(samples):
    found = matrix(samples.full_claims())
    assert found.columns == ("clean labels", "20% wrong labels")
    assert found.shared == "self student, τ = 4"
    assert [row.name for row in found.rows] == ["C1", "C2", "C3"]
    exaggerates = found.rows[1].cells[0]
    assert exaggerates.verdict == "supported"
    assert [(line.name, line.word) for line in exaggerates.lines] == [
        ("literal", "contradicted"),
        ("Holm", "undecided"),
    ]
    assert [line.name for line in found.rows[2].cells[0].lines] == ["Holm", "would see 0.8 points"]
    assert found.corrected
    assert found.literal


def test_what_was_not_judged_leaves_its_cell_empty(samples):
    claims = [c for c in samples.full_claims() if (c.name, c.levels[0][1]) != ("C2", "20%")]
    found = matrix(claims)
    assert found.columns == ("clean labels", "20% wrong labels")
    assert found.rows[1].cells[1] is None


def test_settings_of_its_own_stand_below_each_other(samples):
    over = replace(samples.full_claims()[0], name="C4", text="All in all.", setting="over 14 settings", levels=())
    found = matrix((*samples.full_claims(), over))
    assert found.columns == ("clean labels", "20% wrong labels")
    assert found.rows[3].own
    assert found.rows[3].shared == "over 14 settings"
    assert found.rows[3].cells[0].setting == ""


def test_one_column_that_not_all_rows_fit_is_none(samples):
    first, second = (replace(samples.judged(n, f"{n} holds.", "0%", "supported", 0.1, 0.01), levels=()) for n in "AB")
    third = replace(first, name="C", text="C holds.", setting=f"{first.setting}, equal steps")
    found = matrix([first, second, third])
    assert found.columns == ()
    assert found.shared == "clean labels, self student, τ=4"
    assert [row.shared for row in found.rows] == ["", "", "equal steps"]


def test_many_settings_of_one_statement_are_folded_under_one_picture(samples):
    claims = [samples.judged("E3", "It moves.", f"{i}%", "supported", 0.01, 0.002) for i in range(16)]
    found = matrix(claims)
    (row,) = found.rows
    assert row.counts == (("supported", "✓", 16),)
    assert len(row.cells) == 16
    assert row.picture.count("<circle") == 16


def test_one_setting_several_times_is_told_apart_by_what_is_measured(samples):
    first, second = (
        replace(samples.judged("D1", "It fits.", "0%", "supported", v, 0.1), evidence=(samples.estimate(name, v, 0.1),))
        for name, v in (("error of one", 0.1), ("error of two", 0.2))
    )
    found = matrix([first, second])
    assert [cell.setting for cell in found.rows[0].cells] == ["error of one", "error of two"]
    assert matrix([]) is None


def test_the_legend_explains_what_occurs_and_no_more():
    assert [term for term, _ in legend(["Its slope against the control at τ = 4"])] == ["control (twin)", "τ", "slope"]
    assert legend(["Nothing to explain."]) == []
    assert len(legend(["control self τ slope φ sweeps early-stopped label noise points nats"])) == 5
