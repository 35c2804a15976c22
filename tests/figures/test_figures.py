"""Figures are made of records and measures alone, so each is tested on planted predictions."""

from dataclasses import replace

import numpy as np
import pytest

from disobey.figures import logit_plot as logits
from disobey.figures.estimates import estimates_chart
from disobey.figures.examples import pixels
from disobey.figures.gallery import Look, most_disobeyed
from disobey.figures.heatmap import heat_map, matrix_cells
from disobey.figures.logit_plot import logit_plot, spaced
from disobey.figures.verdicts import verdict_matrix
from disobey.measures.deviation import confidence, fitted_line
from disobey.records.predictions import Predictions
from disobey.records.results import Axis, Claim, Estimate
from tests.support.refusals import refuses


def pair(n=300, classes=4, **columns):
    rng = np.random.default_rng(0)
    teacher, student, twin = (2 * rng.normal(size=(n, classes)) for _ in range(3))
    labels = np.where(rng.random(n) < 0.8, teacher.argmax(1), rng.integers(classes, size=n))
    return Predictions.from_logits(teacher, student, labels, **({"twin": twin} | columns))


def test_points_and_lines_are_those_of_the_measures():
    p = pair()
    chart = logit_plot(p, "logit-logit", "Where?")
    x, y, right, _ = confidence(p)
    of_student = np.array(chart.data["model"]) == "student"
    np.testing.assert_allclose(np.array(chart.data["x"])[of_student], x, atol=5.1e-4)
    np.testing.assert_allclose(np.array(chart.data["y"])[of_student], y, atol=5.1e-4)
    assert (np.array(chart.data["teacher is"])[of_student] == np.where(right, "right", "wrong")).all()
    assert [rule.facet for rule in chart.rules] == ["", "student", "control (twin)"]
    assert (chart.rules[1].slope, chart.rules[1].intercept) == fitted_line(x, y)
    assert set(chart.tooltip) <= set(chart.data)
    assert chart.key == "example"
    again = logit_plot(p, "logit-logit", "Where?", levels=(("split", "test"),), about="Seed 0.")
    assert again.levels == (("split", "test"),)
    assert again.caption.endswith(" Seed 0.")


def test_columns_that_are_known_already_are_not_computed_again():
    p = pair()
    known = {"student": confidence(p), "twin": confidence(p.with_student(p.twin))}
    assert logit_plot(p, "a", "b", columns=known) == logit_plot(p, "a", "b")
    named = set(logit_plot(p, "a", "b", columns=known, classes=False).data)
    assert named == {"x", "y", "model", "teacher is", "example"}


@pytest.mark.parametrize("twin", [True, False])
def test_a_point_can_always_be_told_from_the_others(twin):
    """A report draws a histogram from 5,000 points, both models together."""
    p = pair(6000)
    chart = logit_plot(p if twin else replace(p, twin=None), "a", "b")
    assert 4_990 <= len(chart.data["x"]) < 5_000
    assert len(spaced(6000, logits.POINTS)) == logits.POINTS


def test_infinite_log_odds_are_left_out_and_nothing_is_still_a_chart():
    p = pair(40)
    with np.errstate(divide="ignore"):
        certain = np.log(np.eye(4)[p.teacher.argmax(1)])
    chart = logit_plot(replace(p, teacher=certain, twin=None), "a", "b")
    assert chart.data["x"] == ()
    assert len(chart.rules) == 1


def test_what_the_teacher_is_has_three_words_and_one_for_nobody_knows():
    p = pair()
    flags = np.arange(300) % 3 == 0
    assert set(logit_plot(replace(p, mislabelled=flags), "a", "b").data["teacher is"]) == {
        "right",
        "wrong",
        "trained on a wrong label",
    }
    assert set(logit_plot(replace(p, labels=None), "a", "b").data["teacher is"]) == {"unknown"}


def test_the_gallery_shows_the_planted_examples_and_asks_for_them_once():
    p = pair()
    student = p.teacher.copy()
    rows = [7, 250, 31]
    for strength, row in zip((9.0, 7.0, 5.0), rows, strict=True):
        student[row, p.teacher[row].argmax()] -= strength
    asked = []

    def show(found):
        asked.append(found.tolist())
        return [Look(f"text {row}", np.full((2, 2), row)) for row in found]

    gallery = most_disobeyed(p.with_student(student), "Most disobeyed", show, count=3)
    assert asked == [rows]
    assert [exhibit.text for exhibit in gallery.exhibits] == [f"text {row}" for row in rows]
    first = gallery.exhibits[0]
    assert first.key == "7"
    assert [guess.who for guess in first.guesses] == ["teacher", "student", "control (twin)"]
    likeliest = np.exp(p.teacher[7]).max()
    assert first.guesses[0].classes[0] == (str(p.teacher[7].argmax()), pytest.approx(likeliest, abs=1e-4))
    assert gallery.exhibits[1].image == ((250, 250), (250, 250))


