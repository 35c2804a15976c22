"""One pass over a pair that does not fit in memory: the columns that measures need, block by block.

What `measures.deviation.confidence`, `agreement.choices`, `calibration.scores`, forward and reverse KL and
`information.softness` compute from float64 log-probabilities is computed here from the stored numbers directly, each
block staying in the processor's cache. Half precision becomes float32 by moving bits; rows outside of its safe range,
and every other type, are computed in float64. Tests compare both with the measures' own columns.

Why by hand: a million rows of a thousand classes in float16 are 4 GB. NumPy's own conversion to float32, and a
log-softmax in float64 with its temporary arrays, take several times as long as reading them; this takes about as long
(benchmarks/diagnose.py).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from disobey.diagnosis.input.score_types import as_logits
from disobey.measures.agreement import divergences
from disobey.records.predictions import Predictions

SAFE = 40.0  # |largest logit| up to which squares of float32 exponentials neither overflow nor vanish
FINITE = 65_504.0  # the largest number of half precision


@dataclass(frozen=True)
class Softmax:
    """A block of logits z with e = exp(z − shift). z, e: (B, C); the others (B,).

    rest is the sum of e without the most likely class, so that total − e[top] never cancels.
    """

    z: NDArray
    e: NDArray
    shift: NDArray
    top: NDArray
    rest: NDArray
    total: NDArray

    @property
    def log_total(self) -> NDArray:
        """Log-sum-exp of the logits, (B,)."""
        return self.shift + np.log(self.total)

    def log_odds(self, classes: NDArray) -> NDArray:
        """Log-odds of one class a row against all the others."""
        rows = np.arange(len(self.top))
        rest = self.rest
        other = np.flatnonzero(classes != self.top)
        if len(other):
            kept = self.e[other]
            kept[np.arange(len(other)), classes[other]] = 0
            rest = rest.copy()
            rest[other] = kept.sum(axis=1)
        with np.errstate(divide="ignore"):
            log_rest = self.shift + np.log(rest)
        lost = np.flatnonzero(rest < 1e-290) if self.z.dtype == np.float64 else ()
        if len(lost):  # everything else is more than 650 nats away: exponentials of it vanish, logarithms do not
            others = self.z[lost]
            others[np.arange(len(lost)), classes[lost]] = -np.inf
            log_rest[lost] = logsumexp(others, axis=1)
        return self.z[rows, classes] - log_rest


def softmax_float64(block: NDArray, values: str, where: str, numbers: NDArray) -> Softmax:
    """From any stored rows with these ``numbers``, in float64. Raises `ValueError` naming unusable rows."""
    z = as_logits(block, values, where, numbers)
    top = z.argmax(axis=1)
    shift = z[np.arange(len(z)), top]
    e = np.exp(z - shift[:, None])
    return Softmax(z, e, shift, top, *_sums(e, top))


def _sums(e: NDArray, top: NDArray) -> tuple[NDArray, NDArray]:
    """(sum without the most likely class, whole sum)."""
    rows = np.arange(len(e))
    of_top = e[rows, top]
    e[rows, top] = 0
    rest = np.vecdot(e, np.ones(e.shape[1], e.dtype))  # three times as fast as sum
    e[rows, top] = of_top
    return rest, rest + of_top


def widened(half: NDArray, out: NDArray) -> NDArray:
    """float16 to float32 by moving bits: sign-extend, shift, clear the copies of the sign, rescale the exponent.

    NumPy's own conversion, one number at a time, takes ten times as long. Infinities and NaN come out as numbers of
    65,536 and more.
    """
    bits = out.view(np.uint32)
    bits.view(np.int32)[...] = half.view(np.int16)
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, np.uint32(0x8FFFE000), out=bits)
    return np.multiply(out, np.float32(2.0**112), out=out)


class HalfBuffers(threading.local):
    """Work space for blocks of float16 logits, one a thread: reused, so that a block never leaves the cache."""

    def __init__(self, rows: int, classes: int):
        self.z = np.empty((rows, classes), np.float32)
        self.e = np.empty((rows, classes), np.float32)

    def softmax(self, block: NDArray) -> Softmax:
        """Valid until the next call. Rows with |largest logit| > `SAFE` come out wrong and are redone by the caller."""
        n = len(block)
        z, e = widened(block, self.z[:n]), self.e[:n]
        np.exp(z, out=e)
        top = z.argmax(axis=1)
        return Softmax(z, e, np.zeros(n, np.float32), top, *_sums(e, top))


TEACHER = ("x", "rest", "entropy")
MODEL = ("top",)
LABELLED = ("nll", "brier", "confidence", "right")
PAIRED = ("y", "kl", "reverse_kl", "agree")


def column_names(others: list[str], labels: bool) -> list[str]:
    """Names of all columns, ``teacher.x`` and ``student.y`` for instance."""
    names = [f"teacher.{c}" for c in TEACHER]
    names += [f"{m}.{c}" for m in ("teacher", *others) for c in (*MODEL, *(LABELLED if labels else ()))]
    return names + [f"{m}.{c}" for m in others for c in PAIRED]


def empty_columns(n: int, names: list[str]) -> dict[str, NDArray]:
    """Room for the whole pass: float32, or what the column is."""
    kinds = {"top": np.int32, "right": bool}
    return {name: np.empty(n, kinds.get(name.split(".")[-1], np.float32)) for name in names}


def block_columns(models: dict[str, Softmax], labels: NDArray | None) -> dict[str, NDArray]:
    """The columns of one block; the first of ``models`` is the teacher."""
    teacher = models["teacher"]
    own = {name: np.vecdot(m.e, _quiet_zeros(m)) for name, m in models.items()}
    out = {
        "teacher.x": teacher.log_odds(teacher.top),
        "teacher.rest": teacher.rest / teacher.total,
        "teacher.entropy": teacher.log_total - own["teacher"] / teacher.total,
    }
    for name, model in models.items():
        out[f"{name}.top"] = model.top
        if labels is not None:
            rows = np.arange(len(labels))
            squares = np.vecdot(model.e, model.e) / model.total**2
            out[f"{name}.nll"] = model.log_total - model.z[rows, labels]
            out[f"{name}.brier"] = squares - 2 * model.e[rows, labels] / model.total + 1
            out[f"{name}.confidence"] = (model.total - model.rest) / model.total
            out[f"{name}.right"] = model.top == labels
        if name != "teacher":
            out |= _paired(name, teacher, model, own)
    return out


def _paired(name: str, teacher: Softmax, model: Softmax, own: dict[str, NDArray]) -> dict[str, NDArray]:
    crossed = np.vecdot(teacher.e, _where_weighed(model, teacher))
    reverse = np.vecdot(model.e, _where_weighed(teacher, model))
    kl = (own["teacher"] - crossed) / teacher.total - teacher.log_total + model.log_total
    reverse_kl = (own[name] - reverse) / model.total - model.log_total + teacher.log_total
    return {
        f"{name}.y": model.log_odds(teacher.top),
        f"{name}.kl": np.maximum(kl, 0),
        f"{name}.reverse_kl": np.maximum(reverse_kl, 0),
        f"{name}.agree": (teacher.top == model.top).astype(np.float32),
    }


def _quiet_zeros(model: Softmax) -> NDArray:
    """Logits with 0 where they are infinite: 0 · inf is 0 in an entropy."""
    return model.z if model.z.dtype == np.float32 else np.where(np.isfinite(model.z), model.z, 0.0)


def _where_weighed(model: Softmax, weights: Softmax) -> NDArray:
    """Logits of one model where another's probability is above 0 (−inf makes the divergence infinite), else finite."""
    if model.z.dtype == np.float32:
        return model.z
    return np.where((weights.e > 0) | np.isfinite(model.z), model.z, 0.0)


