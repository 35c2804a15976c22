import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest

from disobey.records.results import Axis, Chart, Estimate, Rule
from disobey.reports import palette
from disobey.reports.charts import drawing, specification
from disobey.reports.frames import POINT, columnar, frame
from disobey.reports.layout import fitted
from disobey.reports.rules import rule_rows, segment
from disobey.reports.svg import svg

X, Y = Axis("x", "the x"), Axis("y", "the y (nats)")


def chart(kind="line", *, x=(1.0, 2.0, 3.0), y=(1.0, 4.0, 2.0), **more):
    return Chart("c", "C", kind, {"x": x, "y": y, **more.pop("data", {})}, more.pop("xaxis", X), Y, "alt", **more)


def marks(text):
    return ElementTree.fromstring(text)


def words(text):
    return ["".join(e.itertext()) for e in marks(text).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", ["logit_plot", "slope_chart", "gain_chart", "heatmap", "bars"])
def test_every_kind_becomes_a_picture(samples, name):
    made = getattr(samples, name)()
    text = svg(drawing(made), "p")
    root = marks(text)
    assert root.tag.endswith("svg")
    assert float(root.get("width", 0)) > 300
    # Titles are broken into lines, so they are compared without spaces.
    shown = "".join(words(text)).replace(" ", "")
    for axis in (made.x, made.y, made.color):
        assert axis is None or axis.title.replace(" ", "") in shown


def test_drawings_are_the_same_every_time(samples):
    made = samples.logit_plot(40)
    assert specification(drawing(made)) == specification(drawing(made))
    assert svg(drawing(made)) == svg(drawing(made))


@pytest.mark.parametrize("kind", ["scatter", "line", "interval", "heatmap", "bar"])
@pytest.mark.parametrize("cells", [(), (None, None), (float("nan"), float("inf"))])
def test_charts_without_values_are_empty_frames_with_a_note(kind, cells):
    made = drawing(chart(kind, x=cells, y=cells, data={"v": cells}, color=Axis("v", "V")))
    assert made.notes
    assert not any(row["k"] == POINT for row in made.rows)
    svg(made)


def test_missing_values_are_said_and_a_line_breaks_there():
    scatter = drawing(chart("scatter", y=(1.0, None, 2.0)))
    assert scatter.notes == ("1 of 3 rows has no value here and is not drawn.",)
    x = (1.0, 2.0, 3.0, 4.0, 5.0)
    whole, broken = (
        svg(drawing(chart(x=x, y=y))) for y in ((1.0, 4.0, 2.0, 1.0, 3.0), (1.0, 4.0, float("nan"), 1.0, 3.0))
    )
    moves = [
        max(e.get("d", "").count("M") for e in marks(t).iter() if e.get("stroke-width") == "2") for t in (whole, broken)
    ]
    assert moves == [1, 2]


def test_a_path_goes_through_its_points_in_their_order():
    x, y = (0.0, 3.0, 1.0), (0.0, 1.0, 2.0)

    def xs(made):
        drawn = [e.get("d", "") for e in marks(svg(drawing(made))).iter() if e.get("stroke-width") == "2"]
        (path,) = (d for d in drawn if d.count("L") == 2)
        return [float(point.split(",")[0]) for point in path.replace("M", "").split("L")]

    by_x, by_step = xs(chart(x=x, y=y)), xs(chart(x=x, y=y, data={"step": (0, 1, 2)}, order="step"))
    assert by_x == sorted(by_x)
    assert by_step == [by_x[0], by_x[2], by_x[1]]


def test_a_whisker_needs_both_ends():
    es = (Estimate("a", 1.0, 0.5, 1.5, 0.95, 5, "runs"), Estimate("a", 2.0, 1.9, float("nan"), 0.95, 1, "runs"), None)
    f = frame(chart("interval", x=("p", "q", "r"), y=es, xaxis=replace(X, scale="nominal")))
    assert [(row["x"], row["l"], row["h"]) for row in f.rows] == [("p", 0.5, 1.5), ("q", None, None)]
    assert f.y.domain[0] <= 0.5
    assert f.y.domain[1] >= 2.0


def test_a_log_axis_leaves_out_what_it_cannot_show():
    f = frame(chart("scatter", x=(0.0, -1.0, 10.0), xaxis=replace(X, scale="log")))
    assert len(f.rows) == 1
    assert "above zero" in f.notes[0]
    assert f.x.domain[0] > 0


def test_lines_are_cut_to_the_axes_and_stay_in_their_panel():
    data = {"f": ("teacher", "student", "student")}
    made = chart(
        "scatter",
        data=data,
        facet=Axis("f", "model", "nominal"),
        rules=(Rule(1, 0, "all"), Rule(2, -1, "fit", "student")),
    )
    f = frame(made)
    rows = [row for row in rule_rows(made.rules, f) if "x" in row]
    assert {row["p"] for row in rows if row["r"] == "all"} == {"teacher", "student"}
    assert {row["p"] for row in rows if row["r"] == "fit"} == {"student"}
    for row in rows:
        assert f.x.domain[0] <= row["x"] <= f.x.domain[1]
        assert f.y.domain[0] - 1e-3 <= row["y"] <= f.y.domain[1] + 1e-3


@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (-2, 3), (0, 0.5), (0.3, -0.2), (50, 0)])
def test_a_segment_is_all_of_the_line_that_is_inside(slope, intercept):
    f = frame(chart("scatter", x=(0.0, 1.0), y=(-1.0, 2.0)))
    ends = segment(Rule(slope, intercept, "r"), f.x, f.y)
    grid = np.linspace(*f.x.domain, 20_001)
    inside = grid[(slope * grid + intercept >= f.y.domain[0]) & (slope * grid + intercept <= f.y.domain[1])]
    assert [ends[0][0], ends[1][0]] == pytest.approx([inside.min(), inside.max()], abs=2e-4)


