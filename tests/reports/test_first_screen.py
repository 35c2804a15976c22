"""The first screen, the switches and what is linked, in headless Chromium; every wait is for a state of the page."""

import pytest

from disobey.reports import write
from tests.support.pages import centre

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page_of(tmp_path_factory, samples):
    return write(samples.switched(), tmp_path_factory.mktemp("switched"))


def drawn(page, part="#part-1"):
    page.locator(f"{part} figure.figure[data-drawn]:visible").wait_for(timeout=60_000)


def test_the_first_screen_has_the_answer_and_every_verdict_with_its_picture(visit, page_of):
    seen = visit(page_of, viewport={"width": 1280, "height": 900})
    for selector in (".lede", ".matrix"):
        box = seen.page.locator(selector).first.bounding_box()
        assert box["y"] + box["height"] <= 900
    assert seen.page.locator("svg.forest:visible").count() == 6
    assert "20% wrong labels: yes, +1.92 points" in " ".join(seen.page.locator(".lede").inner_text().split())
    assert seen.page.locator(".rules article:visible").count() == 0
    assert seen.loads_nothing(), (seen.complaints, seen.requests)


def test_a_claims_name_leads_to_its_rule_and_evidence(visit, page_of):
    page = visit(page_of).page
    page.locator(".matrix .name").nth(2).click()
    page.get_by_text("rule of C3").wait_for()
    assert page.locator("#claim-3 .evidence:visible").count() >= 2


def test_one_picture_switches_by_key_and_keeps_the_other_switch(visit, page_of):
    page = visit(page_of).page
    drawn(page)
    shown = lambda: page.locator("#part-1 figcaption:visible").inner_text()
    assert "caption 0% test" in shown()
    train = page.locator("#part-1 input[value=train]")
    train.focus()
    train.press("Space")
    page.get_by_text("caption 0% train").wait_for()
    page.locator("#part-1 input[value='20%']").check(force=True)
    page.get_by_text("caption 20% train").wait_for()
    drawn(page)
    assert page.locator("#part-1 .live svg:visible").count() == 1
    assert page.locator("#part-1 .view-name:visible").count() == 0
    page.emulate_media(media="print")
    assert page.locator("#part-1 .view-name:visible").inner_text() == "20% wrong labels, train split"
    assert page.locator(".switches:visible").count() == 0


def test_without_scripts_every_view_is_there_with_its_name(visit, page_of):
    page = visit(page_of, java_script_enabled=False).page
    assert page.locator("#part-1 .still svg:visible").count() == 4
    assert page.locator("#part-1 .view-name:visible").count() == 4
    assert page.locator(".switches:visible").count() == 0


def test_a_mark_opens_its_example_in_the_gallery_of_its_setting(visit, page_of):
    page = visit(page_of).page
    page.locator("#part-1 input[value='20%']").check(force=True)
    drawn(page)
    mark = page.locator(
        "#part-1 .view:not([hidden]) .live .points_marks path, .view:not([hidden]) .live .role-mark path"
    )
    assert page.locator("#part-1 .view:not([hidden]) .live .ringed_marks path").count() == 3
    page.mouse.click(*centre(mark.nth(2)))
    found = page.locator(".exhibit.found")
    found.wait_for()
    assert found.get_attribute("data-key") in "789"
    assert "noise 20%" in found.inner_text()  # its gallery was turned, and what is folded there is open
    assert page.evaluate("document.activeElement.classList.contains('found')")


def test_marks_of_a_split_that_no_gallery_shows_have_no_ring(visit, page_of):
    page = visit(page_of).page
    page.locator("#part-1 input[value=train]").check(force=True)
    drawn(page)
    assert page.locator("#part-1 .view:not([hidden]) .live .ringed_marks path").count() == 0


def test_long_tables_and_methods_are_folded_and_open_from_the_contents_and_on_paper(visit, page_of):
    page = visit(page_of).page
    table, methods = page.locator("#part-3 table.data"), page.locator("#part-4 .prose")
    assert not table.is_visible()
    assert not methods.is_visible()
    assert "20 rows" in page.locator("#part-3 summary").inner_text()
    page.locator("nav a[href='#part-3']").click()
    table.wait_for()
    page.emulate_media(media="print")
    assert methods.is_visible()


def test_contents_are_one_line_an_entry_and_folded_on_a_phone(visit, page_of):
    page = visit(page_of).page
    heights = page.evaluate("[...document.querySelectorAll('nav li')].map(li => li.getBoundingClientRect().height)")
    assert min(heights) > 0
    assert max(heights) < 1.5 * min(heights) < 40
    phone = visit(page_of, viewport={"width": 390, "height": 844}).page
    assert phone.locator("nav li:visible").count() == 0
    phone.locator("nav summary").click()
    assert phone.locator("nav li:visible").count() == len(heights)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