def doubtful(models: dict[str, Softmax], columns: dict[str, NDArray]) -> NDArray:
    """Rows of the float32 way that must be redone in float64."""
    bad = np.zeros(len(next(iter(columns.values()))), dtype=bool)
    for model in models.values():
        top = model.z[np.arange(len(bad)), model.top]
        bad |= ~(np.abs(top) <= SAFE) | ~(model.rest > 1e-30) | ~np.isfinite(model.total)
        if model.z.min() < -FINITE:  # minus infinity, which the bits turned into a number
            bad |= model.z.min(axis=1) < -FINITE
    for name, column in columns.items():
        if name.endswith("kl"):
            bad |= ~(column < 500)
    return np.flatnonzero(bad)


def columns_of_block(
    blocks: dict[str, NDArray],
    values: Mapping[str, str],
    where: dict[str, str],
    start: int,
    labels: NDArray | None,
    buffers: dict[str, HalfBuffers] | None,
) -> dict[str, NDArray]:
    """All columns of one block of stored numbers: by the fast way where ``buffers`` are given, rows of it redone."""
    numbers = start + np.arange(len(next(iter(blocks.values()))))
    if buffers is None:
        models = {k: softmax_float64(b, values[k], where[k], numbers) for k, b in blocks.items()}
        with np.errstate(invalid="ignore"):
            return block_columns(models, labels)
    with np.errstate(all="ignore"):
        models = {name: buffers[name].softmax(block) for name, block in blocks.items()}
        columns = block_columns(models, labels)
    again = doubtful(models, columns)
    if len(again):
        exact = {k: softmax_float64(b[again], values[k], where[k], numbers[again]) for k, b in blocks.items()}
        with np.errstate(invalid="ignore"):
            redone = block_columns(exact, None if labels is None else labels[again])
        for name, column in redone.items():
            columns[name] = columns[name].copy()
            columns[name][again] = column
    return columns


def forward_and_reverse(predictions: Predictions) -> tuple[NDArray, ...]:
    """Columns (KL, reverse KL): those divergences that one pass has."""
    return divergences(1.0)(predictions)[:2]