def test_lines_that_have_no_place_are_named():
    made = drawing(
        replace(chart("bar", x=("a", "b", "c"), xaxis=replace(X, scale="nominal")), rules=(Rule(1, 0, "steep"),))
    )
    assert any("“steep”" in note for note in made.notes)


def test_a_diagonal_makes_both_axes_equal(samples):
    spec = drawing(samples.logit_plot(50))
    domains = {
        tuple(layer["encoding"][axis]["scale"]["domain"])
        for layer in spec.spec["spec"]["layer"]
        for axis in "xy"
        if "scale" in layer["encoding"][axis]
    }
    assert len(domains) == 1
    _, width, height = fitted(spec.layout, 720)
    assert width == height


def test_panels_move_below_each_other_on_a_phone(samples):
    layout = drawing(samples.logit_plot(50)).layout
    assert fitted(layout, 720)[0] == 3
    across, width, _ = fitted(layout, 328)
    assert across == 1
    assert width + layout.chrome <= 328


def test_users_words_reach_no_expression():
    nasty = "'] || alert(1) || datum['"
    made = drawing(
        Chart(
            "n",
            nasty,
            "line",
            {nasty: (1.0, 2.0), "y": (1.0, 2.0), "c": (nasty, nasty)},
            Axis(nasty, nasty),
            Y,
            nasty,
            color=Axis("c", nasty, "nominal"),
            rules=(Rule(0, 1, nasty),),
            tooltip=(nasty,),
        )
    )

    def expressions(value):
        if isinstance(value, dict):
            for key, item in value.items():
                if key in ("filter", "expr", "signal", "calculate", "test", "field") and isinstance(item, str):
                    yield item
                else:
                    yield from expressions(item)
        elif isinstance(value, list):
            for item in value:
                yield from expressions(item)

    found = list(expressions(made.spec))
    assert found
    assert not any("alert" in text for text in found)
    assert nasty in "".join(words(svg(made)))


