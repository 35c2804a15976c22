"""One study on several data sets or models: each claim on average, on the next data set, and with each one left out.

A published claim is about settings in general; one data set is one draw of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from scipy.stats import t as student_t

from disobey.errors import refusal
from disobey.figures.forest import AVERAGE, Forest, counted_words, counts_table, each_table, forest_chart, pooled_table
from disobey.measures.inference.pooling import Pooled, leave_one_out, standard_error
from disobey.measures.inference.pooling import pool as pool_effects
from disobey.measures.inference.sequential import half_width_factor
from disobey.records.results import Block, Claim, Estimate, Result, Table, Text, Verdict
from disobey.studies import STUDIES
from disobey.studies.kit.claims import Verdicts, p_value
from disobey.studies.kit.declared import claim_specs
from disobey.studies.kit.verdicts import BeyondControl, Effect, Equivalence, Single, decide

LABELS = ("data", "group", "tasks", "task", "teacher", "students", "student", "train", "augment", "steps")
SAID = ("text", "source", "rule")  # of a claim: what all results must have in common
DECIDING = ("border", "margin", "direction", "unit")  # of the number that decides, one of several in some rules


def pool(results: Sequence[Result], costs: Sequence[Mapping[str, float]] = ()) -> Result:
    """Joins the results of one study on several data sets or models.

    Args:
        results: of `disobey run`, read with `Result.read`; each on other data, or with other models.
        costs: what each took, as ``provenance.json`` says (``runs``, ``cpu_seconds_with_reused``); empty if unknown.

    Returns:
        A result: for every claim (and setting) that at least two of them judged, its average effect with the
        Knapp–Hartung interval and its word by the claim's own rule, the prediction interval for the next data set, a
        forest plot, heterogeneity, and the average without each data set in turn.

    Raises:
        Refusal: ``pool-few-results`` for fewer than two; ``pool-mixed-studies``; ``pool-same-data`` where two differ
            in no setting but their seeds; ``pool-different-rules``; ``pool-nothing`` where no claim is common.

    Reference:
        Röver, Knapp and Friede 2015, BMC Medical Research Methodology 15; Nagashima, Noma and Furukawa 2019,
        Statistical Methods in Medical Research 28.

    Example:
        >>> from disobey.records.results import Claim, Estimate
        >>> def on(data, gain):
        ...     found = Estimate("gain", gain, gain - 0.01, gain + 0.01, 0.95, 5, "runs")
        ...     claim = Claim("It pays.", "us", "undecided", (found,), "above 0", "C1", border=0.0)
        ...     return Result("demo", "Does it pay?", (claim,), settings={"data": data})
        >>> pooled = pool([on("a", 0.03), on("b", 0.04), on("c", 0.05)])
        >>> pooled.of(Claim)[0].verdict
        'supported'
    """
    names = _checked(results)
    found: dict[tuple[Any, ...], dict[str, Claim]] = {}
    apart = _of_results(results)
    for name, result in zip(names, results, strict=True):
        for claim in (_without(claim, apart) for claim in result.of(Claim)):
            key = claim.name, claim.levels or claim.setting, _deciding(claim).name  # of one quantity in all results
            found.setdefault(key, {})[name] = claim
    _same_rules(found.values())
    by_anytime = {name: bool(r.settings.get("until_settled")) for name, r in zip(names, results, strict=True)}
    forests, left_out = [], []
    for (id, *_), claims in found.items():
        effects = {name: _deciding(claim) for name, claim in claims.items()}
        errors = {name: _error(effect, by_anytime[name]) for name, effect in effects.items()}
        first = next(iter(claims.values()))
        rule = rule_of(first, results[0].study)
        if rule is None or any(len({str(getattr(c, part)) for c in claims.values()}) > 1 for part in DECIDING):
            left_out.append(f"{id} ({first.setting or 'no setting'}: several numbers decide it)")
            continue
        usable = {name: claims[name] for name in claims if errors[name] > 0 and math.isfinite(effects[name].value)}
        missing = [name for name in names if name not in usable]
        if len(usable) < 2:
            left_out.append(f"{id} ({first.setting or 'no setting'}: an interval in fewer than two results)")
            continue
        literal = _literal(rule, usable, by_anytime)
        forest = _forest(usable, {name: errors[name] for name in usable}, rule, literal, missing)
        forest = replace(forest, counted=_counted(first, results[0].study))
        note = " ".join(filter(None, (counted_words(forest), forest.claim.note)))
        forests.append(replace(forest, claim=replace(forest.claim, note=note)))
    if not forests:
        raise refusal("pool-nothing", "a claim with an interval in at least two results", "none", "more seeds a result")
    return _result(results, names, forests, left_out, costs)


def _checked(results: Sequence[Result]) -> tuple[str, ...]:
    """Names of the results by what sets them apart."""
    if len(results) < 2:
        raise refusal("pool-few-results", "results on at least two data sets or models", len(results))
    studies = sorted({result.study for result in results})
    if len(studies) > 1:
        attempt = f"one study at a time: --study {studies[0]}"
        raise refusal("pool-mixed-studies", "results of one study", ", ".join(studies), attempt)
    varying = [k for k in LABELS if len({_words(r.settings.get(k)) for r in results}) > 1]
    full: list[str] = []
    for n in range(1, len(varying) + 1):  # as few settings as tell the results apart
        varying_now = varying[:n]
        full = [_named(result, varying_now, _words) for result in results]
        if len(set(full)) == len(full):
            short = [_named(result, varying_now, _short) for result in results]
            return tuple(short if len(set(short)) == len(short) else full)
    twice = sorted({name or "the same settings" for name in full if full.count(name) > 1}) or ["the same settings"]
    attempt = "each data set or model once; seeds of one belong into one run"
    raise refusal("pool-same-data", "other data or models in every result", f"twice: {', '.join(twice)}", attempt)


def _of_results(results: Sequence[Result]) -> set[str]:
    """Factors that set results apart and not the claims of one: which student, where each result has its own."""
    levels = [[dict(claim.levels) for claim in result.of(Claim) if claim.levels] for result in results]
    names = {name for claims in levels for claim in claims for name in claim}
    found = set()
    for name in names:
        words = [{claim.get(name) for claim in claims} for claims in levels]
        if all(len(each) == 1 for each in words) and len(set.union(*words)) > 1:
            found.add(name)
    return found


def _without(claim: Claim, names: set[str]) -> Claim:
    """The claim as one on its other levels."""
    levels = tuple((name, word) for name, word in claim.levels if name not in names)
    if levels == claim.levels:
        return claim
    return replace(claim, levels=levels, setting=", ".join(f"{name} {word}" for name, word in levels))


def _named(result: Result, keys: Sequence[str], say: Callable[[Any], str]) -> str:
    return ", ".join(say(result.settings[key]) for key in keys if result.settings.get(key))


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _short(value: Any) -> str:
    """A path's last two parts without ending and options, anything else as it is.

    >>> _short("../data/ag_news/train.csv#text=text"), _short("mnist-5k")
    ('ag_news/train', 'mnist-5k')
    """
    words = _words(value)
    place = PurePath(words.partition("#")[0])
    return "/".join(place.with_suffix("").parts[-2:]) if len(place.parts) > 1 else words


def _same_rules(groups: Iterable[Mapping[str, Claim]]) -> None:
    for claims in groups:
        for part in SAID:
            if len({str(getattr(claim, part)) for claim in claims.values()}) > 1:
                id = next(iter(claims.values())).name
                got = "; ".join(f"{name}: {getattr(claim, part)}" for name, claim in claims.items())
                attempt = "every run again with one version and one rule"
                raise refusal("pool-different-rules", f"one {part} of claim {id} in all results", got, attempt)


def _deciding(claim: Claim) -> Estimate:
    if claim.deciding < len(claim.evidence):
        return claim.evidence[claim.deciding]
    return Estimate("", math.nan, math.nan, math.nan, 0.95, 0, "runs")


def _error(estimate: Estimate, anytime: bool) -> float:
    if not anytime:
        return standard_error(estimate)
    if not estimate.known:
        return math.nan
    return (estimate.high - estimate.low) / 2 / half_width_factor(estimate.n, level=estimate.level)


def _literal(
    rule: Single | BeyondControl, claims: Mapping[str, Claim], by_anytime: Mapping[str, bool]
) -> tuple[Estimate, ...]:
    """The average of the line without a control, where the rule has one: nothing is supported against it."""
    if not isinstance(rule, BeyondControl):
        return ()
    found = {name: claim.evidence[0] for name, claim in claims.items()}
    errors = [_error(estimate, by_anytime[name]) for name, estimate in found.items()]
    name = f"{next(iter(found.values())).name}{AVERAGE}"
    if not all(
        error > 0 and math.isfinite(estimate.value) for error, estimate in zip(errors, found.values(), strict=True)
    ):
        return (Estimate(name, math.nan, math.nan, math.nan, 0.95, len(found), "cases"),)
    return (pool_effects([e.value for e in found.values()], errors, name, draws=0).mean,)


def _forest(
    claims: Mapping[str, Claim],
    errors: Mapping[str, float],
    rule: Single | BeyondControl,
    literal: tuple[Estimate, ...],
    missing: Sequence[str],
) -> Forest:
    first = next(iter(claims.values()))
    each = {name: _deciding(claim) for name, claim in claims.items()}
    values, spread = [e.value for e in each.values()], list(errors.values())
    title = f"{_deciding(first).name}{AVERAGE}"
    joined = pool_effects(values, spread, title, runs=[e.n for e in each.values()])
    without: dict[str, Pooled] = {}
    if len(each) > 2:
        without = dict(zip(each, leave_one_out(values, spread, title), strict=True))
    decision = decide(rule, [[*literal, joined.mean]])
    verdict = decision.word
    words: dict[str, Verdict] = {name: decide(rule, [[*literal, p.mean]]).word for name, p in without.items()}
    labelled = tuple(replace(e, name=f"{e.name}, {name}") for name, e in each.items())
    pooled = Claim(
        first.text,
        first.source,
        verdict,
        (joined.mean, joined.prediction, *labelled, *literal),
        first.rule,
        first.name,
        first.setting,
        " ".join(filter(None, (decision.note, _note(first, joined, words, verdict, missing)))),
        id=first.id,
        literal=decision.literal,
        corrected=verdict,
        p_value=p_value(rule, lambda level: [_at_level(e, level) for e in (*literal, joined.mean)], verdict, 0.05),
        border=first.border,
        margin=first.margin,
        direction=first.direction,
        unit=first.unit,
        levels=first.levels,
    )
    if not isinstance(rule, BeyondControl):
        return Forest(pooled, each, joined, without)
    alone = {name: claim.evidence[0] for name, claim in claims.items()}
    return Forest(pooled, each, joined, without, alone, (rule.literal.border, rule.literal.direction))


def _at_level(mean: Estimate, level: float) -> Estimate:
    """The Knapp–Hartung interval of the average at another level."""
    half = standard_error(mean) * float(student_t.ppf(0.5 + level / 2, mean.n - 1))
    return replace(mean, low=mean.value - half, high=mean.value + half, level=level)


def rule_of(claim: Claim, study: str) -> Single | BeyondControl | None:
    """The rule of a claim that one number decides, beside a literal line or not; None where several decide.

    A rule that the study still declares is taken as it is, any other one is made from the numbers beside the claim.
    """
    if study in STUDIES:
        for spec in claim_specs(STUDIES[study]()):
            if spec.rule.words == claim.rule:
                return spec.rule if isinstance(spec.rule, (Effect, Equivalence, BeyondControl)) else None
    if claim.direction == 0:
        return Equivalence(claim.margin, claim.border, claim.unit) if claim.margin > 0 else None
    return Effect(1 if claim.direction > 0 else -1, claim.border, claim.margin, claim.unit)


def _counted(claim: Claim, study: str) -> str:
    """How the claim's source counts, where the study still declares the claim as it is; else nothing."""
    specs = claim_specs(STUDIES[study]()) if study in STUDIES else ()
    same = (spec for spec in specs if (spec.id, spec.text, spec.source.name) == (claim.name, claim.text, claim.source))
    return next((spec.counted for spec in same), "")


