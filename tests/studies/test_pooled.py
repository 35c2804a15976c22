"""Results of several data sets, joined: words by the claim's rule, mistakes refused with one message."""

import json
from dataclasses import replace

import numpy as np

from disobey import pool
from disobey.cli.main import main
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Chart, Claim, Estimate, Result, Table, Text
from disobey.studies import STUDIES
from disobey.studies.kit.declared import claim_specs
from disobey.studies.kit.pooled import rule_of
from disobey.studies.kit.verdicts import AllOf, Effect, Equivalence, gain
from tests.support.refusals import refuses


def on(data, gain, sd=0.004, setting="20% label noise", more=(), **about):
    """A result of one data set whose students gain this much."""
    rng = np.random.default_rng(sum(map(ord, data)))
    values = gain + sd * rng.normal(size=5)
    named = {"name": "C3", "id": "C3", "setting": setting, "border": 0.0, "margin": 0.005, "direction": 1}
    named = named | about
    claim = Claim("It pays.", "us", "undecided", (mean_over_runs(values, "gain"),), **({"rule": "above 0"} | named))
    return Result("demo", "Does it pay?", (claim, *more), settings={"data": data, "seeds": (0, 1, 2, 3, 4)})


def table(result, title):
    """A table by its title."""
    return next(found for found in result.of(Table) if found.title == title)


GAINS = {"a": 0.030, "b": 0.034, "c": 0.026, "d": 0.040}


def test_gains_everywhere_are_a_gain_on_average_and_on_the_next_data_set():
    result = pool([on(name, gain) for name, gain in GAINS.items()])
    (claim,) = result.of(Claim)
    assert (claim.verdict, claim.name, claim.border, claim.margin) == ("supported", "C3", 0.0, 0.005)
    mean, prediction, *each = claim.evidence
    assert 0.028 < mean.value < 0.037
    assert prediction.low < mean.low
    assert mean.over == "cases"
    assert [e.name for e in each] == [f"gain, {name}" for name in GAINS]
    assert "above 0" in claim.note
    (forest,) = result.of(Chart)
    assert forest.data["data"] == (*GAINS, "average of 4", "next data set")
    assert len(table(result, "Effects by data set, and the average without each").rows) == 4
    assert Result.from_json(result.to_json()).to_json() == result.to_json()


def test_opposite_effects_are_undecided_and_negligible_ones_are_said_to_be():
    assert pool([on("a", 0.03), on("b", -0.03), on("c", 0.0)]).of(Claim)[0].verdict == "undecided"
    assert pool([on(name, 0.0, sd=0.0005) for name in "abcd"]).of(Claim)[0].verdict == "negligible"
    assert pool([on(name, -0.03) for name in "abcd"]).of(Claim)[0].verdict == "contradicted"


def test_the_data_set_that_carries_the_word_is_named():
    result = pool([on("a", 0.000), on("b", 0.012, sd=0.001), on("c", 0.013, sd=0.001), on("d", 0.012, sd=0.001)])
    assert "without a" in result.of(Claim)[0].note


def test_the_rule_is_the_studys_own_or_made_from_the_numbers():
    claim = Claim("x", "us", "undecided", (), "rule", border=0.0, margin=0.005, direction=1, unit="points")
    assert rule_of(claim, "no-study") == Effect(1, 0.0, 0.005, "points")
    assert rule_of(replace(claim, direction=0), "no-study") == Equivalence(0.005, 0.0, "points")
    assert rule_of(replace(claim, direction=0, margin=0.0), "no-study") is None  # several numbers with one sign
    rules = {spec.id: spec.rule for spec in claim_specs(STUDIES["deviation"]())}
    assert rule_of(replace(claim, rule=rules["C3"].words), "deviation") == rules["C3"]
    assert rule_of(replace(claim, rule=rules["C2 test"].words), "deviation") == rules["C2 test"]


def test_nothing_is_supported_against_the_literal_line():
    """Steeper than its control on every data set, yet surely flatter than its teacher."""
    rule = next(spec.rule for spec in claim_specs(STUDIES["deviation"]()) if spec.id == "C2 test")

    def beside(name, literal):
        (claim,) = on(name, 0.1, rule=rule.words, margin=0.05).of(Claim)
        lines = (replace(on(name, literal).of(Claim)[0].evidence[0], name="slope"), claim.evidence[0])
        return replace(on(name, 0.1), study="deviation", blocks=(replace(claim, evidence=lines, deciding=1),))

    (flatter,) = pool([beside(name, 0.9) for name in "abcd"]).of(Claim)
    (steeper,) = pool([beside(name, 1.1) for name in "abcd"]).of(Claim)
    assert (flatter.literal, flatter.verdict) == ("contradicted", "undecided")
    assert (steeper.literal, steeper.verdict) == ("supported", "supported")
    mixed = pool([beside(name, 0.9 if name < "c" else 1.1) for name in "abcd"])
    alone, beyond = (row[2:] for row in table(mixed, "On how many data sets").rows)
    assert alone == ("student alone", 4, 2, 2, 2)
    assert beyond == ("student minus control", 4, 4, 4, 0)


