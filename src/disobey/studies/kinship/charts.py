"""The figures of `kinship`: transfer against α, the factorial as a heat map, alignment against transfer."""

from __future__ import annotations

from disobey.figures.estimates import estimates_chart
from disobey.figures.heatmap import heat_map
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Axis, Chart
from disobey.studies.kinship.cells import ALPHAS, OTHER, OUTPUTS, PARTS, SAME, Cell, age_words
from disobey.studies.kinship.claims import BY_ALPHA, Family, moved_alike
from disobey.studies.kit.evidence import Evidence


def alpha_chart(e: Evidence, f: Family) -> Chart:
    """The class head, the probe and the neighbours against the distance of the start."""
    readings = {"class head nobody trained": "accuracy"}
    if f.line.probes:
        readings |= {"probe of the features": "probe", "20 nearest neighbours": "neighbours"}
    rows = [
        (alpha, words, "", mean_over_runs(f.reading(e, cell, key), words))
        for words, key in readings.items()
        for alpha, cell in zip((0.0, *ALPHAS, 1.0), BY_ALPHA, strict=True)
    ]
    alt = "Test accuracy of students taught auxiliary logits on noise against the distance of their start, by reading."
    axes = Axis("x", "α: distance of the start from the teacher's first weights"), Axis("y", "test accuracy")
    return estimates_chart(rows, "alpha", "What is left with distance", *axes, alt, kind="line", color="reading")


def factorial_chart(e: Evidence, f: Family) -> Chart:
    """Mean accuracy of the class head in the crossed cells, and in those that draw parts anew."""
    cells = []
    for start, alpha in (("same start", SAME), ("other start", OTHER)):
        for age in (1.0, 0.0):
            for learns in ("auxiliary", "classes"):
                for inputs in ("noise", "data"):
                    found = f.accuracy(e, Cell(alpha, age, inputs, learns)).mean()  # type: ignore[arg-type]
                    row = f"{start}, {age_words(age)}"
                    cells.append((f"{OUTPUTS[learns]}, {inputs}", row, "", float(found)))
    for words, alpha in PARTS.items():
        found = f.accuracy(e, Cell(alpha)).mean()
        cells.append((f"{OUTPUTS['auxiliary']}, noise", f"{words}, {age_words(1.0)}", "", float(found)))
    axes = (
        Axis("taught", "taught outputs, inputs", "nominal"),
        Axis("start", "start, teacher", "nominal"),
        Axis("accuracy", "accuracy of the class head"),
    )
    alt = "Mean test accuracy of the student's class head by start, teacher, taught outputs and inputs."
    return heat_map(cells, "factorial", "The factorial: accuracy of the class head", *axes, alt)


def alignment_chart(e: Evidence, f: Family) -> Chart:
    """Transfer against the cosine of the movements, a mark a cell."""
    rows = [
        (
            round(float(f.reading(e, cell, "toward").mean()), 4),
            f"{cell.inputs}, {OUTPUTS[cell.learns]}",
            "",
            mean_over_runs(f.transfer(e, cell), cell.label),
        )
        for cell in moved_alike(f)
    ]
    alt = "Transfer to the class head against the cosine between the student's and the teacher's movement, by cell."
    axes = Axis("x", "cosine of student's and teacher's movement, mean over seeds"), Axis("y", "transfer")
    title = "Transfer and the alignment of movements"
    return estimates_chart(
        sorted(rows, key=lambda row: row[:2]), "alignment", title, *axes, alt, kind="interval", color="cell"
    )