def test_colours_are_distinct_for_readers_without_colour():
    def lightness(colour):
        r, g, b = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (r, g, b)]
        y = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
        return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y

    for side in (0, 1):
        cast = [lightness(pair[side]) for pair in palette.SERIES[:3]]
        assert min(abs(a - b) for i, a in enumerate(cast) for b in cast[:i]) > 9
        ramp = [lightness(pair[side]) for pair in palette.RAMP]
        steps = np.diff(ramp) * (1 if side else -1)
        assert (steps > 4).all()
    assert len(set(palette.SHAPES)) == len(set(palette.DASHES)) == len(palette.SERIES)


def test_the_cast_keeps_its_colours_and_pairs_never_repeat():
    for levels in (["student", "twin"], ["x", "twin", "teacher"], [f"c{i}" for i in range(30)] + ["student"]):
        styles = palette.cast([levels])
        assert len({(style.colour, style.shape) for style in styles.values()}) == len(levels)
        for role, (light, _) in zip(palette.ROLES, palette.SERIES, strict=False):
            if role in levels:
                assert styles[role].colour == light


def test_a_colour_has_one_meaning_over_a_page():
    charts = [["right", "wrong", "trained on a wrong label"], ["student", "control (twin)"], ["small", "student"]]
    styles = palette.cast(charts)
    assert len({style.colour for style in styles.values()}) == len(styles) == 6
    # More levels than colours: those of one chart still differ in colour, all differ in shape or colour.
    crowded = palette.cast([*charts, ["a", "b", "c", "student"], ["d", "e"]])
    assert {level: crowded[level] for level in styles} == styles
    for levels in [*charts, ["a", "b", "c", "student"], ["d", "e"]]:
        assert len({crowded[level].colour for level in levels}) == len(levels)
    assert len({(style.colour, style.shape) for style in crowded.values()}) == len(crowded)


def test_two_names_of_one_role_in_one_chart_are_told_apart():
    styles = palette.cast([["control", "twin"]])
    assert styles["control"].colour != styles["twin"].colour


def test_four_panels_are_two_by_two():
    data = {"f": ("a", "b", "c", "d")}
    made = drawing(chart(x=(1.0, 2.0, 3.0, 4.0), y=(1.0, 2.0, 3.0, 4.0), data=data, facet=Axis("f", "", "nominal")))
    assert fitted(made.layout, 720)[0] == 2
    assert specification(made, 720)["columns"] == 2


def test_a_line_at_zero_is_drawn_through_and_others_are_dashed():
    for intercept, dashed in ((0.0, False), (0.5, True)):
        for kind, x in (("interval", ("a", "b", "c")), ("line", (1.0, 2.0, 3.0))):
            xaxis = replace(X, scale="nominal") if kind == "interval" else X
            made = drawing(chart(kind, x=x, xaxis=xaxis, rules=(Rule(0, intercept, "here"),)))
            ink = [e for e in marks(svg(made)).iter() if e.get("stroke") == palette.INK[0]]
            assert bool(ink) == (not dashed)


@pytest.mark.parametrize(("x", "apart"), [(("a", "b", "c"), False), (("a", "a", "b"), True)])
def test_series_stand_side_by_side_only_where_a_name_has_several(x, apart):
    """Each row of a forest plot has one mark, which lies beside its name."""
    data, nominal = {"c": ("one", "other", "one")}, Axis("c", "", "nominal")
    made = drawing(chart("interval", x=x, xaxis=replace(X, scale="nominal"), data=data, color=nominal))
    assert ("Offset" in json.dumps(specification(made, 720))) == apart


