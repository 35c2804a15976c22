"""A result such as the deviation study leaves: every kind of block, missing values included. Numbers are made up."""

import math

import numpy as np

from disobey.records.results import (
    Axis,
    Chart,
    Claim,
    Estimate,
    Exhibit,
    Finding,
    Gallery,
    Result,
    Rule,
    Table,
    Text,
)

MODELS = ("teacher", "student", "twin")
NAN = math.nan


def estimate(name, value, half, n=5, over="runs"):
    return Estimate(name, value, value - half, value + half, 0.95, n, over)


def logit_plot(per_model=500, seed=0, name="logit-logit"):
    """Teacher against teacher, student and twin: the student's slope is above 1, the twin's below."""
    rng = np.random.default_rng(seed)
    x = rng.normal(2.5, 2.2, per_model)
    wrong = x + rng.normal(0, 1.5, per_model) < 0.4
    slope = {"teacher": (0.97, 0.5), "student": (1.18, 0.7), "twin": (0.82, 1.3)}
    ys = [slope[m][0] * x - 0.2 * (m == "student") + rng.normal(0, slope[m][1], per_model) for m in MODELS]
    n = 3 * per_model
    return Chart(
        name,
        "Log-odds of the teacher's class" if per_model < 1700 else f"The same on {n:,} points",
        "scatter",
        {
            "teacher_log_odds": tuple(np.tile(x, 3).tolist()),
            "model_log_odds": tuple(np.concatenate(ys).tolist()),
            "model": tuple(np.repeat(MODELS, per_model).tolist()),
            "verdict": tuple(np.tile(np.where(wrong, "teacher wrong", "teacher right"), 3).tolist()),
            "example": tuple(np.tile(np.arange(per_model), 3).tolist()),
            "class": tuple(f"digit {i % 10}" for i in range(n)),
        },
        Axis("teacher_log_odds", "teacher's log-odds of its class (nats)"),
        Axis("model_log_odds", "model's log-odds of that class (nats)"),
        alt="Three panels of points. The second teacher lies on the diagonal, the student's cloud is steeper (slope "
        "1.18), the twin's flatter (slope 0.82).",
        caption="Each point is a test example; one seed of five. Points below the diagonal: the model is less sure "
        "than the teacher. The first panel is a second teacher, trained from another seed.",
        color=Axis("verdict", "on this example", "nominal"),
        facet=Axis("model", "model", "nominal"),
        rules=(
            Rule(1, 0, "equal confidence"),
            *(Rule(slope[m][0], -0.2 * (m == "student"), f"slope {slope[m][0]:.2f}", m) for m in MODELS),
        ),
        tooltip=("example", "class"),
    )


def slope_chart():
    temperatures, models = (1.0, 2.0, 4.0, 10.0), ("student", "twin")
    value = {"student": (0.84, 1.01, 1.118, 1.171), "twin": (0.83, 0.82, NAN, 0.84)}
    rows = [(t, m, value[m][i]) for m in models for i, t in enumerate(temperatures)]
    return Chart(
        "slope-temperature",
        "Slope against temperature",
        "line",
        {
            "temperature": tuple(r[0] for r in rows),
            "model": tuple(r[1] for r in rows),
            "slope": tuple(r[2] for r in rows),
            "low": tuple(r[2] - 0.04 for r in rows),
            "high": tuple(r[2] + 0.04 for r in rows),
        },
        Axis("temperature", "temperature of the targets", "log"),
        Axis("slope", "fitted slope in log-odds"),
        alt="The student's slope rises from 0.84 at temperature 1 to 1.17 at 10; the twin's stays near 0.83.",
        caption="Bands: 95% over 5 runs.",
        color=Axis("model", "model", "nominal"),
        low="low",
        high="high",
        rules=(Rule(0, 1.0, "equal confidence"),),
    )


