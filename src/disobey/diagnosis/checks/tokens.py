"""Two faults of language models that raise no error: another tokenizer of the same size, another template."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.checks.findings import note, ok, warning
from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.intervals import mean_of
from disobey.diagnosis.evidence.language import positions, speaks
from disobey.measures.inference.examples import mean_of as mean_over
from disobey.records.results import Finding

ERRORS = 6  # standard errors by which renamed tokens must agree better
HALF = 0.5  # of the agreement after renaming, above which tokens as they stand agree well enough
SURPRISE = 1.0  # nats by which text costs more than the teacher's own entropy: no text of its own
NOTABLE = 0.4  # nats from which that is noted
START = 8  # first tokens of a text, which a missing template or first token hits hardest
LEVEL = 0.99  # of intervals that decide
FEWEST = 100  # tokens below which neither can be seen


def tokenizers(evidence: Evidence) -> Finding | None:
    """Token numbers mean the same to teacher, student and labels, also where vocabularies are of one size.

    With another tokenizer the choices of both sides hardly agree, and yet one side's choice predicts the other's once
    tokens are renamed. A map from one to the other is found on half of the tokens and tried on the other half. Rows in
    another order, or an untrained student, have no such map.
    """
    if not speaks(evidence) or "teacher" not in evidence.tops or evidence.n < FEWEST:
        return None
    teacher, id = evidence.tops["teacher"], "tokenizers"
    others = {"student": evidence.tops["student"]}
    others |= {} if evidence.pair.labels is None else {"labels": evidence.pair.labels}
    for name, other in others.items():
        as_they_stand, renamed, common = renaming(teacher, other, evidence.seed)
        found = [mean_of(evidence, f"teacher and {name} agree", (teacher == other).astype(float))]
        error = np.sqrt(0.25 / max(1, len(teacher) // 2))
        if renamed - max(as_they_stand / HALF, common) > ERRORS * error:
            message = (
                f"Teacher and {name} choose the same token in {as_they_stand:.1%} of the places, and in {renamed:.1%} "
                "once tokens are renamed by a map that was found on the other half of the text: token numbers mean "
                f"something else to the {name}, though the vocabularies are of one size."
            )
            advice = "Compare the tokenizers by content (ids of the same words), and that one of them encoded the text."
            return warning(id, message, *found, advice=advice, case=name, invalidates=True)
    return ok(id, "No renaming of tokens makes teacher, student and labels agree better.")


def renaming(a: NDArray, b: NDArray, seed: int) -> tuple[float, float, float]:
    """Agreement of two columns of tokens on half of the rows: as they stand, after renaming, by the commonest token.

    Each token of b is renamed to the token of a that goes with it most often in the other half.

    >>> a = np.random.default_rng(0).integers(50, size=4000)
    >>> [round(share, 1) for share in renaming(a, (a + 7) % 50, seed=0)]
    [0.0, 1.0, 0.0]
    """
    half = np.random.default_rng(seed).random(len(a)) < 0.5
    width = int(a.max()) + 1
    pairs, counts = np.unique(b[half].astype(np.int64) * width + a[half], return_counts=True)
    order = np.argsort(counts, kind="stable")  # of a token the commonest partner is written last
    common = int(np.bincount(a[half]).argmax())
    partner = np.full(int(b.max()) + 1, common)
    partner[pairs[order] // width] = pairs[order] % width
    rest = ~half
    return (
        float((a[rest] == b[rest]).mean()),
        float((a[rest] == partner[b[rest]]).mean()),
        float((a[rest] == common).mean()),
    )


def own_text(evidence: Evidence) -> Finding | None:
    """The teacher finds the text about as probable as its entropy says, from the first tokens on.

    A sample of its own costs the teacher its entropy, other text of its language not much more. Without the template it
    was trained with, text is improbable, its start most of all. Of top-k lists everything beyond the list is one token
    on both sides of the comparison.
    """
    sample, id = evidence.sample, "own-text"
    if not speaks(evidence) or sample.labels is None or len(sample) < FEWEST:
        return None
    rows = np.arange(len(sample))
    with np.errstate(invalid="ignore"):
        entropy = -np.sum(np.exp(sample.teacher) * np.maximum(sample.teacher, -1e4), axis=1)
    excess = np.minimum(-sample.teacher[rows, sample.labels], 100.0) - entropy
    codes = evidence.codes_of(excess)
    parts = {"text": np.ones(len(rows), bool)}
    if evidence.codes is not None:
        first = positions(evidence.codes)[evidence.rows] < START
        if min(first.sum(), (~first).sum()) >= FEWEST:
            parts = {f"first {START} tokens": first, "the others": ~first}
    found = {
        name: mean_over(f"surprise, {name}", excess[part], LEVEL, None if codes is None else codes[part])
        for name, part in parts.items()
    }
    start, rest = next(iter(found.values())), list(found.values())[-1]
    words = ", ".join(f"{e.name.removeprefix('surprise, ')} {e.value:+.2f} nats" for e in found.values())
    message = f"What the text costs the teacher beyond its own entropy: {words} a token"
    advice = (
        "Encode text for the teacher with its own chat template and first token; take it from the tokenizer, not from "
        "the student's."
    )
    if rest.low > SURPRISE:
        return warning(
            id, f"{message}: it is improbable to it throughout.", *found.values(), advice=advice, case="text"
        )
    if start is not rest and start.low > max(SURPRISE, rest.high):
        message += ": its start is improbable to it, as without the template that the teacher knows."
        return warning(id, message, *found.values(), advice=advice, case="start")
    if max(start.low, rest.low) > NOTABLE:
        return note(id, f"{message}.", *found.values(), advice=advice, case="notable")
    return ok(id, f"{message}.", *found.values())
