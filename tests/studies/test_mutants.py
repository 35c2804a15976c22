"""Every mutant of the functions that decide verdicts is noticed by a test, or listed as equivalent with the reason."""

import pytest

from tests.support import rule_mutants


@pytest.mark.slow
def test_no_mutant_of_a_deciding_function_survives(capsys):
    assert rule_mutants.main() == 0, capsys.readouterr().out


def test_every_deciding_function_is_there():
    for module, name in rule_mutants.DECIDING:
        assert callable(rule_mutants.find(module, name))


def test_a_mutant_is_installed_and_taken_back():
    module, name = rule_mutants.DECIDING[4]
    side = rule_mutants.find(module, name)
    before = side.__code__
    count, left = rule_mutants.run(module, name, lambda: side.__code__ is before)
    assert count >= 5
    assert left == []
    assert side.__code__ is before