def test_many_names_on_a_heat_map_are_turned_and_keep_their_ends():
    names = [f"balance_not_updated_after_{i:02}" for i in range(20)]
    cells = [(a, b, i - j) for i, a in enumerate(names) for j, b in enumerate(names)]
    data = dict(zip(("x", "y", "v"), map(tuple, zip(*cells, strict=True)), strict=True))
    nominal = (Axis("x", "to", "nominal"), Axis("y", "of", "nominal"))
    made = drawing(Chart("h", "H", "heatmap", data, *nominal, "alt", color=Axis("v", "V")))
    shown = words(svg(made))
    assert len({word for word in shown if word.startswith("balance_no…")}) == 20  # no two are cut alike
    assert made.notes == ("Dots mark cells whose shade is below zero.",)


@pytest.mark.parametrize("columns", [3, 9])
def test_letters_stand_in_cells_of_a_heat_map(columns):
    names = tuple(f"c{i}" for i in range(columns))
    data = {"x": names, "y": ("r",) * columns, "v": tuple(float(i) for i in range(columns))}
    axes = Axis("x", "to", "nominal"), Axis("y", "of", "nominal")
    plain = Chart("h", "H", "heatmap", data, *axes, "alt", color=Axis("v", "V"))
    letters = ("", "T", *[""] * (columns - 2))
    made = words(svg(drawing(replace(plain, data=data | {"mark": letters}, marked="mark"))))
    assert made.count("T") == 1
    assert "T" not in words(svg(drawing(plain)))


def test_marks_of_examples_that_are_shown_elsewhere_have_a_ring():
    made = chart("scatter", data={"id": ("7", "8", "9")}, key="id")
    plain, ringed = drawing(made), drawing(made, linked={"8", "77"})
    assert [row["e"] for row in ringed.rows if row.get("g")] == ["8"]
    assert ringed.notes == ("Ringed examples are shown one by one below: a click on a ring goes there.",)
    assert plain.notes == ()


def test_figures_use_only_colours_that_the_dark_knows(samples):
    known = {light for line in palette.dark_rules().splitlines() for light in [line.split('"')[1]]}
    for made in (
        samples.logit_plot(30),
        samples.slope_chart(),
        samples.gain_chart(),
        samples.heatmap(),
        replace(samples.heatmap(), marked=samples.heatmap().x.column),
        samples.bars(),
        samples.logit_plot(2000),
    ):
        used = {e.get(c) for e in marks(svg(drawing(made))).iter() for c in ("fill", "stroke")}
        assert used - {None, "none", "transparent"} <= known


def test_columns_give_back_their_rows():
    rows = [{"k": 0, "x": 1.5, "c": "a"}, {"k": 0, "x": None, "c": "b"}, {"k": 1, "c": "a", "r": "only here"}]
    packed = columnar(rows)

    def cell(column, i):
        return column[i] if isinstance(column, list) else (column["levels"] + [None])[column["codes"][i]]

    assert [{n: cell(c, i) for n, c in packed.items() if cell(c, i) is not None} for i in range(3)] == [
        {n: v for n, v in row.items() if v is not None} for row in rows
    ]


def test_names_on_an_axis_stay_apart():
    names = (
        "a" * 40,
        "a" * 39 + " a",
        "one two three four five six seven eight",
        "one two three four five six seven eigh t",
    )
    f = frame(chart("bar", x=names, y=(1.0, 2.0, 3.0, 4.0), xaxis=replace(X, scale="nominal")))
    assert len(f.x.levels) == 4
    assert [row["x"] for row in f.rows] == list(f.x.levels)


def test_a_long_name_in_the_legend_is_whole_where_there_is_room_and_never_widens_the_picture():
    long = "fixed-point Mamba that does not read its output"
    made = drawing(chart(data={"c": (long, long, long)}, color=Axis("c", "arm", "nominal")))
    assert long in words(svg(made, width=720))
    narrow = svg(made, width=358)
    assert float(marks(narrow).get("width", 0)) <= 358
    assert any(word.startswith("fixed-point Mamba that") for word in words(narrow))
