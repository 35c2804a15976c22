"""The study data-size: whole in smoke, paired arms, and verdicts on planted accuracy tables."""

from dataclasses import replace

import numpy as np
import pytest

from disobey.data.dataset import DataSpec
from disobey.data.load import load
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Chart, Claim, Estimate, Result, Table, Text
from disobey.studies.data_size.cells import (
    BUDGETS,
    CROP,
    CROP_FIXED,
    ENSEMBLE,
    FRESH,
    IDS,
    KD,
    LABELS,
    MAIN,
    SAME_N,
    SHORT,
    Cell,
    noisy,
    parsed,
    teacher_of,
)
from disobey.studies.data_size.charts import charts
from disobey.studies.data_size.claims import judge, sign_flips, summary
from disobey.studies.data_size.closed_form import ClosedFormResults
from disobey.studies.data_size.evidence import FIDELITY, CellResults
from disobey.studies.data_size.study import ALL_ARMS, DataSize
from disobey.studies.data_size.tables import tables
from disobey.studies.kit.setup import Setup
from disobey.targets.arms import ARMS
from disobey.training.recipe import Run
from disobey.training.specs import Teaching
from tests.support.refusals import refuses

SMALL = DataSize(Setup(data="digits-8x8", seeds=(0, 1, 2, 3, 4, 5)), arms=ALL_ARMS, budgets=tuple(BUDGETS))


@pytest.fixture(scope="module")
def smoke(ran):
    return ran(DataSize.smoke())


def test_smoke_judges_every_claim_and_says_the_same_again(smoke):
    study, records = smoke
    result = study.analyze(records)
    assert [c.name for c in result.of(Claim)] == [f"C{i}" for i in range(1, 14)]
    assert {c.name for c in result.of(Chart)} == {
        "label-equivalence",
        "accuracy",
        "scales",
        "explained",
        "fidelity",
        "regimes",
        "closed-form",
    }
    assert result.smoke
    assert study.analyze(records).to_json() == result.to_json()
    assert Result.from_json(result.to_json()).to_json() == result.to_json()


def test_defaults_leave_out_what_they_did_not_run_and_say_so(smoke):
    study, records = smoke
    arms = ("A0", "A1", "A3:0.1", "A7", "A9a", "A10a", "A11", "A12")
    plain = replace(study, regimes=(), budgets=("steps",), arms=arms, kernels=0)
    kept = {run: records[run] for run in plain.plan() if run in records}
    assert set(kept) == set(plain.plan())  # the smaller study shares all its runs
    result = plain.analyze(records)
    assert {c.name for c in result.of(Claim)} == {"C1", "C2", "C3", "C4", "C9"}
    (methods,) = result.of(Text)
    assert all(f"C{i} (needs --" in methods.body for i in (5, 6, 7, 8, 10, 11, 12, 13))


def test_sizes_are_nested_and_start_at_two_a_class():
    study = DataSize()
    assert study.design.sizes == (20, 47, 112, 265, 626, 1480, 3500)
    assert study.design.small == (20, 47, 112, 265)
    few, more = (set(load(study.recipe(Cell(LABELS, n)).data, 3).train.ids) for n in (20, 47))
    assert few < more
    counts = np.bincount(load(study.recipe(Cell(LABELS, 20)).data, 3).train.labels)
    assert counts.tolist() == [2] * 10


def test_arms_of_a_cell_differ_in_targets_alone():
    study = SMALL
    labels = study.recipe(Cell(LABELS, 47))
    for word in ALL_ARMS:
        recipe = study.recipe(Cell(parsed(word, 20.0).word, 47))
        assert replace(recipe, targets=labels.targets, teacher=None, teaching=labels.teaching) == labels
    keys = {study.recipe(Cell(parsed(word, 20.0).word, 47)).key() for word in ALL_ARMS}
    assert len(keys) == len(ALL_ARMS)
    assert {IDS[word.split(":")[0]] for word in ALL_ARMS} == set(ARMS)


