import html
import json
import re
from dataclasses import replace

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
from disobey.reports import render, write
from disobey.reports.parts import inert_json
from tests.support.elements import Elements
from tests.support.refusals import refuses

HOSTILE = (
    "</script></title></style>--><img src=x onerror=alert(1)><script>alert(2)</script>"
    "\"'`${7*7}{{7*7}}\u2028\x00\x1b[31m"
)


def hostile_result():
    h = HOSTILE
    e = Estimate(h, 0.5, 0.4, 0.6, 0.95, 10, "examples")
    chart = Chart(
        h,
        h,
        "scatter",
        {h: (1.0, 2.0), "y": (1.0, 2.0), "c": (h, h + "2"), "f": (h, h), h + "tip": (h, h)},
        Axis(h, h),
        Axis("y", h),
        alt=h,
        caption=h,
        color=Axis("c", h, "nominal"),
        facet=Axis("f", h, "nominal"),
        rules=(Rule(1, 0, h), Rule(2, 0, h, h)),
        tooltip=(h + "tip",),
        key=h + "tip",
        levels=((h, h),),
    )
    again = replace(chart, levels=((h, h + "2"),))
    bars = Chart(h, h, "bar", {"x": (h, "b"), "y": (1.0, 2.0)}, Axis("x", h, "nominal"), Axis("y", h), alt=h)
    guess = Guess(h, ((h, 0.5),))
    return Result(
        h,
        h,
        (
            Claim(h, h, "supported", (e,), h, name=h, setting=h, note=h),
            Claim(
                h, h, "undecided", (e,), h, h, h + ", b", h, unit=h, levels=((h, h),), said=h, border=0.1, robust=(e,)
            ),
            Finding(h, "warning", h, (e,), h),
            Table(h, (h, "b"), ((h, e), (h, None)), h),
            chart,
            again,
            bars,
            Gallery(
                h, (Exhibit(h, (h,), text=h, key=h), Exhibit(h, (h,), image=((0, 1), (2, 3)), guesses=(guess,))), h
            ),
            Text("Methods " + h, h),
        ),
        summary=h,
        cautions=(h,),
        settings={h: h, "nested": {h: [h, {h: h}]}},
    )


def test_findings_are_sorted_by_urgency(page_text):
    text = Elements(page_text).text
    assert (
        text.index("Little to teach The teacher") < text.index("Small test set Diff") < text.index("Row alignment Rows")
    )
    assert "Try Raise the temperature" in text


def findings_of(*statuses):
    """The page's details of what is well, and what stands before it in the section of findings."""
    blocks = tuple(Finding(f"check {i}", status, f"says {i}.") for i, status in enumerate(statuses))
    section = re.search(r'<section id="findings".*?</section>', render(Result("s", "q", blocks)), re.S)
    assert section is not None
    before, mark, well = section[0].partition('<details class="well">')
    return Elements(before), Elements(mark + well)


def test_what_found_nothing_is_folded_below_what_did():
    before, well = findings_of("ok", "note", "ok", "warning", "ok")
    assert [a["class"] for t, a in before.tags if t == "article"] == ["card warning", "card note"]
    assert well.count("article", **{"class": "card ok"}) == well.count("article") == 3
    assert well.text.startswith("3 checks passed ✓ ok check 0 says 0.")
    assert "open" not in dict(well.tags)["details"]
    assert "No warnings" not in before.text


def test_one_check_that_found_nothing_is_singular_and_alone_it_says_that_there_is_nothing_else():
    before, well = findings_of("ok")
    assert before.text == "Findings No warnings and no notes."
    assert well.text.startswith("1 check passed ")
    before, well = findings_of("warning")
    assert well.tags == []
    assert "No warnings" not in before.text


def test_galleries_write_minus_signs_as_tables_do():
    exhibit = Exhibit("row-3", ("deviation: -2.10 nats", "teacher: cat-5 0.900"), text="a -1 of the user's")
    text = Elements(render(Result("s", "q", (Gallery("g", (exhibit,)),)))).text
    assert "row-3 deviation: −2.10 nats teacher: cat-5 0.900" in text
    assert "a -1 of the user's" in text  # not ours to rewrite