def gain_chart():
    settings = (
        "digits, clean",
        "digits, 20 % noise",
        "digits, 40 % noise",
        "languages, clean",
        "languages, 20 % noise",
    )
    gains = (0.4, 1.9, 2.7, -0.1, 0.8)
    rows = [
        (s, k, g * k_share)
        for s, g in zip(settings, gains, strict=True)
        for k, k_share in (("T = 1", 0.4), ("T = 4", 1.0))
    ]
    return Chart(
        "gain",
        "Accuracy gained over the twin",
        "interval",
        {
            "setting": tuple(r[0] for r in rows),
            "temperature": tuple(r[1] for r in rows),
            "gain": tuple(
                Estimate("gain", r[2], NAN, NAN, 0.95, 1, "runs") if i == 3 else estimate("gain", r[2], 0.5 + 0.07 * i)
                for i, r in enumerate(rows)
            ),
        },
        Axis("setting", "data", "nominal"),
        Axis("gain", "accuracy, student − twin (points)"),
        alt="The gain grows with label noise, from 0.4 to 2.7 points on digits at temperature 4; on languages it is 0.",
        caption="Paired by seed. Whiskers: 95% over 5 runs; one setting has a single run and no whisker.",
        color=Axis("temperature", "temperature", "nominal"),
        rules=(Rule(0, 0, "no gain"),),
    )


def heatmap(classes=10, seed=1):
    rng = np.random.default_rng(seed)
    names = [f"digit {i}" for i in range(classes)]
    cells = [(a, b) for a in names for b in names]
    values = rng.normal(0, 0.4, len(cells)) - 0.5 * np.array([a == b for a, b in cells])
    shade = [None if i == 7 else float(v) for i, v in enumerate(values)]
    return Chart(
        "class-deviation",
        "Deviation by class",
        "heatmap",
        {"true": tuple(a for a, _ in cells), "of": tuple(b for _, b in cells), "deviation": tuple(shade)},
        Axis("of", "log-odds of", "nominal"),
        Axis("true", "true class", "nominal"),
        alt="Deviation is most negative on the diagonal: students are less sure of the true class than their teacher.",
        caption="Mean of student − teacher log-odds (nats).",
        color=Axis("deviation", "student − teacher (nats)"),
    )


def bars():
    return Chart(
        "flips",
        "Who is right where they disagree",
        "bar",
        {
            "who": ("student", "teacher", "neither", "student", "teacher", "neither"),
            "share": (0.52, 0.31, 0.17, 0.44, 0.4, None),
            "at": ("T = 1", "T = 1", "T = 1", "T = 4", "T = 4", "T = 4"),
        },
        Axis("who", "who is right", "nominal"),
        Axis("share", "share of disagreements"),
        alt="The student is right in 52 % of the disagreements at temperature 1 and in 44 % at 4.",
        color=Axis("at", "temperature", "nominal"),
    )


def digit(seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:28, 0:28]
    ring = np.exp(-((np.hypot(x - 13.5, (y - 13.5) * 0.8) - 7 - rng.random()) ** 2) / 4)
    return tuple(tuple(int(v) for v in row) for row in (255 * ring).round().astype(int).tolist())


def claims():
    return (
        Claim(
            "On points of low teacher confidence the student is even less confident.",
            "arXiv 2301.12923, v1, section 3",
            "supported",
            (
                estimate("deviation, lowest quartile, train", -0.765, 0.11),
                estimate("student − twin, lowest quartile, train", -0.818, 0.13),
            ),
            "Supported where the interval of student − twin lies below 0; contradicted where it lies above.",
            name="C1",
            setting="Digits 8×8, 20 % label noise, MLP 64-32-10, temperature 4, 5 paired seeds.",
        ),
        Claim(
            "The student exaggerates the teacher's confidence: the fitted slope is above 1.",
            "arXiv 2301.12923, v3, section 4",
            "undecided",
            (estimate("slope, test", 1.031, 0.052), Estimate("slope, validation", 1.02, NAN, NAN, 0.95, 1, "runs")),
            "Supported where the interval of the slope lies above 1.",
            name="C2",
            setting="As C1, test split.",
            note="The slope depends on the temperature: see the figure.",
        ),
        Claim(
            "Disobedience pays: the student is more accurate than its twin.",
            "arXiv 2301.12923, v3, table 1",
            "contradicted",
            (estimate("accuracy, student − twin", -0.0041, 0.0022, 1797, "examples"),),
            "Supported above 0, contradicted below, at 95% over examples.",
            name="C3",
            setting="Languages, clean labels.",
        ),
        Claim(
            "An early teacher is as good as a final one.",
            "arXiv 2301.12923, v3, section 5",
            "negligible",
            (estimate("accuracy, early − final teacher", 0.0004, 0.0021),),
            "Supported above 0, negligible within half a point of it.",
            name="C4",
            setting="Languages, clean labels.",
        ),
    )