def _note(claim: Claim, joined: Pooled, words: Mapping[str, Verdict], verdict: Verdict, missing: Sequence[str]) -> str:
    """What to expect on the next data set, and whether one of them carries the word."""
    parts = []
    if joined.prediction.known:
        parts.append(_expected(claim, joined.prediction))
    changed = [f"{word} without {name}" for name, word in words.items() if word != verdict]
    if words:
        parts.append(f"The word would be {', '.join(changed)}." if changed else "No single data set carries the word.")
    if missing:
        parts.append(f"Left out, without an interval for this number: {', '.join(missing)}.")
    return " ".join(parts)


def _expected(claim: Claim, prediction: Estimate) -> str:
    """The prediction interval as a sentence."""
    scale = 100.0 if claim.unit == "points" else 1.0
    unit = f" {claim.unit}" if claim.unit else ""
    border = claim.border * scale
    low, high = prediction.low * scale, prediction.high * scale
    head = f"On the next data set like these {low:.3g} to {high:.3g}{unit} are expected"
    if prediction.low > claim.border:
        return f"{head}: above {border:g}."
    if prediction.high < claim.border:
        return f"{head}: below {border:g}."
    return f"{head}: it may lie on either side of {border:g}."


def _result(
    results: Sequence[Result],
    names: Sequence[str],
    forests: Sequence[Forest],
    left_out: Sequence[str],
    costs: Sequence[Mapping[str, float]],
) -> Result:
    first = results[0]
    ids = dict.fromkeys(forest.claim.name for forest in forests)
    verdicts = Verdicts(tuple(forest.claim for forest in forests)).corrected()
    blocks: list[Block] = list(verdicts.claims)
    blocks += [forest_chart([forest for forest in forests if forest.claim.name == id]) for id in ids]
    blocks += [counts_table(forests), pooled_table(forests), each_table(forests)]
    blocks += [_joined(results, names, costs), Text("Methods", _methods(results, names, left_out))]
    summary = f"Over {len(results)} data sets or models ({', '.join(names)}). {verdicts.summary()}"
    settings = {"pooled": list(names), "study": first.study}
    smoke = any(result.smoke for result in results)
    return Result(f"{first.study}-pooled", first.question, tuple(blocks), summary, smoke, settings, main=first.main)