def test_an_estimate_without_an_interval_says_so(page_text):
    text = Elements(page_text).text
    assert "1.02 no interval: 1 run" in text
    assert "Brackets: 95% over 5 runs; no interval: 1 run." in text
    assert not re.search(r"\b(nan|none)\b", text.lower())


def test_every_figure_has_alternative_text_a_still_picture_and_data(page_text, samples):
    page = Elements(page_text)
    charts = samples.sample().of(Chart)
    for chart in charts:
        assert page.count("div", role="img", **{"aria-label": chart.alt}) >= 1
    assert page.count("script", type="application/json", **{"class": "drawing"}) == len(charts)
    assert len(re.findall(r'<div class="still"><svg ', page_text)) == len(charts)
    assert page.count("img", alt="The image of example 3") == 1


def test_nothing_is_loaded_from_anywhere(page_text):
    page = Elements(page_text)
    for tag, attributes in page.tags:
        if tag == "script":
            assert "src" not in attributes
        if tag == "link":
            assert attributes["href"].startswith("data:")
        if tag == "img":
            assert attributes["src"].startswith("data:image/png;base64,")
        assert not any(name.startswith("on") for name in attributes)
        for name in ("href", "src", "action", "data", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    style = re.search(r"<style>(.*?)</style>", page_text, re.S)
    assert style is not None
    assert "url(" not in style.group(1)
    assert "@import" not in style.group(1)


def test_the_policy_names_the_scripts_of_the_page(page_text):
    import base64
    import hashlib

    scripts = re.findall(r"<script>(.*?)</script>", page_text, re.S)
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page_text).group(1))
    assert len(scripts) == 2
    for script in scripts:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy
    assert "eval" not in policy
    assert "script-src 'unsafe" not in policy


def test_equal_results_give_equal_bytes(samples, page_text):
    assert render(Result.from_json(samples.sample(**samples.SMALL).to_json()), samples.PROVENANCE) == page_text


def test_the_file_stays_small(page_text, samples):
    assert len(page_text.encode()) < 2_000_000
    many = samples.logit_plot(20_000, name="many")
    few = samples.logit_plot(2_000, name="few")
    size = {c.name: len(render(Result("s", "q", (c,)))) for c in (many, few)}
    assert size["many"] < 1.25 * size["few"]  # ten times the points


def test_a_page_without_figures_carries_no_library(samples):
    page = render(replace(samples.sample(), blocks=samples.claims()))
    assert len(page) < 50_000
    assert "vegaEmbed=" not in page


def test_smoke_results_say_so_loudly(samples):
    page = Elements(render(replace(samples.sample(smoke=True), blocks=samples.claims())))
    assert page.count("div", **{"class": "smoke", "role": "alert"}) == 1
    assert page.text.count("evidence of nothing") == 1 + len(samples.claims())
    assert "evidence of nothing" not in Elements(render(replace(samples.sample(), blocks=samples.claims()))).text


def test_provenance_and_cost_are_shown_and_alone_bring_dates(samples, page_text):
    text = Elements(page_text).text
    assert "Cost CPU-seconds 312.4 runs 40 reused 12" in text
    assert "commit 3382e80" in text
    assert "temperature 4.0 seeds 0, 1, 2, 3, 4 base model mlp learning_rate 0.001" in text
    assert "3382e80" not in render(samples.sample())