def test_tables_hold_shares_in_the_unit_beside_them():
    result = pool([on(name, gain, unit="points") for name, gain in GAINS.items()])
    (row,) = table(result, "Pooled effects").rows
    assert row[2] == "points"
    assert 2.8 < row[4].value < 3.7
    each = table(result, "Effects by data set, and the average without each").rows
    assert all(1 < row[4].value < 6 and 1 < row[6].value < 6 for row in each)


def test_data_sets_are_counted_on_the_side_that_the_claim_says():
    below = [on(name, gain, sd=0.001, direction=-1) for name, gain in {"a": -0.03, "b": 0.03, "c": -0.02}.items()]
    (row,) = table(pool(below), "On how many data sets").rows
    assert row == ("C3", "20% label noise", "gain", 3, 2, 2, 1)
    unsided = [on(name, 0.0, direction=0, rule="within 0.5 points of 0") for name in "ab"]
    assert table(pool(unsided), "On how many data sets").rows == ()


def test_what_the_source_counts_stands_beside_our_counts():
    """Beside the student alone, as sources have no controls; and only for the claim that the study declares."""
    spec = next(spec for spec in claim_specs(STUDIES["deviation"]()) if spec.id == "C1 test")

    def of(name, **about):
        alone = replace(on(name, -0.3).of(Claim)[0].evidence[0], name="mean deviation")
        beside = {"rule": spec.rule.words, "direction": -1, "margin": 0.05, "name": spec.id, "id": spec.id}
        (claim,) = on(name, 0.2, **beside).of(Claim)
        said = {"text": spec.text, "source": spec.source.name, "evidence": (alone, *claim.evidence), "deciding": 1}
        return replace(on(name, 0.2), study="deviation", blocks=(replace(claim, **(said | about)),))

    pooled = pool([of(name) for name in "abc"])
    alone, beyond = table(pooled, "On how many data sets").rows
    assert "alone on 3 (18 of 18 image settings in the source)" in pooled.of(Claim)[0].note
    assert alone[2:] == ("student alone", 3, 3, 3, 0, "18 of 18 image settings")
    assert beyond[2:] == ("student minus control", 3, 0, 0, 3, "")
    other = table(pool([of(name, text="Another statement.") for name in "abc"]), "On how many data sets")
    assert "in the source" not in other.columns


def test_results_are_found_wherever_they_lie_below_a_folder(tmp_path, capsys):
    for place, data, planted in (("x/deep/one", "a", 0.03), ("y", "b", 0.02)):
        on(data, planted).write(tmp_path / "store" / place / "result.json")
    words = ["pool", str(tmp_path / "store"), "--out", str(tmp_path / "out"), "--json"]
    assert main(words) == 0
    assert [row[0] for row in table(Result.from_json(capsys.readouterr().out), "What was joined").rows] == ["a", "b"]
    replace(on("c", 0.0), study="other").write(tmp_path / "store" / "z" / "result.json")
    assert main(words) == 2
    assert "results of one study" in capsys.readouterr().err
    assert main([*words, "--study", "demo"]) == 0
    (tmp_path / "empty").mkdir()
    assert main(["pool", str(tmp_path / "empty")]) == 2


def test_what_each_result_took_stands_beside_it(tmp_path, capsys):
    for name in "ab":
        on(name, GAINS[name]).write(tmp_path / name / "result.json")
    cost = {"runs": 12, "cpu_seconds_with_reused": 34.5, "reused": 3}
    (tmp_path / "a" / "provenance.json").write_text(json.dumps({"cost": cost}))
    (tmp_path / "b" / "provenance.json").write_text("{}")
    assert main(["pool", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "out"), "--json"]) == 0
    joined = table(Result.from_json(capsys.readouterr().out), "What was joined")
    assert joined.rows == (("a", 5, 12.0, 34.5), ("b", 5, None, None))


def test_claims_that_several_numbers_decide_are_not_pooled():
    several = {"rule": AllOf((("gain", gain()), ("loss", gain()))).words, "direction": 0, "margin": 0.0}
    with refuses("pool-nothing"):
        pool([on("a", 0.03, **several), on("b", 0.03, **several)])


