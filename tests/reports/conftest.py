"""The sample result, loaded by path: test files import nothing from each other."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def samples():
    spec = importlib.util.spec_from_file_location("sample_result", Path(__file__).with_name("sample_result.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def page_text(samples):
    from disobey.reports import render

    return render(samples.sample(**samples.SMALL), samples.PROVENANCE)
