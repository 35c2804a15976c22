"""One study on several data sets or models: each claim on average, on the next data set, and with each one left out.

A published claim is about settings in general; one data set is one draw of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from disobey.errors import refusal
from disobey.figures.forest import Forest, each_table, forest_chart, pooled_table
from disobey.measures.inference.pooling import Pooled, leave_one_out, standard_error
from disobey.measures.inference.pooling import pool as pool_effects
from disobey.measures.inference.sequential import half_width_factor
from disobey.records.results import Block, Claim, Estimate, Result, Text, Verdict

LABELS = ("data", "group", "tasks", "task", "teacher", "students", "student", "train", "augment", "steps")
RULE = ("text", "source", "rule", "border", "margin", "direction", "unit")


def pool(results: Sequence[Result]) -> Result:
    """Joins the results of one study on several data sets or models.

    Args:
        results: of `disobey run`, read with `Result.read`; each on other data, or with other models.

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
    for name, result in zip(names, results, strict=True):
        for claim in result.of(Claim):
            found.setdefault((claim.name, claim.levels or claim.setting), {})[name] = claim
    _same_rules(found.values())
    by_anytime = {name: bool(r.settings.get("until_settled")) for name, r in zip(names, results, strict=True)}
    forests, left_out = [], []
    for (id, _), claims in found.items():
        effects = {name: _deciding(claim) for name, claim in claims.items()}
        errors = {name: _error(effect, by_anytime[name]) for name, effect in effects.items()}
        usable = {name: claims[name] for name in claims if errors[name] > 0 and math.isfinite(effects[name].value)}
        missing = [name for name in names if name not in usable]
        if len(usable) < 2:
            left_out.append(f"{id} ({next(iter(claims.values())).setting or 'no setting'})")
            continue
        forests.append(_forest(usable, {name: errors[name] for name in usable}, missing))
    if not forests:
        raise refusal("pool-nothing", "a claim with an interval in at least two results", "none", "more seeds a result")
    return _result(results, names, forests, left_out)


def _checked(results: Sequence[Result]) -> tuple[str, ...]:
    """Names of the results by what sets them apart."""
    if len(results) < 2:
        raise refusal("pool-few-results", "results on at least two data sets or models", len(results))
    studies = sorted({result.study for result in results})
    if len(studies) > 1:
        attempt = "the results of one study at a time"
        raise refusal("pool-mixed-studies", "results of one study", ", ".join(studies), attempt)
    varying = [k for k in LABELS if len({_words(r.settings.get(k)) for r in results}) > 1]
    full = [", ".join(_words(result.settings[k]) for k in varying if result.settings.get(k)) for result in results]
    twice = sorted({name or "the same settings" for name in full if full.count(name) > 1})
    if twice:
        attempt = "each data set or model once; seeds of one belong into one run"
        raise refusal("pool-same-data", "other data or models in every result", f"twice: {', '.join(twice)}", attempt)
    short = [", ".join(_short(result.settings[k]) for k in varying if result.settings.get(k)) for result in results]
    return tuple(short if len(set(short)) == len(short) else full)


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
        for part in RULE:
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


def _forest(claims: Mapping[str, Claim], errors: Mapping[str, float], missing: Sequence[str]) -> Forest:
    first = next(iter(claims.values()))
    each = {name: _deciding(claim) for name, claim in claims.items()}
    values, spread = [e.value for e in each.values()], list(errors.values())
    title = f"{_deciding(first).name}, average over data sets"
    joined = pool_effects(values, spread, title, runs=[e.n for e in each.values()])
    without: dict[str, Pooled] = {}
    if len(each) > 2:
        without = dict(zip(each, leave_one_out(values, spread, title), strict=True))
    verdict = word(joined.mean, first)
    labelled = tuple(replace(e, name=f"{e.name}, {name}") for name, e in each.items())
    pooled = Claim(
        first.text,
        first.source,
        verdict,
        (joined.mean, joined.prediction, *labelled),
        first.rule,
        first.name,
        first.setting,
        _note(first, joined, without, verdict, missing),
        id=first.id,
        border=first.border,
        margin=first.margin,
        direction=first.direction,
        unit=first.unit,
        levels=first.levels,
    )
    return Forest(pooled, each, joined, without)


def word(estimate: Estimate, rule: Claim) -> Verdict:
    """The word of an interval by a claim's border, margin and direction."""
    if not estimate.known:
        return "undecided"
    above, below = estimate.low > rule.border, estimate.high < rule.border
    if rule.direction == 0:  # as good as the border
        near = rule.border - rule.margin < estimate.low and estimate.high < rule.border + rule.margin
        far = estimate.low > rule.border + rule.margin or estimate.high < rule.border - rule.margin
        return "supported" if near else "contradicted" if far else "undecided"
    if rule.margin and rule.border - rule.margin < estimate.low and estimate.high < rule.border + rule.margin:
        return "negligible"
    if above or below:
        return "supported" if above == (rule.direction > 0) else "contradicted"
    return "undecided"


def _note(claim: Claim, joined: Pooled, without: Mapping[str, Pooled], verdict: Verdict, missing: Sequence[str]) -> str:
    """What to expect on the next data set, and whether one of them carries the word."""
    parts = []
    if joined.prediction.known:
        parts.append(_expected(claim, joined.prediction))
    changed = [f"{word(p.mean, claim)} without {name}" for name, p in without.items() if word(p.mean, claim) != verdict]
    if without:
        parts.append(f"The word would be {', '.join(changed)}." if changed else "No single data set carries the word.")
    if missing:
        parts.append(f"Without an interval, hence left out: {', '.join(missing)}.")
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
    results: Sequence[Result], names: Sequence[str], forests: Sequence[Forest], left_out: Sequence[str]
) -> Result:
    first = results[0]
    ids = dict.fromkeys(forest.claim.name for forest in forests)
    blocks: list[Block] = [forest.claim for forest in forests]
    blocks += [forest_chart([forest for forest in forests if forest.claim.name == id]) for id in ids]
    blocks += [pooled_table(forests), each_table(forests), Text("Methods", _methods(results, names, left_out))]
    words = [forest.claim.verdict for forest in forests]
    counted = ", ".join(f"{words.count(w)} {w}" for w in dict.fromkeys(words))
    summary = f"Over {len(results)} data sets or models ({', '.join(names)}): of {len(words)} claims, {counted}."
    settings = {"pooled": list(names), "study": first.study}
    smoke = any(result.smoke for result in results)
    return Result(f"{first.study}-pooled", first.question, tuple(blocks), summary, smoke, settings)


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
        "95% for the average; they are not corrected for the number of claims.",
        "Data sets that somebody chose are no random sample of all: the average is one over data sets like these.",
    ]
    if left_out:
        parts.append(f"With an interval in fewer than two results, hence not pooled: {', '.join(left_out)}.")
    return "\n\n".join(parts)