def test_regimes_are_what_they_say():
    study = SMALL
    fresh = study.recipe(Cell(KD, 100, regime=FRESH))
    students, teachers = (set(load(r.data, 1).train.ids) for r in (fresh, fresh.teacher))
    assert len(students) == pytest.approx(100, abs=5)
    assert not students & teachers
    assert study.recipe(Cell(KD, 47, regime=SAME_N)).teacher.data == study.recipe(Cell(KD, 47)).data
    assert study.recipe(Cell(KD, 47, regime=ENSEMBLE)).teaching.members == 3
    assert study.recipe(Cell(KD, 47, regime=teacher_of(78))).teacher.data.train == 78
    assert study.recipe(Cell(KD, 47, regime=noisy(0.2))).teacher.data.noise == 0
    assert study.recipe(Cell(KD, 47, regime=CROP_FIXED)).teaching.views == "fixed"
    same = study.recipe(Cell(KD, 47, regime=study.design.equal_size))
    assert same.teacher.model == same.model
    assert study.recipe(Cell("untrained_teacher", 47)).teacher.optim.stop == 0
    assert study.recipe(Cell("random_head", 47)).teaching.head == "random"
    epochs = study.recipe(Cell(LABELS, 47, "epochs")).optim
    assert epochs.steps == round(20 * 47 / epochs.batch)
    assert study.recipe(Cell(LABELS, 47, "convergence")).choose == "validation"


def test_an_id_of_the_paper_and_a_name_are_one_arm():
    """The ids A0 to A18 stay as aliases of the names: cells, recipes and so runs are the same."""
    named = DataSize(arms=(LABELS, KD, "class_mean", "label_smoothing:0.1", "distillation:20"))
    by_id = DataSize(arms=("A0", "A1", "A10a", "A3:0.1", "A1:20"))
    assert named.design == by_id.design
    assert named.design.arms == (LABELS, KD, "class_mean", "label_smoothing:0.1")
    assert set(IDS.values()) == set(ARMS)
    assert set(SHORT) <= set(IDS)


def test_labels_of_a_regime_that_changes_the_teacher_alone_are_the_main_ones():
    assert SAME_N.of_labels == teacher_of(5).of_labels == ENSEMBLE.of_labels == MAIN
    assert CROP_FIXED.of_labels == CROP
    assert noisy(0.1).of_labels == noisy(0.1)
    assert FRESH.of_labels == FRESH


@pytest.mark.parametrize(
    ("change", "id", "named"),
    [
        ({"arms": ("A0", "A1", "A99")}, "unknown-arm", "A99"),
        ({"arms": ("A0", "A1", "A7:3")}, "unknown-arm", "A7:3"),
        ({"arms": ("A0", "A1", "A3:x")}, "unknown-arm", "A3:x"),
        ({"arms": ("A1",)}, "arms-missing", "A0"),
        ({"budgets": ("epochs",)}, "budget-missing", "steps"),
        ({"sizes": (50, 20)}, "sizes-not-rising", "50, 20"),
        ({"points": 2}, "option-too-small", "points"),
        ({"setup": Setup(augment="crop"), "regimes": ("augment",)}, "augmented-twice", "crop"),
    ],
)
def test_bad_options_are_refused(change, id, named):
    with refuses(id, named):
        DataSize(**change)


def test_sizes_beyond_the_data_are_refused():
    with refuses("size-beyond-data", "3,500", "4,000"):
        DataSize(sizes=(20, 200, 4000)).plan()


def test_fewer_examples_are_the_largest_size_of_teacher_and_students():
    study = DataSize(Setup("digits-8x8", train=300), points=3)
    assert study.design.sizes[-1] == study.design.total == 300
    asked = {run.recipe.data.train for run in study.plan() if run.recipe.data.train not in study.design.sizes[:-1]}
    assert asked == {300}


# --- planted tables -------------------------------------------------------------------------------------------------

EVERY_REGIME = replace(SMALL, regimes=("fresh", "same-n", "teacher-sizes", "quality", "noise", "augment", "widths"))


def planted(gain, *, study=EVERY_REGIME, noise=0.001, kl=None):
    """Results whose accuracies are labels' plus ``gain(cell)``, with a shift per seed that all arms share."""
    rng = np.random.default_rng(0)
    seeds = len(study.setup.seeds)
    shift = rng.normal(0, 0.01, seeds)

    def labels(n):
        return 0.95 - 0.9 * n**-0.3

    accuracies = {
        cell: labels(cell.size) + shift + gain(cell) + noise * rng.normal(size=seeds) for cell in study.design.cells()
    }
    cells = {}
    for cell, accuracy in accuracies.items():
        control = accuracies[replace(cell, arm=LABELS, regime=cell.regime.of_labels)]
        kinds = {"accuracy": accuracy, "validation": accuracy, "nll": 1.0 - accuracy, "chosen": np.ones(seeds)}
        cells[cell] = {**kinds, "gain": accuracy - control}
    sizes = np.array(study.design.sizes)
    gap = (0.5 * sizes**-0.5) * (1 + 0.02 * rng.normal(size=(seeds, len(sizes)))) if kl is None else kl(sizes, seeds)
    still = np.zeros_like(gap)
    of_labels = gap + 0.1 + 0.01 * rng.normal(size=gap.shape)
    values = (1 - still, 1 - gap, gap, still, gap, gap, of_labels)
    for k, n in enumerate(study.design.sizes):
        cells[Cell(KD, n)] |= {kind: value[:, k] for kind, value in zip(FIDELITY, values, strict=True)}
    crossed, closed = (None,) * len(sizes), ClosedFormResults()
    teacher = mean_over_runs(shift + 0.9, "test accuracy")
    return CellResults(study.design, study.setup.seeds, cells, teacher, crossed, closed)


