"""Charts and tables of the network part of `denoising`."""

from __future__ import annotations

import numpy as np

from disobey.measures.inference.intervals import mean_over_runs
from disobey.records.results import Axis, Cell, Chart, Table
from disobey.studies.denoising.evidence import Case, Looks
from disobey.studies.denoising.gradients import BATCH, CROSS, KD, ONE_HOT, ZERO_OWN, ZERO_TEACHER, Signal
from disobey.studies.kit import pictures


def along_training(looks: Looks) -> Chart:
    hot = looks.hot
    signals: dict[str, Signal] = {
        ONE_HOT: (ONE_HOT, None, hot),
        "KD, final teacher": (KD, None, hot),
        "KD, early teacher": (KD, looks.first, hot),
        "cross-fitted KD": (CROSS, None, hot),
        ZERO_OWN: (ZERO_OWN, None, hot),
        ZERO_TEACHER: (ZERO_TEACHER, None, hot),
    }
    rows = [
        (looks.total if moment is None else moment, name, case.text, looks.cosine(case, moment, signal))
        for case in looks.cases
        for name, signal in signals.items()
        for moment in (*looks.steps, None)
    ]
    return pictures.estimates_chart(
        rows,
        "along-training",
        f"Alignment with the large sample's gradient along the student's training, τ={hot:g}",
        Axis("x", "student's steps"),
        Axis("y", "cosine"),
        "All signals at the same weights of a student that learns from labels; 1 is the direction of the large sample.",
        kind="line",
        color="signal",
    )


def against_age(looks: Looks) -> Chart:
    rows = [
        (
            looks.total if age is None else age,
            f"{name} τ={t:g}",
            case.text,
            mean_over_runs(looks.over_one_hot(case, name, age, t), "gain"),
        )
        for case in looks.cases
        for name in (KD, CROSS)
        for t in looks.temperatures
        for age in (*looks.steps[1:], None)
    ]
    return pictures.estimates_chart(
        rows,
        "teacher-age",
        "Gain in alignment over one-hot at the student's start, against the teacher's age",
        Axis("x", "teacher's steps"),
        Axis("y", "cosine − one-hot's"),
        "Above 0 the teacher's gradient is cleaner than the labels'.",
        kind="line",
        color="signal",
    )


def similarity(looks: Looks, case: Case, classes: tuple[str, ...]) -> Chart:
    seed = looks.seeds[0]
    matrix = looks.readings[case, seed].similarity.copy()
    np.fill_diagonal(matrix, np.nan)
    data = {
        "true": tuple(name for name in classes for _ in classes),
        "said": tuple(name for _ in classes for name in classes),
        "probability": tuple(float(v) if np.isfinite(v) else None for v in matrix.ravel()),
    }
    return Chart(
        "similarity",
        f"Class similarity from a teacher's confusion: {case.text}, seed {seed}",
        "heatmap",
        data,
        Axis("said", "class that is given probability", "nominal"),
        Axis("true", "true class", "nominal"),
        alt="Mean probability that teachers which did not see an example give to each wrong class.",
        caption="Cross-fitted final teacher, training examples; the diagonal is left out.",
        color=Axis("probability", "mean probability"),
    )


def signals_table(looks: Looks) -> Table:
    columns = ("case: signal", "cosine at the start", "minibatch SNR", "cosine at the end", "first kept step",
               "SNR at the start")  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for case in looks.cases:
        for signal in looks.signals(case):
            name, age, t = signal
            start = looks.cosines(case, looks.start, signal)
            small = looks.batches(case, signal)
            known = small[~np.isnan(small)]
            teacher = "" if name not in (KD, CROSS) else " of the end" if age is None else f" of {age} steps"
            rows.append(
                (
                    f"{case.text}: {name}{teacher}, τ={t:g}",
                    mean_over_runs(start, "cosine"),
                    mean_over_runs(known, "SNR") if len(known) else None,
                    looks.cosine(case, None, signal),
                    looks.cosine(case, looks.first, signal),
                    mean_over_runs(start**2 / (1 - start**2), "SNR"),
                )
            )
    caption = (
        f"Start, first kept step ({looks.first}) and end are moments of the student's training, steps of a signal those "
        "of its teacher. SNR: squared part along the large sample's gradient over the squared rest; minibatches of "
        f"{BATCH}, at the start."
    )
    return Table("Alignment of every signal", columns, tuple(rows), caption)


def flips_table(looks: Looks) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for case in looks.cases:
        for age, t in looks.ages(case):
            shares = looks.flips(case, age, t)
            rows.append(
                (
                    f"{case.text}: teacher of {'the end' if age is None else f'{age} steps'}, τ={t:g}",
                    mean_over_runs(shares[:, 0], "confusable"),
                    mean_over_runs(shares[:, 1], "other"),
                    mean_over_runs(shares[:, 0] - shares[:, 1], "difference"),
                )
            )
    columns = ("case: teacher", "most confusable class", "other classes", "difference")
    caption = (
        "Share of rightly labelled examples whose distillation residual is positive (the one-hot residual is negative) "
        "at the student's start. Confusable: the class most confused with the example's class, by the cross-fitted teacher."
    )
    return Table("Sign flips", columns, tuple(rows), caption)


def layers_table(looks: Looks) -> Table:
    wanted: list[Signal] = [(name, None, looks.hot) for name in (ONE_HOT, KD, CROSS, ZERO_OWN)]
    rows: list[tuple[Cell, ...]] = [
        (
            f"{case.text}: {layer}",
            *(mean_over_runs(looks.layer(case, layer, signal), "cosine") for signal in wanted),
        )
        for case in looks.cases
        for layer in looks.layers(case)
    ]
    columns = ("case: weights", "one-hot", "KD", "cross-fitted", "zeroed, own")
    return Table(f"Layer by layer at the start, τ={looks.hot:g}: cosines", columns, tuple(rows))
