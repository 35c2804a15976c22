"""The sample result and its page."""

import pytest

from tests.support import sample_result


@pytest.fixture(scope="session")
def samples():
    return sample_result


@pytest.fixture(scope="session")
def page_text(samples):
    from disobey.reports import render

    return render(samples.sample(**samples.SMALL), samples.PROVENANCE)