def test_hostile_strings_stay_strings():
    page = render(hostile_result(), {HOSTILE: HOSTILE, "cost": {HOSTILE: [HOSTILE]}})
    elements = Elements(page)
    assert {tag for tag, _ in elements.tags} <= {
        *(
            "html",
            "head",
            "meta",
            "title",
            "link",
            "style",
            "body",
            "a",
            "header",
            "p",
            "h1",
            "h2",
            "h3",
            "span",
            "div",
        ),
        *(
            "nav",
            "ol",
            "ul",
            "li",
            "main",
            "section",
            "article",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "dl",
            "dt",
        ),
        *("dd", "figure", "figcaption", "script", "svg", "g", "path", "line", "rect", "text", "tspan", "button"),
        *("details", "summary", "blockquote", "strong", "img", "footer", "code"),
        *("b", "circle", "polygon", "fieldset", "legend", "label", "input"),
    }
    assert elements.count("script") == 2 + 3  # ours, and the data of three figures
    assert elements.count("img") == 1
    assert not any(name.startswith("on") for _, attributes in elements.tags for name in attributes)
    assert "{{7*7}}" in elements.text  # no second templating
    assert "\x00" not in page
    assert "\x1b" not in page
    for found in re.findall(r'<script type="application/json" class="drawing">(.*?)</script>', page, re.S):
        json.loads(found)


def test_half_characters_do_not_stop_a_report(tmp_path):
    result = Result("s", "\ud800 half", (Table("t\ud800", ("a",), (("\udfff",),)),))
    assert write(result, tmp_path).read_text(encoding="utf-8").count("half") >= 1


def test_json_in_the_page_is_inert_and_whole():
    value = {"a": "</script><!--&\u2028", "b": [1, None, "é"]}
    text = inert_json(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_missing_cells_and_null_bounds_survive_json():
    e = Estimate("a", float("nan"), float("nan"), float("nan"), 0.95, 0, "runs")
    blocks = (
        Claim("c", "s", "undecided", (e,), "r"),
        Table("t", ("x", "y", "z"), ((None, e, float("inf")), ("a", 2, True))),
        Table("empty", ("x",), ()),
        Table("no columns", (), ()),
        Gallery("nothing shown", ()),
        Text("", ""),
    )
    result = Result.from_json(Result("s", "q", blocks).to_json())
    text = Elements(render(result)).text
    assert "no interval: 0 runs" in text
    assert not re.search(r"\b(nan|none)\b", text.lower())


def test_an_empty_result_is_a_page():
    assert "<h1>q</h1>" in render(Result("s", "q", ()))


def test_write_leaves_a_report_and_a_file_for_every_figure(tmp_path, samples):
    result = samples.sample(points=60, many=100)
    path = write(result, tmp_path / "new" / "folder", samples.PROVENANCE)
    assert path == tmp_path / "new" / "folder" / "report.html"
    names = {p.name for p in (path.parent / "figures").iterdir()}
    assert names == {f"{chart.name}.svg" for chart in result.of(Chart)}
    assert path.read_text(encoding="utf-8") == render(result, samples.PROVENANCE)


def test_nothing_is_written_where_a_figure_cannot_be_drawn(tmp_path):
    bad = Chart("a", "A", "bar", {"x": (1,)}, Axis("x", "X"), Axis("nowhere", "Y"), "alt")
    with refuses("no-column", "nowhere"):
        write(Result("s", "q", (bad,)), tmp_path)
    with refuses("bad-image", "exhibit 'e'", "0 to 255"):
        write(Result("s", "q", (Gallery("g", (Exhibit("e", (), image=((300,),)),)),)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_figure_names_cannot_leave_the_folder(tmp_path):
    def named(name):
        return Chart(name, "A", "bar", {"x": ("a",), "y": (1,)}, Axis("x", "X", "nominal"), Axis("y", "Y"), "alt")

    write(Result("s", "q", (named("../../up"), named("A"), named("a"), named(""))), tmp_path / "in")
    assert {p.name for p in tmp_path.iterdir()} == {"in"}
    assert {p.name for p in (tmp_path / "in" / "figures").iterdir()} == {"up.svg", "A.svg", "a-2.svg", "figure.svg"}


def test_the_methods_can_be_copied_and_long_reports_have_contents(page_text):
    page = Elements(page_text)
    assert page.count("button", **{"class": "copy"}) == 1
    assert page.count("nav") == 1
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = {a["href"][1:] for t, a in page.tags if t == "a"}
    assert links <= ids
    assert Elements(render(Result("s", "q", (Text("Methods", "m"),)))).count("nav") == 0
