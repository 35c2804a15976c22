"""The report in headless Chromium, from a file, offline: on a desk, on a phone, in the dark, on paper."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from disobey.records.results import (
    Axis,
    Chart,
    Claim,
    Estimate,
    Exhibit,
    Finding,
    Gallery,
    Guess,
    Result,
    Rule,
    Table,
    Text,
)
from disobey.reports import write
from tests.support.pages import words

pytestmark = pytest.mark.browser


def test_every_figure_is_drawn_and_nothing_is_asked_for(visit, samples):
    seen = visit().draw_all()
    figures = len(samples.sample(**samples.SMALL).of(Chart))
    assert seen.page.locator(".live svg").count() == figures
    assert seen.page.locator(".still:visible").count() == 0
    marks = seen.page.locator("#part-1 .live svg .mark-symbol.role-mark path").count()
    assert marks == 3 * samples.SMALL["points"]
    assert seen.loads_nothing(), (seen.complaints, seen.requests)


def painted(page, selector, property="backgroundColor"):
    found = page.evaluate("([s, p]) => getComputedStyle(document.querySelector(s))[p]", [selector, property])
    return sum(int(float(part)) for part in found[found.index("(") + 1 : -1].split(",")[:3])


def test_in_the_dark_the_page_and_its_figures_are_dark_and_paper_is_not(visit):
    page = visit(color_scheme="dark").draw_all().page
    label = "#part-2 .live .role-axis-title text"
    assert painted(page, "body") < 120
    assert painted(page, label, "fill") > 500
    # The theme changes under a drawn figure: nothing has to be drawn again.
    page.emulate_media(color_scheme="light")
    assert painted(page, "body") > 700
    assert painted(page, label, "fill") < 200
    page.emulate_media(color_scheme="dark", media="print")
    assert painted(page, "body") > 700
    assert painted(page, label, "fill") < 200


def test_a_phone_never_scrolls_sideways(visit):
    page = visit(viewport={"width": 360, "height": 740}, device_scale_factor=2, has_touch=True).draw_all().page
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for width in page.evaluate("[...document.querySelectorAll('.live svg')].map(s => s.getBoundingClientRect().right)"):
        assert width <= 360
    # Panels lie below each other.
    tops = page.evaluate(
        "[...document.querySelectorAll('#part-1 .role-scope.cell > g')].map(g => g.getBoundingClientRect().top)"
    )
    assert len({round(top) for top in tops if top}) >= 3


def test_paper_has_the_heads_of_tables_and_no_buttons(visit):
    page = visit(viewport={"width": 700, "height": 1000}).draw_all().page
    page.emulate_media(media="print")
    heads = page.locator("#part-4 thead th").all_inner_texts()
    assert heads == ["model", "accuracy", "slope", "runs", "calibration error"]
    assert page.locator(".save-svg:visible, .copy:visible, nav:visible").count() == 0
    # Nothing can be scrolled on paper.
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    assert page.evaluate("getComputedStyle(document.querySelector('#part-4 .scroll')).overflowX") == "visible"


def test_a_table_is_as_wide_as_its_numbers_and_its_prose_is_not_squeezed(visit, tmp_path):
    estimate = Estimate("slope", 0.8123, 0.7912, 0.8334, 0.95, 1000, "examples")
    prose = "what the model has to say of the examples on which its teacher is wrong"
    rows = tuple((f"measure_{i}.teacher_wrong", estimate, estimate, estimate, prose) for i in range(3))
    table = Table("Wide", ("measure", "student", "twin", "student − twin", "meaning"), rows, "")
    page = visit(write(Result("s", "q", (table,)), tmp_path)).page
    assert page.evaluate("(s => s.scrollWidth - s.clientWidth)(document.querySelector('.scroll'))") == 0
    assert page.locator("tbody tr").first.bounding_box()["height"] < 100
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("() => innerWidth === 390")
    assert page.locator("tbody tr").first.bounding_box()["height"] < 140


FINDINGS = (
    Finding("a", "warning", "Something."),
    *(Finding(f"check {i}", "ok", "Nothing. " * 30) for i in range(19)),
    Text("After", "This comes next."),
)


def test_what_found_nothing_opens_by_key_and_lies_open_on_paper(visit, tmp_path):
    page = visit(write(Result("s", "q", FINDINGS), tmp_path), viewport={"width": 390, "height": 844}).page
    cards = page.locator(".card.ok:visible")
    assert cards.count() == 0
    assert page.locator("#part-1").bounding_box()["y"] < 844  # what follows is on the first screen
    page.keyboard.press("Tab")  # the link that skips to the content
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "19 checks passed"
    page.keyboard.press("Enter")
    assert cards.count() == 19
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.keyboard.press("Enter")
    assert cards.count() == 0
    page.emulate_media(media="print")
    assert cards.count() == 19
    assert page.locator(".card.ok").last.bounding_box()["y"] < page.locator("#part-1").bounding_box()["y"]


def test_what_found_nothing_opens_without_scripts(visit, tmp_path):
    path = write(Result("s", "q", FINDINGS), tmp_path)
    page = visit(path, java_script_enabled=False).page
    assert page.locator(".card.ok:visible").count() == 0
    page.get_by_text("19 checks passed").click()
    assert page.locator(".card.ok:visible").count() == 19
    # The sheets that a printer gets, closed or not.
    sheets = lambda: len(re.findall(rb"/Type\s*/Page\b", page.pdf()))
    opened = sheets()
    page.get_by_text("19 checks passed").click()
    assert sheets() == opened > 2


def test_figures_follow_the_window(visit):
    seen = visit().draw_all()
    wide = seen.page.locator("#part-2 .live svg").bounding_box()["width"]
    seen.page.set_viewport_size({"width": 420, "height": 800})
    seen.page.locator("#part-2").scroll_into_view_if_needed()
    # Drawn anew, not only shrunk by its style. (A function, because the page's policy forbids to evaluate text.)
    seen.page.wait_for_function("() => document.querySelector('#part-2 .live svg').getAttribute('width') < 400")
    assert seen.page.locator("#part-2 .live svg").bounding_box()["width"] < 400 < 500 < wide
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 420
    assert seen.loads_nothing(), seen.complaints


def test_without_scripts_there_are_still_pictures_and_numbers(visit):
    seen = visit(java_script_enabled=False)
    page = seen.page
    assert page.locator(".still svg:visible").count() == page.locator("figure.figure").count() > 0
    assert page.locator("button:visible").count() == 0
    assert page.locator("table.data:visible").count() >= 1
    assert seen.requests == [seen.address]


def test_tables_sort_by_their_numbers_with_missing_ones_last(visit):
    page = visit().page
    table = page.locator("#part-4 table.data")
    slopes = lambda: [
        row.split("\t")[2].split(" ")[0].strip() for row in table.locator("tbody").inner_text().splitlines()
    ]
    button = table.locator("th").nth(2).locator("button")
    button.click()
    assert slopes() == ["0.822", "0.830", "1.115", "–"]
    assert table.locator("th").nth(2).get_attribute("aria-sort") == "ascending"
    button.click()
    assert slopes() == ["1.115", "0.830", "0.822", "–"]
    table.locator("th").nth(0).locator("button").press("Enter")
    assert table.locator("tbody th, tbody td").first.inner_text() == "student, T = 1"
    assert table.locator("[aria-sort]").count() == 1


def test_methods_are_copied_and_figures_saved(visit, samples):
    page = visit().page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    # Folded. By key: figures above are still being drawn, and a click can miss what they push down.
    page.locator("summary", has_text="Methods").press("Enter")
    page.locator("button.copy").click()
    page.get_by_text("Copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == samples.METHODS
    with page.expect_download() as waiting:
        page.locator("#part-2 .save-svg").click()
    assert waiting.value.suggested_filename == "slope-temperature.svg"
    assert Path(waiting.value.path()).read_text(encoding="utf-8").startswith("<svg ")


HOSTILE = '</script><img src=x onerror="window.owned=1;alert(1)"><b id=injected>"\'`${alert(3)}javascript:alert(4)'


def hostile():
    h = HOSTILE
    data = {h: (1.0, 2.0), "y": (1.0, 2.0), "c": (h, h + "2"), "image": (h, "https://example.org/i.png")}
    chart = Chart(
        h,
        h,
        "scatter",
        data,
        Axis(h, h),
        Axis("y", h),
        alt=h,
        caption=h,
        color=Axis("c", h, "nominal"),
        facet=Axis("c", h, "nominal"),
        rules=(Rule(1, 0, h),),
        tooltip=("image",),
        key="image",
        levels=((h, h),),
    )
    other = replace(chart, levels=((h, h + "2"),))
    bars = Chart(h, h, "bar", {"x": (h, "b"), "y": (1.0, 2.0)}, Axis("x", h, "nominal"), Axis("y", h), alt=h)
    blocks = (
        Finding(h, "warning", h, (), h),
        chart,
        other,
        bars,
        Table(h, (h, "b"), ((h, 1), (h, None)), h),
        Gallery(h, (Exhibit(h, (h,), text=h, guesses=(Guess(h, ((h, 0.5),)),), key=h),), h, levels=((h, h),)),
        Claim(h, h, "supported", (), h, h, h, h, unit=h, levels=((h, h),), said=h),
        Text("Methods " + h, h),
    )
    return Result(h, h, blocks, summary=h, settings={h: h})


def test_hostile_names_do_nothing(visit, tmp_path):
    seen = visit(write(hostile(), tmp_path, {HOSTILE: HOSTILE})).draw_all()
    page = seen.page
    mark = page.locator("#part-1 .live .mark-symbol.role-mark path").first
    mark.hover(force=True)
    assert HOSTILE in words(page)
    mark.click(force=True)
    assert page.locator(".exhibit.found").get_attribute("data-key") == HOSTILE
    page.locator("#part-1 .switches input").last.check(force=True)
    page.locator("#part-3 thead button").first.click()
    assert seen.dialogs == []
    assert page.evaluate("window.owned") is None
    assert page.locator("#injected").count() == 0
    assert page.locator("img").count() == 0
    assert seen.loads_nothing(), (seen.complaints, seen.requests)


def test_the_policy_stops_a_script_that_got_in(visit, report, tmp_path):
    """The positive control: the same page with a script smuggled in past the template."""
    page = report.read_text(encoding="utf-8").replace("</main>", "<script>window.owned = 1</script></main>", 1)
    path = tmp_path / "smuggled.html"
    path.write_text(page, encoding="utf-8")
    seen = visit(path)
    assert seen.page.evaluate("window.owned") is None
    if not seen.complaints:  # the browser's complaints come on a way of their own
        seen.page.wait_for_event("console", lambda message: message.type == "error")
    assert any("Content Security Policy" in complaint for complaint in seen.complaints)
    assert not seen.loads_nothing()
