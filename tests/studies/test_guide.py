"""The guide to writing a study: its study is a real one, and what the page says about it is true."""

import doctest
import importlib.util
import re
import sys
from pathlib import Path

import pytest

from disobey.studies.kit.options import options

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "write-a-study.md"


@pytest.fixture
def toy(tmp_path):
    """The page's file as a module."""
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if ">>>" not in block
    )
    (tmp_path / "temperature.py").write_text(code)
    spec = importlib.util.spec_from_file_location("temperature", tmp_path / "temperature.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["temperature"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["temperature"]


def test_the_page_is_true(toy, tmp_path):
    names = {"Temperature": toy.Temperature, "folder": tmp_path / "store"}
    test = doctest.DocTestParser().get_doctest(PAGE.read_text(), names, PAGE.name, str(PAGE), 0)
    assert test.examples
    results = doctest.DocTestRunner().run(test)
    assert results.failed == 0


def test_the_toy_study_keeps_the_house_rules(toy):
    study = toy.Temperature()
    assert len(Path(toy.__file__).read_text().splitlines()) < 100
    assert all(option.words for option in options(study))
    assert toy.Temperature.smoke().is_smoke
