"""Charts and tables of the network part of `eigenspace`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from disobey.measures.eigenspace import top_bias
from disobey.measures.inference.intervals import mean_over_runs
from disobey.records.results import Axis, Cell, Chart, Table
from disobey.studies.eigenspace.claims import by_depth
from disobey.studies.eigenspace.evidence import Moved, Net
from disobey.studies.eigenspace.layer_paths import WHOLE
from disobey.studies.kit import pictures

BIAS = Axis("y", "bias, lowest band (nats)")


def bias_chart(moved: Moved) -> Chart:
    rows = [
        (net.model, f"τ={net.temperature:g}", f"{net.noise:.0%} noise", mean_over_runs(moved.end(net), "bias"))
        for net in moved.nets
        if net.age is None
    ]
    return pictures.estimates_chart(
        rows,
        "bias",
        "Top bias of the first layer over a twin of the same temperature",
        Axis("x", "network", "nominal"),
        BIAS,
        "Above 0 the student moved more along top directions than its twin; intervals over runs.",
        kind="interval",
        color="temperature",
    )


def trajectories(moved: Moved, noise: float, earliest: int | None) -> Chart:
    """Lower band against top band along training, each in shares of the twin's end: mean over seeds."""
    data: dict[str, list[Cell]] = {"top": [], "lower": [], "who": [], "network": [], "step": []}
    seeds = moved.seeds
    for net in (net for net in moved.judged() if net.noise == noise):
        arms = {
            "twin": [moved.twin(net, s) for s in seeds],
            "student": [moved.student(net, s) for s in seeds],
        }
        if earliest is not None:
            early = replace(net, age=earliest)
            arms["student of the earliest teacher"] = [moved.student(early, s) for s in seeds]
        ends = np.stack(arms["twin"])[:, -1]
        for who, paths in arms.items():
            path = np.stack(paths) / ends[:, None]
            mean = np.vstack([np.zeros(path.shape[-1]), path.mean(0)])
            data["top"] += mean[:, 0].round(4).tolist()
            data["lower"] += mean[:, -1].round(4).tolist()
            data["who"] += [who] * len(mean)
            data["network"] += [net.model] * len(mean)
            data["step"] += [0, *moved.moments]
    return Chart(
        "trajectories",
        f"Where the first layer goes, {noise:.0%} noise, τ={moved.main:g}",
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


def layers_chart(moved: Moved) -> Chart:
    """By number, so that networks whose layers have other names share an axis; the names are in the table."""
    rows = []
    for net in moved.judged():
        if not net.model.startswith(("linear", "random-features")):
            for number, layer in enumerate(moved.layers(net), 1):
                word = WHOLE if layer == WHOLE else f"layer {number}"
                rows.append((word, f"{net.noise:.0%} noise", net.model, mean_over_runs(moved.end(net, layer), layer)))
    rows.sort(key=lambda row: (row[0] == WHOLE, row[0]))
    return pictures.estimates_chart(
        rows,
        "layers",
        f"Layer by layer, τ={moved.main:g}",
        Axis("x", "layer", "nominal"),
        BIAS,
        "Top bias of every layer over the twin's, from input to output; intervals over runs.",
        kind="interval",
        color="noise",
    )


def depth_chart(moved: Moved, noises: Sequence[float], depths: Sequence[int], ages: Sequence[int]) -> Chart:
    rows = []
    for noise in noises if depths else ():
        for age in (*ages, None):
            numbers, values = by_depth(moved, depths, noise, age)
            who = "final teacher" if age is None else f"teacher of {age} steps"
            rows += [
                (d, who, f"{noise:.0%} noise", mean_over_runs(v, "bias")) for d, v in zip(numbers, values, strict=True)
            ]
    return pictures.estimates_chart(
        rows,
        "depth",
        "Does it compound? Bias of the whole linear map by depth and by the teacher's age",
        Axis("x", "linear layers"),
        BIAS,
        "Top bias of the end-to-end map against the number of layers, for teachers of several ages.",
        kind="line",
        color="teacher",
    )


def nets_table(moved: Moved) -> Table:
    columns = ("network: layer", "bias, lowest band", "behind", "accuracy − twin's", "bias, middle band")
    rows: list[tuple[Cell, ...]] = []
    for net in moved.nets:
        for layer in moved.layers(net):
            bias, behind = moved.biases(net, layer)[:, -1], moved.behind(net, layer)
            rows.append(
                (
                    f"{net.text}: {layer}",
                    mean_over_runs(bias[:, -1], "lowest"),
                    mean_over_runs(behind, "behind") if np.isfinite(behind).all() else "no equal progress",
                    mean_over_runs(moved.gains[net], "accuracy"),
                    mean_over_runs(bias[:, 0], "middle"),
                )
            )
    caption = (
        "At the end of training; nats, above 0 is more top-biased. Behind: in the lowest band, at equal length of the "
        "top band. Accuracy on test. Means over seeds with intervals over runs."
    )
    return Table("Every network, layer by layer", columns, tuple(rows), caption)


def controls_table(moved: Moved) -> Table:
    """What the twin's temperature and the axes decide."""

    def row(net: Net) -> tuple[Cell, ...]:
        other = replace(net, temperature=moved.main)
        ends = [(moved.student(net, s)[-1], moved.twin(other, s)[-1]) for s in moved.seeds]
        mixed = [top_bias(ours, theirs)[-1] for ours, theirs in ends]
        raw = [float(np.log(theirs[-1] / ours[-1])) for ours, theirs in ends]
        right = mean_over_runs(moved.end(net), "same")
        return net.text, right, mean_over_runs(mixed, "mixed"), mean_over_runs(raw, "raw")

    columns = ("student", "twin of the same τ, normalized", f"twin at τ={moved.main:g}, normalized",
               f"twin at τ={moved.main:g}, lowest band as it is")  # fmt: skip
    return Table(
        "What would have been read without the controls",
        columns,
        tuple(row(net) for net in moved.nets if net.temperature != moved.main and net.age is None),
        "Bias of the first layer, lowest band (nats).",
    )
