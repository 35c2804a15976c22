from dataclasses import replace

from disobey.records.results import Claim, Estimate, Finding, Result
from disobey.reports import summary_lines


def test_the_answer_then_every_verdict_with_its_number(samples):
    text = " ".join(" ".join(summary_lines(samples.sample())).split())
    assert "1 supported, 1 contradicted, 1 negligible, 1 undecided, 1 warning, 1 note, 1 ok" in text
    assert text.index("Yes, −0.77 [−0.88, −0.66].") < text.index("C1 On points of low teacher confidence")
    assert "✓ supported Digits 8×8, 20 % wrong labels" in text
    assert "−0.77 [−0.88, −0.66] (95% over 5 runs)" in text
    assert text.index("! warning") < text.index("i note") < text.index("✓ 1 check found nothing")


def test_the_same_words_as_on_the_page(samples):
    """Terminal and report tell one answer, with lines and corrected words where there are any."""
    result = Result("s", "q?", samples.full_claims(), main=("C3",))
    text = " ".join(" ".join(summary_lines(result)).split())
    assert "Clean labels: undecided, −0.04 points [−0.54, 0.46] (0.8 points would have been seen);" in text
    assert "20% wrong labels: yes, +1.92 points [1.02, 2.82]." in text
    assert "After correction for all 6 claims of this report (Holm) the answer above stays." in text
    assert "(after correction for 6 claims: 1 supported, 5 undecided)" in text
    assert "literal contradicted; undecided after correction" in text


def test_a_screen_is_enough_unless_all_is_asked_for(samples):
    claims = tuple(replace(c, name=f"C{i}") for i in range(40) for c in samples.claims()[:1])
    result = Result("s", "q?", (*claims, *samples.findings()))
    short = summary_lines(result)
    assert len(short) <= 40
    assert short[-1].startswith("… and ")
    assert short[-1].endswith(" more in the report")
    whole = summary_lines(result, verbose=True)
    assert len(whole) > 80
    assert any(line.startswith("✓ ok") for line in whole)


def test_cautions_come_before_any_number(samples):
    result = replace(samples.sample(), cautions=("Seed 3 stands out.",))
    lines = summary_lines(result)
    assert lines[1] == "Mind: Seed 3 stands out."


def test_lines_keep_to_the_width(samples):
    assert max(map(len, summary_lines(samples.sample(), width=72))) <= 72
    assert max(map(len, summary_lines(Result("s", "q?", samples.full_claims()), width=72))) <= 72


def test_smoke_is_said_before_any_verdict(samples):
    lines = summary_lines(samples.sample(smoke=True))
    assert lines[1].startswith("Smoke test: evidence of nothing.")
    assert not any("Smoke" in line for line in summary_lines(samples.sample()))


def test_terminals_are_not_driven_by_data():
    evil = "a\x1b]0;owned\x07\r\nb\u202ec"
    estimate = Estimate(evil, 1.0, 0.0, 2.0, 0.95, 3, "runs")
    result = Result(
        evil, evil, (Claim(evil, evil, "contradicted", (estimate,), evil, evil), Finding(evil, "ok", evil)), evil
    )
    for line in summary_lines(replace(result, smoke=True)):
        assert line.isprintable()


def test_an_empty_result_has_its_question():
    assert summary_lines(Result("s", "q?", ())) == ["s: q?"]
