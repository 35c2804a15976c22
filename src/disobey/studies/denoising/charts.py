"""Charts and tables of the network part of `denoising`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from disobey.figures.estimates import estimates_chart
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Axis, Cell, Chart, Table
from disobey.studies.denoising.evidence import Case, GradientEvidence
from disobey.studies.denoising.gradients import BATCH, CROSS, KD, ONE_HOT, ZERO_OWN, ZERO_TEACHER, Signal
from disobey.studies.kit.tables import table


def along_training(evidence: GradientEvidence) -> Chart:
    """Alignment of every signal along the student's training."""
    hot = evidence.hot
    signals: dict[str, Signal] = {
        ONE_HOT: (ONE_HOT, None, hot),
        "KD, final teacher": (KD, None, hot),
        "KD, early teacher": (KD, evidence.first, hot),
        "cross-fitted KD": (CROSS, None, hot),
        ZERO_OWN: (ZERO_OWN, None, hot),
        ZERO_TEACHER: (ZERO_TEACHER, None, hot),
    }
    rows = [
        (evidence.total if moment is None else moment, name, case.label, evidence.cosine(case, moment, signal))
        for case in evidence.cases
        for name, signal in signals.items()
        for moment in (*evidence.steps, None)
    ]
    return estimates_chart(
        rows,
        "along-training",
        f"Alignment with the large sample's gradient along the student's training, τ={hot:g}",
        Axis("x", "student's steps"),
        Axis("y", "cosine"),
        "All signals at the same weights of a student that learns from labels; 1 is the direction of the large sample.",
        kind="line",
        color="signal",
    )


def against_age(evidence: GradientEvidence) -> Chart:
    """Gain in alignment against the teacher's age."""
    rows = [
        (
            evidence.total if age is None else age,
            f"{name} τ={t:g}",
            case.label,
            mean_over_runs(evidence.over_one_hot(case, name, age, t), "gain"),
        )
        for case in evidence.cases
        for name in (KD, CROSS)
        for t in evidence.temperatures
        for age in (*evidence.steps[1:], None)
    ]
    return estimates_chart(
        rows,
        "teacher-age",
        "Gain in alignment over one-hot at the student's start, against the teacher's age",
        Axis("x", "teacher's steps"),
        Axis("y", "cosine − one-hot's"),
        "Above 0 the teacher's gradient is cleaner than the labels'.",
        kind="line",
        color="signal",
        zero="as the labels' own",
    )


def similarity(evidence: GradientEvidence, case: Case, classes: tuple[str, ...]) -> Chart:
    """Mean probability of every wrong class, by true class."""
    seed = evidence.seeds[0]
    matrix = evidence.readings[case, seed].similarity.copy()
    np.fill_diagonal(matrix, np.nan)
    data = {
        "true": tuple(name for name in classes for _ in classes),
        "said": tuple(name for _ in classes for name in classes),
        "probability": tuple(float(v) if np.isfinite(v) else None for v in matrix.ravel()),
    }
    return Chart(
        "similarity",
        f"Class similarity from a teacher's confusion: {case.label}, seed {seed}",
        "heatmap",
        data,
        Axis("said", "class that is given probability", "nominal"),
        Axis("true", "true class", "nominal"),
        alt="Mean probability that teachers which did not see an example give to each wrong class.",
        caption="Cross-fitted final teacher, training examples; the diagonal is left out.",
        color=Axis("probability", "mean probability"),
    )


def signals_table(evidence: GradientEvidence) -> Table:
    """Alignment and noise of every signal."""
    columns = (
        "case: signal",
        "cosine at the start",
        "minibatch SNR",
        "cosine at the end",
        "first kept step",
        "SNR at the start",
    )
    rows: list[tuple[Cell, ...]] = []
    for case in evidence.cases:
        for signal in evidence.signals(case):
            name, age, t = signal
            start = evidence.cosines(case, evidence.start, signal)
            small = evidence.batches(case, signal)
            known = small[~np.isnan(small)]
            teacher = "" if name not in (KD, CROSS) else " of the end" if age is None else f" of {age} steps"
            rows.append(
                (
                    f"{case.label}: {name}{teacher}, τ={t:g}",
                    mean_over_runs(start, "cosine"),
                    mean_over_runs(known, "SNR") if len(known) else None,
                    evidence.cosine(case, None, signal),
                    evidence.cosine(case, evidence.first, signal),
                    mean_over_runs(start**2 / (1 - start**2), "SNR"),
                )
            )
    caption = (
        f"Start, first kept step ({evidence.first}) and end are moments of the student's training, steps of a signal "
        "those of its teacher. SNR: squared part along the large sample's gradient over the squared rest; minibatches "
        f"of {BATCH}, at the start."
    )
    return Table("Alignment of every signal", columns, tuple(rows), caption)


def flips_table(evidence: GradientEvidence) -> Table:
    """How often the distillation residual is positive, by teacher and temperature."""

    def share(of: Callable[[NDArray], NDArray]) -> Callable[[tuple[Case, int | None, float]], Cell]:
        return lambda row: mean_over_runs(of(evidence.flips(*row)), "share of positive residuals")

    def words(row: tuple[Case, int | None, float]) -> str:
        case, age, t = row
        return f"{case.label}: teacher of {'the end' if age is None else f'{age} steps'}, τ={t:g}"

    rows = [(case, age, t) for case in evidence.cases for age, t in evidence.ages(case)]
    columns = (
        ("case: teacher", words),
        ("most confusable class", share(lambda flips: flips[:, 0])),
        ("other classes", share(lambda flips: flips[:, 1])),
        ("difference", share(lambda flips: flips[:, 0] - flips[:, 1])),
    )
    caption = (
        "Share of correctly labelled examples whose distillation residual is positive (the one-hot residual is "
        "negative) at the student's start. Confusable: the class most confused with the example's class, by the "
        "cross-fitted teacher."
    )
    return table("Sign flips", rows, columns, caption)


def layers_table(evidence: GradientEvidence) -> Table:
    """Alignment layer by layer at the student's start."""
    signals: dict[str, Signal] = {
        words: (name, None, evidence.hot)
        for words, name in (("one-hot", ONE_HOT), ("KD", KD), ("cross-fitted", CROSS), ("zeroed, own", ZERO_OWN))
    }

    def cosine(signal: Signal) -> Callable[[tuple[Case, str]], Cell]:
        return lambda row: mean_over_runs(evidence.layer(*row, signal), "cosine")

    rows = [(case, layer) for case in evidence.cases for layer in evidence.layers(case)]
    columns = (
        ("case: weights", lambda row: f"{row[0].label}: {row[1]}"),
        *((words, cosine(signal)) for words, signal in signals.items()),
    )
    return table(f"Layer by layer at the start, τ={evidence.hot:g}: cosines", rows, columns)