def test_what_has_no_interval_is_left_out_and_named():
    undefined = Estimate("gain", np.nan, np.nan, np.nan, 0.95, 5, "runs")
    odd = on("d", 0.03)
    odd = replace(odd, blocks=(replace(odd.of(Claim)[0], evidence=(undefined,)),))
    result = pool([*(on(name, 0.03) for name in "abc"), odd])
    assert len(result.of(Claim)[0].evidence) == 5
    assert result.of(Claim)[0].note.endswith("for this number: d.")


def test_settings_are_pooled_apart_and_matched_by_their_levels():
    levels = {"levels": (("label noise", "20%"),)}
    clean = {"setting": "clean", "levels": (("label noise", "0%"),)}
    results = [
        on(name, 0.03, **levels, more=(replace(on(name, 0.0, sd=0.001).of(Claim)[0], **clean),)) for name in "abc"
    ]
    assert [(c.setting, c.verdict) for c in pool(results).of(Claim)] == [
        ("20% label noise", "supported"),
        ("clean", "negligible"),
    ]


def test_averages_of_different_numbers_share_a_row_of_the_chart():
    clean = {"setting": "clean"}
    results = [on(name, 0.03, more=on(name, 0.01, **clean).of(Claim) if name < "c" else ()) for name in "abc"]
    (forest,) = pool(results).of(Chart)
    assert list(dict.fromkeys(forest.data["data"])) == ["a", "b", "c", "average", "next data set"]


def test_a_factor_with_one_level_a_result_sets_results_apart_and_not_claims():
    def of(data, gain, student):
        levels = {"levels": (("label noise", "20%"), ("student", student)), "setting": f"20%, {student}"}
        result = on(data, gain, **levels)
        return replace(result, settings={**result.settings, "students": (student,)})

    (claim,) = pool([of("a", 0.03, "self"), of("b", 0.03, "resnet8"), of("a", 0.03, "vit")]).of(Claim)
    assert (claim.setting, claim.levels) == ("label noise 20%", (("label noise", "20%"),))
    assert len(claim.evidence) == 5


def test_another_quantity_under_the_same_claim_is_pooled_apart():
    least_squares = on("c", 0.03)
    (claim,) = least_squares.of(Claim)
    other = replace(claim, evidence=(replace(claim.evidence[0], name="least squares"),))
    result = pool([on("a", 0.03), on("b", 0.03), replace(least_squares, blocks=(other,))])
    assert [e.name for e in result.of(Claim)[0].evidence[2:]] == ["gain, a", "gain, b"]
    assert "C3" in result.of(Text)[-1].body


def test_mistakes_are_refused():
    with refuses("pool-few-results"):
        pool([on("a", 0.03)])
    with refuses("pool-mixed-studies", "other", "demo"):
        pool([on("a", 0.03), replace(on("b", 0.03), study="other")])
    with refuses("pool-same-data"):
        pool([on("a", 0.03), on("a", 0.03)])
    with refuses("pool-different-rules", "rule", "C3"):
        pool([on("a", 0.03), on("b", 0.03, rule="above 1")])
    with refuses("pool-nothing"):
        pool([on("a", 0.03), on("b", 0.03, setting="another")])


def test_a_smoke_test_among_them_makes_all_of_it_one():
    assert pool([replace(on("a", 0.03), smoke=True), on("b", 0.03)]).smoke


def test_models_set_results_apart_where_the_data_are_equal():
    results = [
        replace(on("a", g), settings={"data": "a", "teacher": t}) for g, t in ((0.03, "mlp:16"), (0.02, "cnn:8"))
    ]
    assert [e.name for e in pool(results).of(Claim)[0].evidence[2:]] == ["gain, mlp:16", "gain, cnn:8"]


def test_the_command_writes_a_report_as_any_study_does(tmp_path, capsys):
    for name, planted in GAINS.items():
        on(name, planted).write(tmp_path / name / "result.json")
    words = [str(tmp_path / name) for name in GAINS]
    assert main(["pool", *words, "--out", str(tmp_path / "pooled")]) == 0
    assert "supported" in capsys.readouterr().out
    result = Result.read(tmp_path / "pooled" / "result.json")
    assert result.study == "demo-pooled"
    assert "forest" in (tmp_path / "pooled" / "report.html").read_text(encoding="utf-8").lower()
    inputs = json.loads((tmp_path / "pooled" / "provenance.json").read_text())["inputs"]
    assert [len(one["sha256"]) for one in inputs] == [64] * 4
    assert main(["pool", *words, str(tmp_path / "nothing")]) == 2
    assert "expected a result.json" in capsys.readouterr().err
    assert main(["pool", str(tmp_path), "--study", "dmo"]) == 2
    assert "a study that is there: demo" in capsys.readouterr().err
