from dataclasses import replace

import numpy as np
import pytest

from disobey.records.results import Axis, Chart
from disobey.reports.charts import drawing
from disobey.reports.frames import POINT, frame
from disobey.reports.histogram import FROM, binned, edges, split_by_color, thresholds
from disobey.reports.svg import svg


def crowd(n, levels=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    data = {
        "x": tuple(x.tolist()),
        "y": tuple((x + rng.normal(size=n)).tolist()),
        "c": tuple(f"c{i % levels}" for i in range(n)),
        "f": tuple("student" if (i // 5) % 3 else "twin" for i in range(n)),
        "id": tuple(range(n)),
    }
    color, facet = Axis("c", "colour", "nominal"), Axis("f", "model", "nominal")
    return Chart(
        "h", "H", "scatter", data, Axis("x", "X"), Axis("y", "Y"), "alt", color=color, facet=facet, tooltip=("id",)
    )


def test_counts_agree_with_a_loop_over_points():
    f = replace(frame(crowd(600)), colors=())
    cells = binned(f, 7)
    x_edges, y_edges = edges(f.x, 7), edges(f.y, 7)
    for cell in cells.rows:
        j, i = np.abs(x_edges - cell["x"]).argmin(), np.abs(y_edges - cell["y"]).argmin()
        inside = [
            row
            for row in f.rows
            if row["p"] == cell["p"]
            and x_edges[j] <= row["x"] < x_edges[j + 1]
            and y_edges[i] <= row["y"] < y_edges[i + 1]
        ]
        assert len(inside) == cell["n"]
        assert inside[0]["t0"] == cell["t0"]  # what a hover shows is an example of this cell
    assert sum(cell["n"] for cell in cells.rows) == 600


def test_a_scatter_becomes_a_histogram_at_five_thousand_points():
    few, many = drawing(crowd(FROM - 1)), drawing(crowd(FROM))
    assert sum(row["k"] == POINT for row in few.rows) == FROM - 1
    assert sum(row.get("n", 0) for row in many.rows) == FROM
    assert len(many.rows) < FROM / 2
    assert len(svg(many)) < len(svg(few)) / 2


def test_colours_become_panels_and_none_is_lost():
    f = frame(crowd(500, levels=3))
    split = split_by_color(f)
    assert split.panels == tuple(f"{m} · c{i}" for i in range(3) for m in ("twin", "student"))
    assert {row["p"] for row in split.rows} == set(split.panels)
    assert split.colors == ()


def test_too_many_colours_are_left_out_and_it_is_said():
    split = split_by_color(frame(crowd(500, levels=5)))
    assert split.panels == ("twin", "student")
    assert "5 levels" in split.notes[-1]


@pytest.mark.parametrize("most", [1, 2, 7, 8, 9, 50, 1000, 10**7])
def test_thresholds_are_ascending_counts_inside_the_range(most):
    steps = thresholds(most)
    assert steps == sorted(set(steps))
    assert len(steps) <= 6
    assert all(2 <= step <= max(2, most) for step in steps)


def test_cells_on_a_log_axis_are_even_in_ratio():
    made = crowd(FROM)
    data = {**made.data, "x": tuple(float(np.exp(v)) for v in made.data["x"])}
    cells = [row for row in drawing(replace(made, data=data, x=replace(made.x, scale="log"))).rows if "x2" in row]
    ratios = np.array([row["x2"] / row["x"] for row in cells])
    assert ratios == pytest.approx(np.median(ratios), rel=2e-3)