def with_closed_forms(results, kernel, probe, *, like=None):
    """The same with kernel and probe gains as shares of the network's (of ``like``, if given)."""
    sizes = results.design.small
    labels, teacher = ((like or results).table("accuracy", arm)[:, : len(sizes)] for arm in (LABELS, KD))
    shares = {"laplace": kernel, "probe": probe, "network": 1.0}
    accuracies = {(who, "labels"): labels for who in shares}
    rng = np.random.default_rng(2)
    for who, share in shares.items():
        vary = 1 + 1e-3 * rng.normal(size=(len(labels), 1)) if who != "network" else 1.0
        accuracies[who, "teacher"] = labels + share * vary * (teacher - labels)
    theory = Estimate("largest relative deviation", 0.01, 0.0, 0.03, 0.95, 200, "runs")
    return replace(results, closed=ClosedFormResults(sizes, (True,) * len(sizes), theory, accuracies))


def falling(cell):
    return 0.15 - 0.02 * np.log(cell.size)


def as_published(cell):
    """Distillation helps, more with little data, by dark knowledge of an informed teacher alone."""
    word, regime = cell.arm.split(":")[0], cell.regime
    if word == LABELS:
        return 0.0
    gain = max(falling(cell), 0.001)
    if regime == SAME_N:
        return 0.0
    if regime.teacher_train:  # overtaken at the teacher's own size
        return 0.03 * np.log(regime.teacher_train / cell.size)
    if cell.budget == "convergence":
        return 0.03 * np.log(EVERY_REGIME.design.total / cell.size) - 0.001
    if word in (KD, "mse_centred"):
        low = cell.arm in (f"{KD}:0.5", f"{KD}:1")
        return 0.2 * gain if low else gain
    if word == "class_mean_with_confidence":
        return 0.3 * gain
    if word == "argmax" and regime == FRESH:
        return 0.05 * gain
    return -0.02


def verdicts(results):
    judged = judge(results)
    assert not judged.skipped
    return {claim.name: claim.verdict for claim in judged.claims}


def test_a_planted_confirmation_is_confirmed():
    results = planted(as_published)
    found = verdicts(with_closed_forms(results, kernel=0.2, probe=0.95))
    assert {name for name, verdict in found.items() if verdict == "supported"} == {
        "C1",
        "C2",
        "C3",
        "C4",
        "C5",
        "C6",
        "C7",
        "C8",
        "C9",
        "C10",
        "C12",
        "C13",
    }
    assert found["C11"] == "contradicted"  # there is a gain without wrong labels


def smoothing_in_disguise(cell):
    """Every arm gains alike, more with more data: nothing is information."""
    if cell.arm == LABELS:
        return 0.0
    if cell.arm == f"{KD}:1":
        return 0.08
    return 0.01 + 0.004 * np.log(cell.size) if cell.regime != EVERY_REGIME.design.equal_size else 0.0


def test_a_planted_contradiction_is_contradicted():
    def steep(sizes, seeds):
        rng = np.random.default_rng(1)
        return (0.5 * sizes**-1.0) * (1 + 0.02 * rng.normal(size=(seeds, len(sizes))))

    results = planted(smoothing_in_disguise, kl=steep)
    found = verdicts(with_closed_forms(results, kernel=1.0, probe=1.0))
    assert {name for name, verdict in found.items() if verdict == "contradicted"} >= {
        "C1",
        "C3",
        "C4",
        "C5",
        "C6",
        "C9",
        "C10",
        "C11",
        "C12",
    }


