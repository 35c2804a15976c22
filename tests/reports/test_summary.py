from dataclasses import replace

from disobey.records.results import Claim, Estimate, Finding, Result
from disobey.reports import summary_lines


def test_every_verdict_with_its_evidence(samples):
    text = "\n".join(summary_lines(samples.sample()))
    assert "1 supported, 1 contradicted, 1 negligible, 1 undecided, 1 warning, 1 note, 1 ok" in text
    assert "✓ supported     C1  On points of low teacher confidence" in text
    assert "deviation, lowest quartile, train −0.77 [−0.88, −0.66] (95% over 5 runs)" in text
    assert "slope, validation 1.02 (no interval: 1 run)" in text
    assert text.index("! warning") < text.index("i note") < text.index("✓ ok")


def test_lines_keep_to_the_width(samples):
    assert max(map(len, summary_lines(samples.sample(), width=72))) <= 72


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
