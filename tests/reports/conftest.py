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


@pytest.fixture(scope="module")
def browser():
    from tests.support.pages import launched

    yield from launched()


@pytest.fixture(scope="module")
def report(tmp_path_factory, samples):
    """The sample result's page, a path."""
    from disobey.reports import write

    return write(samples.sample(**samples.SMALL), tmp_path_factory.mktemp("report"), samples.PROVENANCE)


@pytest.fixture
def visit(browser, report):
    """``visit(path, **window)`` opens a page, the sample's where none is given, in a window of its own."""
    from tests.support.pages import Visit

    visits = []

    def opened(path=None, **window):
        visits.append(Visit(browser, path or report, **window))
        return visits[-1]

    yield opened
    for each in visits:
        each.context.close()