def _joined(results: Sequence[Result], names: Sequence[str], costs: Sequence[Mapping[str, float]]) -> Table:
    """The results, how many seeds each has, and what its runs took."""
    known = costs or [{}] * len(results)
    rows = tuple(
        (name, len(result.settings.get("seeds", ())), cost.get("runs"), cost.get("cpu_seconds_with_reused"))
        for name, result, cost in zip(names, results, known, strict=True)
    )
    caption = "CPU-seconds: of all runs that a result rests on; runs that several results share count in each."
    return Table("What was joined", ("data set or model", "seeds", "runs", "CPU-seconds"), rows, caption)


def _methods(results: Sequence[Result], names: Sequence[str], left_out: Sequence[str]) -> str:
    def seeds(result: Result) -> int:
        return len(result.settings.get("seeds", ()))

    each = ", ".join(f"{name} ({seeds(result)} seeds)" for name, result in zip(names, results, strict=True))
    parts = [
        f"Joined: {each}. The effect of a claim on a data set is the estimate that its verdict rests on there; its "
        "standard error is that interval's half width over its quantile.",
        "Each data set has its own true effect, drawn around an average (random effects). The between variance is "
        "Paule and Mandel's; the average has the Knapp–Hartung interval with a variance factor of at least 1 and k − 1 "
        "degrees of freedom. The prediction interval says where the true effect of one more such data set is expected; "
        "it is drawn from the confidence distribution of the between variance (Nagashima and others 2019). Equal "
        "effects are tested by Welch's test. Words are those of the claim's own rule (border, margin, direction) at "
        "95% for the average; the corrected words hold for all pooled claims together (Holm).",
        "Data sets that somebody chose are no random sample of all: the average is one over data sets like these.",
    ]
    if left_out:
        parts.append(f"Not pooled: {'; '.join(left_out)}.")
    return "\n\n".join(parts)