def findings():
    return (
        Finding("Row alignment", "ok", "Rows of teacher and student describe the same examples."),
        Finding(
            "Little to teach",
            "warning",
            "The teacher is nearly one-hot on the training set: at this temperature it says little beyond the labels.",
            (estimate("mean entropy (nats)", 0.021, 0.002, 1437, "examples"),),
            "Raise the temperature to 4, stop the teacher earlier, or distil on held-out data.",
        ),
        Finding(
            "Small test set",
            "note",
            "Differences below 1.2 points cannot be seen with 360 examples.",
            (),
            "Pool seeds.",
        ),
    )


def table():
    rows = (
        ("student, T = 4", estimate("accuracy", 0.851, 0.012), estimate("slope", 1.115, 0.031), 5, 0.081),
        ("student, T = 1", estimate("accuracy", 0.846, 0.014), estimate("slope", 0.83, 0.028), 5, None),
        ("twin", estimate("accuracy", 0.84, 0.013), Estimate("slope", 0.822, NAN, NAN, 0.95, 1, "runs"), 1, 0.12),
        ("teacher", estimate("accuracy", 0.848, 0.011), None, 10_000, 1.2e-6),
    )
    return Table(
        "Accuracy and slope", ("model", "accuracy", "slope", "runs", "calibration error"), rows, "Test split, digits."
    )


def gallery():
    images = tuple(
        Exhibit(f"example {17 * i + 3}", ("labelled 3, true 8", "teacher 8 (0.71), student 3 (0.55)"), image=digit(i))
        for i in range(4)
    )
    text = Exhibit("word 4,211", ("labelled Dutch", "teacher German (0.62), student Dutch (0.81)"), text="„Wasserfall“")
    return Gallery("Most disobeyed", (*images, text), "Largest |student − teacher| log-odds on the test split.")


METHODS = (
    "Teachers and students are multilayer perceptrons trained on labels with 20 % noise. The twin is the student "
    "trained on labels, from another seed.\n\nLog-odds are z_c − logsumexp of the other logits in float64. "
    "Intervals are Student's t over 5 paired seeds."
)


def sample(*, smoke=False, points=500, many=3000):
    return Result(
        study="deviation",
        question="Where does the student disobey, and does it pay?",
        blocks=(
            *claims(),
            *findings(),
            logit_plot(points),
            slope_chart(),
            gain_chart(),
            table(),
            heatmap(),
            bars(),
            logit_plot(many, name="logit-logit-all"),
            gallery(),
            Text("Methods", METHODS),
        ),
        summary="On noisy digits the student is less sure than its teacher where the teacher is unsure, its twin is "
        "not. On clean text disobedience costs 0.4 points of accuracy.",
        smoke=smoke,
        settings={"temperature": 4.0, "seeds": (0, 1, 2, 3, 4), "base": {"model": "mlp", "learning_rate": 0.001}},
    )


SMALL = {"points": 150, "many": 1_800}  # points a model: some of them single, some in cells

PROVENANCE = {
    "version": "0.1.0",
    "commit": "3382e80",
    "versions": {"python": "3.11", "torch": "2.13.0"},
    "device": {"name": "cpu", "threads": 1},
    "cost": {"CPU-seconds": 312.4, "runs": 40, "reused": 12},
}