def test_a_probability_of_zero_is_a_large_deviation_not_an_infinite_one():
    p = pair()
    student = p.student.copy()
    student[11, p.teacher[11].argmax()] = -np.inf
    first = most_disobeyed(p.with_student(student), "Most", count=1).exhibits[0]
    assert first.title == "example 11"
    assert "inf" not in " ".join(first.lines)


def test_images_in_any_usual_form_become_pixels():
    grey = np.arange(8).reshape(2, 4)
    assert pixels(grey) == ((0, 1, 2, 3), (4, 5, 6, 7)) == pixels(grey[..., None]) == pixels(grey[None])
    colors = np.arange(24).reshape(2, 4, 3)
    assert pixels(colors)[1][0] == (12, 13, 14)
    assert pixels(np.moveaxis(colors, -1, 0)) == pixels(colors)
    assert pixels(np.array([[-1.0, 0.0], [1.0, 1.0]])) == ((0, 127), (255, 255))
    assert pixels(np.array([[0.0, np.nan], [1.0, 0.5]])) == ((0, 0), (255, 127))
    assert len(pixels(np.zeros((300, 300)))) == 256


def test_heat_maps_name_their_cells():
    cells = matrix_cells(np.array([[0.5, np.inf], [0.25, 0.0]]), ["a", "b"], ["c", "d"])
    chart = heat_map(
        cells, "m", "M", Axis("to", "to", "nominal"), Axis("of", "of", "nominal"), Axis("p", "share"), "Cells."
    )
    assert chart.data == {"to": ("c", "d", "c", "d"), "of": ("a", "a", "b", "b"), "p": (0.5, None, 0.25, 0.0)}
    assert chart.facet is None
    faceted = heat_map(
        [("x", "y", "f", 1.0)], "m", "M", Axis("x", ""), Axis("y", ""), Axis("v", ""), "", facet=Axis("g", "")
    )
    assert faceted.data["g"] == ("f",)
    axes = Axis("x", "", "nominal"), Axis("y", "", "nominal"), Axis("v", "")
    marked = heat_map([("a", "b", "", 1.0), ("c", "b", "", 2.0)], "m", "M", *axes, "", marks={("c", "b"): "T"})
    assert marked.data[marked.marked] == ("", "T")
    with refuses("no-cell"):
        heat_map([("a", "b", "", 1.0)], "m", "M", *axes, "", marks={("b", "a"): "T"})


def test_estimates_say_over_what():
    rows = [(1.0, "student", "", Estimate("a", 0.5, 0.4, 0.6, 0.95, 3, "runs"))]
    chart = estimates_chart(rows, "n", "N", Axis("x", ""), Axis("y", ""), "Alt.", kind="line")
    assert chart.data["low"] == (0.4,)
    assert chart.facet is None
    assert "3 runs" in chart.caption
    gain = [("a", "student", "", Estimate("a", 0.02, 0.01, 0.03, 0.95, 3, "runs"))]
    axes = Axis("x", "", "nominal"), Axis("y", "")
    shown = estimates_chart(gain, "n", "N", *axes, "Alt.", kind="interval", points=True, zero="no gain")
    assert [shown.data[name][0] for name in ("low", "y", "high")] == [1.0, 2.0, 3.0]
    assert [(rule.slope, rule.intercept, rule.label) for rule in shown.rules] == [(0.0, 0.0, "no gain")]


def test_verdicts_stand_by_claim_and_setting():
    claims = [
        Claim("It helps.", "", v, (), "", "C1", s) for v, s in (("supported", "clean"), ("contradicted", "noisy"))
    ]
    claims.append(Claim("It pays.", "", "undecided", (), "", "C2", "noisy"))
    matrix = verdict_matrix(claims)
    assert matrix is not None
    assert matrix.columns == ("claim", "statement", "clean", "noisy")
    assert matrix.rows == (("C1", "It helps.", "supported", "contradicted"), ("C2", "It pays.", None, "undecided"))
    assert verdict_matrix(claims[:1]) is None
