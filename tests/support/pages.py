"""A report in headless Chromium, from a file, offline."""

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def launched() -> Iterator:
    """The browser, to be closed by whoever goes on; skips the test where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: none of chromium, chromium-browser, google-chrome is on the PATH")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed: pip install 'disobey[dev]'")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
        yield opened
        opened.close()


class Visit:
    """One page in one kind of window, with everything that it asked for and complained about."""

    def __init__(self, browser, path: Path, **window):
        self.context = browser.new_context(offline=True, **({"viewport": {"width": 1280, "height": 900}} | window))
        self.page = self.context.new_page()
        self.complaints, self.requests, self.dialogs = [], [], []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.address = path.resolve().as_uri()
        self.page.goto(self.address)

    def draw_all(self):
        """Goes to every figure that is shown, as a reader does, and waits until it is drawn."""
        figures = self.page.locator("figure.figure:visible")
        for i in range(figures.count()):
            figures.nth(i).scroll_into_view_if_needed()
            figures.nth(i).and_(self.page.locator("[data-drawn]")).wait_for(timeout=60_000)
        return self

    def loads_nothing(self):
        outside = [url for url in self.requests if url != self.address and not url.startswith("data:")]
        return outside == [] and self.complaints == []


def words(page, *expected):
    """The text under the pointer; waits until there is one that has these words."""
    told = page.locator(".hover:visible")
    for each in expected:
        told = told.filter(has_text=each)
    return told.inner_text()


def look_again(page):
    """Tells the page of a scroll and waits until it has looked what lies beneath the pointer.

    It looks 120 ms later by its own clock, on which a timer of 150 ms that is set afterwards runs afterwards.
    """
    page.evaluate("dispatchEvent(new Event('scroll')), new Promise((done) => setTimeout(done, 150))")


def centre(mark):
    box = mark.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