def test_a_fidelity_gap_that_students_on_labels_have_too_says_nothing_of_distillation():
    results = with_closed_forms(planted(as_published), kernel=0.2, probe=0.95)
    cells = {
        cell: {**kinds, "gap, labels": kinds["gap"]} if "gap" in kinds else kinds
        for cell, kinds in results.cells.items()
    }
    noisy = np.random.default_rng(3).normal(0, 0.01, len(results.seeds))
    for kinds in cells.values():
        if "gap" in kinds:
            kinds["gap, labels"] = kinds["gap"] + noisy
    assert verdicts(results)["C9"] == "supported"
    assert verdicts(replace(results, cells=cells))["C9"] == "undecided"


def test_a_gain_that_vanishes_for_one_width_is_left_open_and_crossovers_off_the_grid_too():
    found = verdicts(with_closed_forms(planted(smoothing_in_disguise), kernel=1.0, probe=1.0))
    assert found["C7"] == found["C8"] == "undecided"


def test_variance_alone_supports_c11():
    def only_noise(cell):
        return 0.05 if cell.arm == KD and cell.regime.noise else 0.0

    results = planted(only_noise, noise=0.0005)
    found = verdicts(with_closed_forms(results, kernel=0.2, probe=0.9, like=planted(as_published)))
    assert found["C11"] == "supported"


def test_no_gain_leaves_shares_undefined_and_nothing_supported_by_luck():
    results = planted(lambda cell: 0.0, noise=0.02)
    found = verdicts(with_closed_forms(results, kernel=0.5, probe=0.5))
    assert all(found[name] == "undecided" for name in ("C3", "C4", "C5", "C12"))
    assert "supported" not in {found[name] for name in ("C1", "C2", "C6", "C7", "C8")}


def test_figures_and_tables_hold_what_was_planted():
    results = with_closed_forms(planted(as_published), 0.2, 0.95)
    drawn = {chart.name: chart for chart in charts(results)}
    shares = dict(zip(drawn["explained"].data["x"], drawn["explained"].data["y"], strict=True))
    assert shares["class means with confidence (A12)"] == pytest.approx(0.3, abs=0.05)
    assert any("n^−0.5" in name for name in drawn["fidelity"].data["curve"])
    assert {c.title for c in tables(results)} >= {"Every arm", "Other conditions", "Tests"}
    assert "equal epochs" in EVERY_REGIME.methods(results)
    assert "With little data" in summary(results, judge(results))
    rows = sign_flips(results)
    assert {claim for claim, *_ in rows} == {"C1, C2", "C3", "C4", "C5", "C6", "C7", "C10", "C11", "C13"}
    assert min(p for *_, p, _ in rows) == pytest.approx(2 / 2**6)


def test_every_regime_has_a_twin():
    cells = EVERY_REGIME.students
    for cell, student in cells.items():
        if cell.arm != LABELS:
            twin = cells[replace(cell, arm=LABELS, regime=cell.regime.of_labels)]
            assert student.control == twin.recipe
            assert replace(
                student.recipe, targets=twin.recipe.targets, teacher=None, teaching=Teaching()
            ) == twin.recipe or (cell.regime == CROP_FIXED)


def test_text_and_own_networks_keep_their_kinds_defaults():
    words = DataSize(Setup(data="languages"))
    assert words.model().name == "text-bag"
    own = DataSize(Setup(), teacher="cnn:16")
    assert own.design.student == "small"
    assert own.recipe(Cell(LABELS, 20)).model.name == "cnn"
    assert own.design.widths == ("large",)
    assert own.design.teacher_sizes == (own.design.total // 16, own.design.total // 4)
    assert isinstance(Run(own.recipe(Cell(KD, 20)), 0).teachers()[0], Run)


def test_tables_of_two_seeds_say_so(smoke):
    study, records = smoke
    gains = next(t for t in study.analyze(records).of(Table) if t.title == "The gain from distillation at every size")
    column = gains.columns.index("gap over seeds and examples")
    assert all(row[column] is None for row in gains.rows)  # two seeds are too few to resample


def test_the_published_curve_stands_beside_ours_on_cifar100(monkeypatch):
    monkeypatch.setattr(Setup, "dataset", load(DataSpec("digits-8x8"), 0))  # only its sizes are asked
    setup = Setup(data="hub:uoft-cs/cifar100#fine_label", train=20_000, seeds=(0, 1, 2))
    here = DataSize(setup, "", "self", ("A0", "A1"), (200, 2_000, 20_000), temperature=100.0)
    drawn = charts(planted(as_published, study=here))[0].data
    published = [(x, y) for x, y, who in zip(drawn["x"], drawn["y"], drawn["curve"], strict=True) if "2510" in who]
    assert (0.12, 3.06) in published
    assert len(published) == 4
