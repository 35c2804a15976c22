"""Charts and tables of the network part of `eigenspace`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from disobey.figures.estimates import estimates_chart
from disobey.measures.eigenspace import top_bias
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Axis, Cell, Chart, Table
from disobey.studies.eigenspace.claims import by_depth
from disobey.studies.eigenspace.evidence import Net, WeightPaths
from disobey.studies.eigenspace.layer_paths import WHOLE
from disobey.studies.kit.tables import table

BIAS = Axis("y", "bias, lowest band (nats)")
AS_TWIN = "as the twin"  # what a bias of 0 means


def bias_chart(paths: WeightPaths) -> Chart:
    """Bias of the first layer, by network, temperature and noise."""
    rows = [
        (net.model, f"τ={net.temperature:g}", f"{net.noise:.0%} noise", mean_over_runs(paths.end(net), "bias"))
        for net in paths.nets
        if net.age is None
    ]
    return estimates_chart(
        rows,
        "bias",
        "Top bias of the first layer over a twin of the same temperature",
        Axis("x", "network", "nominal"),
        BIAS,
        "Above 0 the student moved more along top directions than its twin; intervals over runs.",
        kind="interval",
        color="temperature",
        zero=AS_TWIN,
    )


def trajectories(paths: WeightPaths, noise: float, earliest: int | None) -> Chart:
    """Lower band against top band along training, each in shares of the twin's end: mean over seeds."""
    data: dict[str, list[Cell]] = {"top": [], "lower": [], "who": [], "network": [], "step": []}
    seeds = paths.seeds
    for net in (net for net in paths.judged() if net.noise == noise):
        arms = {
            "twin": [paths.twin(net, s) for s in seeds],
            "student": [paths.student(net, s) for s in seeds],
        }
        if earliest is not None:
            early = replace(net, age=earliest)
            arms["student of the earliest teacher"] = [paths.student(early, s) for s in seeds]
        ends = np.stack(arms["twin"])[:, -1]
        for who, walks in arms.items():
            path = np.stack(walks) / ends[:, None]
            mean = np.vstack([np.zeros(path.shape[-1]), path.mean(0)])
            data["top"] += mean[:, 0].round(4).tolist()
            data["lower"] += mean[:, -1].round(4).tolist()
            data["who"] += [who] * len(mean)
            data["network"] += [net.model] * len(mean)
            data["step"] += [0, *paths.moments]
    return Chart(
        "trajectories",
        f"Where the first layer goes, {noise:.0%} noise, τ={paths.main:g}",
        "line",
        {key: tuple(column) for key, column in data.items()},
        Axis("top", "top band, share of the twin's end"),
        Axis("lower", "lowest band, share of the twin's end"),
        alt="A student below its twin's line is behind on the lower directions at equal progress on the top ones.",
        caption=f"Mean over {len(seeds)} seeds; points are kept checkpoints.",
        color=Axis("who", "", "nominal"),
        facet=Axis("network", "", "nominal"),
        tooltip=("network", "who", "step", "top", "lower"),
        order="step",
    )


def layers_chart(paths: WeightPaths) -> Chart:
    """By number, so that networks whose layers have other names share an axis; the names are in the table."""
    rows = []
    for net in paths.judged():
        if not net.model.startswith(("linear", "random-features")):
            for number, layer in enumerate(paths.layers(net), 1):
                word = WHOLE if layer == WHOLE else f"layer {number}"
                rows.append((word, f"{net.noise:.0%} noise", net.model, mean_over_runs(paths.end(net, layer), layer)))
    rows.sort(key=lambda row: (row[0] == WHOLE, row[0]))
    return estimates_chart(
        rows,
        "layers",
        f"Layer by layer, τ={paths.main:g}",
        Axis("x", "layer", "nominal"),
        BIAS,
        "Top bias of every layer over the twin's, from input to output; intervals over runs.",
        kind="interval",
        color="noise",
        zero=AS_TWIN,
    )


def depth_chart(paths: WeightPaths, noises: Sequence[float], depths: Sequence[int], ages: Sequence[int]) -> Chart:
    """Bias of the end-to-end map against depth."""
    rows = []
    for noise in noises if depths else ():
        for age in (*ages, None):
            numbers, values = by_depth(paths, depths, noise, age)
            who = "final teacher" if age is None else f"teacher of {age} steps"
            rows += [
                (d, who, f"{noise:.0%} noise", mean_over_runs(v, "bias")) for d, v in zip(numbers, values, strict=True)
            ]
    return estimates_chart(
        rows,
        "depth",
        "Does it compound? Bias of the whole linear map by depth and by the teacher's age",
        Axis("x", "linear layers"),
        BIAS,
        "Top bias of the end-to-end map against the number of layers, for teachers of several ages.",
        kind="line",
        color="teacher",
        zero=AS_TWIN,
    )


def nets_table(paths: WeightPaths) -> Table:
    """Every network, layer by layer, at the end of training."""

    def bias(band: int, name: str) -> Callable[[tuple[Net, str]], Cell]:
        return lambda row: mean_over_runs(paths.biases(*row)[:, -1, band], name)

    def behind(row: tuple[Net, str]) -> Cell:
        values = paths.behind(*row)
        return mean_over_runs(values, "behind") if np.isfinite(values).all() else "no equal progress"

    columns = (
        ("network: layer", lambda row: f"{row[0].label}: {row[1]}"),
        ("bias, lowest band", bias(-1, "lowest")),
        ("behind", behind),
        ("accuracy − twin's", lambda row: mean_over_runs(paths.gains[row[0]], "accuracy")),
        ("bias, middle band", bias(0, "middle")),
    )
    caption = (
        "At the end of training; nats, above 0 is more top-biased. Behind: in the lowest band, at equal length of the "
        "top band. Accuracy on test. Means over seeds with intervals over runs."
    )
    rows = [(net, layer) for net in paths.nets for layer in paths.layers(net)]
    return table("Every network, layer by layer", rows, columns, caption)


def controls_table(paths: WeightPaths) -> Table:
    """What the twin's temperature and the axes decide."""

    def ends(net: Net) -> list[tuple[NDArray, NDArray]]:
        other = replace(net, temperature=paths.main)
        return [(paths.student(net, s)[-1], paths.twin(other, s)[-1]) for s in paths.seeds]

    def mixed(net: Net) -> Cell:
        return mean_over_runs([top_bias(student, twin)[-1] for student, twin in ends(net)], "mixed")

    def raw(net: Net) -> Cell:
        return mean_over_runs([float(np.log(twin[-1] / student[-1])) for student, twin in ends(net)], "raw")

    columns = (
        ("student", lambda net: net.label),
        ("twin of the same τ, normalized", lambda net: mean_over_runs(paths.end(net), "same")),
        (f"twin at τ={paths.main:g}, normalized", mixed),
        (f"twin at τ={paths.main:g}, lowest band as it is", raw),
    )
    rows = [net for net in paths.nets if net.temperature != paths.main and net.age is None]
    caption = "Bias of the first layer, lowest band (nats)."
    return table("What would have been concluded without the controls", rows, columns, caption)
