"""The tables of `dataset-dependency`: every setting, every prediction, every property."""

from __future__ import annotations

from functools import partial

from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Cell, Table
from disobey.studies.dataset_dependency.findings import Findings
from disobey.studies.dataset_dependency.properties import PROPERTIES, WORDS
from disobey.studies.kit.tables import in_points


def settings_table(f: Findings) -> Table:
    """Gain, deviation, prediction and properties of every setting."""
    rows: list[tuple[Cell, ...]] = []
    for i, setting in enumerate(f.settings):
        gain, deviation = mean_over_runs(100 * f.gains[i], "gain"), mean_over_runs(f.deviations[i], "deviation")
        predicted = f.left_out[0, i]
        shown = round(100 * float(predicted), 2) if predicted == predicted else ""
        rows.append((setting.label, gain, shown, deviation, *(round(float(value), 3) for value in f.properties[i])))
    caption = (
        "Gain: test accuracy, student − control, in points; deviation: student − control on the quarter of training "
        "examples of which the teacher is least sure, in nats; both with intervals over runs. Predicted: from all "
        "other data sets. Properties: means over seeds."
    )
    return Table("Every setting", ("setting", "gain", "predicted", "deviation", *PROPERTIES), tuple(rows), caption)


def prediction_table(f: Findings) -> Table:
    """Errors on every left-out data set, beside those of the mean."""
    rows: list[tuple[Cell, ...]] = []
    for words, predictions in (("all other data sets", f.left_out), ("planted data alone", f.from_planted)):
        for family in f.advantages(predictions):
            ours, mean = (round(100 * error, 3) for error in f.errors(predictions, f.families[family]))
            rows.append((family, words, len(f.families[family]), ours, mean, round(mean - ours, 3)))
        if len(f.advantages(predictions)) > 1:
            advantage = in_points(partial(f.advantage, name="advantage"))(predictions)
            rows.append(("mean over data sets", words, "", "", "", advantage))
    columns = ("left out", "fitted to", "settings", "error, properties", "error, mean", "mean − properties")
    caption = "Mean absolute errors of the predicted gain over the settings of a data set, in points."
    return Table("Predicting the gain on a data set that was left out", columns, tuple(rows), caption)


def property_table() -> Table:
    """What each property is."""
    return Table("Properties, all known before distilling", ("property", "what it is"), tuple(WORDS.items()))
