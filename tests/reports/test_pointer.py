"""What a report tells of the mark under a mouse, a finger or a page that moves beneath them."""

import pytest

from tests.support.pages import centre, look_again, words

pytestmark = pytest.mark.browser

CELLS = "#part-5 .live .mark-rect.role-mark path"


def test_hover_shows_the_example(visit, samples):
    page = visit().draw_all().page
    page.locator("#part-1").scroll_into_view_if_needed()
    assert page.locator(".hover:visible").count() == 0
    page.locator("#part-1 .live .mark-symbol.role-mark path").last.hover(force=True)
    words(page, "example", "class", "digit", "on this example", "model", "twin")
    page.locator("#part-7").scroll_into_view_if_needed()
    page.locator("#part-7 .live .mark-rect.role-mark path").first.hover(force=True)
    words(page, "examples here", " to ")
    page.keyboard.press("Escape")
    assert page.locator(".hover:visible").count() == 0


def test_what_escape_puts_away_comes_back_with_a_move_only(visit):
    page = visit().draw_all().page
    page.locator(CELLS).first.scroll_into_view_if_needed()
    x, y = centre(page.locator(CELLS).first)
    page.mouse.move(x, y)
    text = words(page, "digit")
    page.keyboard.press("Escape")
    look_again(page)
    assert page.locator(".hover:visible").count() == 0
    page.mouse.move(x + 1, y)
    assert words(page) == text


def test_a_late_scroll_event_leaves_the_text_of_the_mark_that_still_lies_there(visit):
    page = visit().draw_all().page
    page.locator(CELLS).first.scroll_into_view_if_needed()
    page.mouse.move(*centre(page.locator(CELLS).first))
    text = words(page)
    # A browser tells of a scroll with the next picture, by when the pointer may have moved onto its mark already.
    still_there = "dispatchEvent(new Event('scroll')), !document.querySelector('.hover').hidden"
    assert page.evaluate(still_there)
    look_again(page)
    assert page.evaluate("!document.querySelector('.hover').hidden")
    assert words(page) == text


def test_a_resting_pointer_is_told_what_the_page_brings_beneath_it(visit):
    page = visit().draw_all().page
    first, below = page.locator(CELLS).nth(0), page.locator(CELLS).nth(10)
    first.scroll_into_view_if_needed()
    x, y = centre(first)
    page.mouse.move(x, y)
    assert "digit 1" not in words(page, "digit 0").splitlines()
    page.mouse.wheel(0, centre(below)[1] - y)
    words(page, "digit 1")
    # Away from every mark there is nothing to tell.
    page.mouse.wheel(0, -2000)
    page.locator(".hover").wait_for(state="hidden")


def test_a_figure_drawn_anew_under_a_resting_pointer_tells_what_it_has_there(visit):
    page = visit().draw_all().page
    page.locator(CELLS).first.scroll_into_view_if_needed()
    x, y = centre(page.locator(CELLS).nth(34))
    page.mouse.move(x, y)
    before = words(page)
    drawn = page.locator("#part-5 .live svg").element_handle()
    page.evaluate("document.querySelector('#part-5 .plot').style.width = '480px'")
    page.wait_for_function("drawn => !drawn.isConnected", arg=drawn)
    after = words(page)
    assert after != before
    page.mouse.move(1, 1)
    page.locator(".hover").wait_for(state="hidden")
    page.mouse.move(x, y)
    assert words(page) == after


def test_a_drawing_that_comes_late_does_not_replace_the_one_for_the_window_as_it_is(visit):
    page = visit().draw_all().page
    page.locator("#part-5").scroll_into_view_if_needed()
    page.evaluate("""() => {
      const embed = vegaEmbed;
      vegaEmbed = async (...all) => {
        if (window.release) return embed(...all);
        await new Promise((release) => { window.release = release; });
        const drawn = await embed(...all);
        setTimeout(() => { window.late = true; });  // when the page has done with it what it does
        return drawn;
      };
    }""")
    drawn = page.locator("#part-5 .live svg").element_handle()
    page.evaluate("document.querySelector('#part-5 .plot').style.width = '400px'")
    page.wait_for_function("() => window.release !== undefined")
    page.evaluate("document.querySelector('#part-5 .plot').style.width = '520px'")
    page.wait_for_function("drawn => !drawn.isConnected", arg=drawn)
    width = page.locator("#part-5 .live svg").bounding_box()["width"]
    page.evaluate("release()")
    page.wait_for_function("() => window.late")
    assert page.locator("#part-5 .live svg").bounding_box()["width"] == width > 400


def test_what_lies_over_a_mark_does_not_silence_it(visit):
    page = visit().draw_all().page
    dots = page.locator("#part-5 .live .below_marks path")
    dots.first.scroll_into_view_if_needed()
    page.mouse.move(*centre(dots.first))
    assert "digit" in words(page)
    # Where lines cross dense cells, the cell answers.
    page.locator("#part-7").scroll_into_view_if_needed()
    silent = """[...document.querySelectorAll('#part-7 .live .role-mark.mark-line path')].filter((line) => {
      const box = line.getBoundingClientRect();
      const at = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
      return at === line;
    }).length"""
    assert page.evaluate(silent) == 0


def test_a_tap_on_a_phone_tells_what_lies_there(visit):
    page = visit(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True).draw_all().page
    page.locator(CELLS).first.scroll_into_view_if_needed()
    page.touchscreen.tap(*centre(page.locator(CELLS).first))
    assert "digit 0" in words(page)
    page.evaluate("scrollBy(0, 30)")
    page.locator(".hover").wait_for(state="hidden")
