"""What stands where on a page: the answer, the matrix, what is folded, what has switches."""

import re
from dataclasses import replace

from disobey.records.results import Result, Table
from disobey.reports import render
from disobey.reports.wording import SYMBOLS
from tests.support.elements import Elements


def test_the_answer_and_the_verdicts_come_first_then_findings_then_pictures(page_text):
    text = Elements(page_text).text
    order = ("Yes", "C1 On points", "C2 The student", "C3 Disobedience", "Little to teach", "Bands:")
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    for word, symbol in SYMBOLS.items():
        assert f"{symbol} 1 {word}" in text  # the tally


def test_every_statement_has_its_words_in_the_matrix_and_rule_source_and_evidence_folded(page_text):
    text = Elements(page_text).text
    matrix, rules = text[: text.index("Rules, sources")], text[text.index("Rules, sources") :]
    rules = rules[: rules.index("Findings")]
    for part in ("Digits 8×8", "✓ supported −0.77 [−0.88, −0.66]", "✗ contradicted −0.0041"):
        assert part in matrix
    for part in (
        "−0.77 [−0.88, −0.66] 95% over 5 runs",
        "Rule Supported where the interval",
        "Digits 8×8, 20 % label noise",
        "arXiv 2301.12923, v1",
        "The slope depends on the temperature",
    ):
        assert part in rules
    for word in ("supported", "contradicted", "negligible", "undecided"):
        assert matrix.count(f"{SYMBOLS[word]} {word}") == 1
    assert "fixed before the runs" not in text  # nobody can check it


def test_lines_margins_corrected_words_and_registrations_are_shown(samples):
    page = render(Result("s", "q", samples.full_claims(), main=("C3",)))
    elements = Elements(page)
    text = elements.text
    assert "claim clean labels 20% wrong labels" in text
    assert "In all columns: self student, τ = 4." in text
    assert "literal ✗ contradicted Holm ? undecided" in text
    assert "would see 0.8 points" in text
    assert "“Holm”: the word after correction for all 6 claims." in text
    assert "Said before registered 2026-01-02, sha256 0123abcd" in text
    assert "Less moved by single runs: median" in text
    assert elements.count("svg", role="img", **{"class": "forest"}) == 6
    links = {attributes["href"] for tag, attributes in elements.tags if tag == "a"}
    assert {"#claim-1", "#claim-2", "#claim-3"} <= links


def test_words_of_the_first_screen_are_explained_on_it(samples):
    text = Elements(render(Result("s", "q", samples.full_claims(), main=("C3",)))).text
    head = text[: text.index("Verdicts")]
    assert "τ temperature: the higher, the softer" in head
    assert "points percentage points" in head


def test_cautions_stand_above_the_answer(samples):
    result = replace(samples.sample(**samples.SMALL), cautions=("Seed 3 stands out.",), blocks=samples.claims())
    text = Elements(render(result)).text
    assert text.index("Mind: Seed 3 stands out.") < text.index("Yes")


def test_blocks_under_one_title_are_one_section_with_switches(samples):
    page = render(samples.switched())
    elements = Elements(page)
    assert page.count("<section ") == 1 + 4 + 0  # verdicts; pictures, examples, table, methods
    for value in ("0%", "20%", "test", "train"):
        assert elements.count("input", value=value) >= 1
    assert elements.count("fieldset") == 2 + 1  # noise and split; of the examples, which are of one split, noise
    assert elements.count("figure", **{"class": "figure"}) == 4
    assert "clean labels, train split" in elements.text


def test_examples_have_their_models_guesses_as_rows_with_bars(samples):
    page = render(samples.switched())
    assert page.count('<th scope="rowgroup" rowspan="2">teacher</th>') == 10
    assert '<span class="bar" style="width:75.0%"></span><span>75.0%</span>' in page
    assert "7 more" not in page
    assert "<summary>5 more</summary>" in page  # nine, of which four are shown


def test_long_tables_and_methods_are_folded_and_short_tables_are_not(samples):
    folded = re.findall(r'<section id="(part-\d)" class="part folded"', render(samples.switched()))
    assert folded == ["part-3", "part-4"]
    assert 'class="part" aria' in render(replace(samples.sample(), blocks=(samples.table(),)))


def test_what_all_rows_have_in_common_is_said_once():
    rows = tuple((f"{n}%", "final", n / 10, "") for n in (0, 20))
    text = Elements(render(Result("s", "q", (Table("t", ("noise", "teacher", "gain", "censored"), rows),)))).text
    assert "noise gain 0%" in text
    assert "In all rows: teacher final." in text
    assert "censored" not in text


def test_measures_are_named_in_words_and_the_users_names_are_left():
    rows = (("student_right.low", 1.0),)
    text = Elements(render(Result("s", "q", (Table("t", ("measure", "value"), rows),)))).text
    assert "student right, low" in text
    text = Elements(render(Result("s", "q", (Table("t", ("class", "value"), rows),)))).text
    assert "student_right.low" in text
