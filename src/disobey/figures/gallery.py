"""The examples on which a student departs most from its teacher, one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from disobey.errors import printable
from disobey.figures.examples import class_word, most_likely, pixels
from disobey.measures.deviation import log_odds
from disobey.records.predictions import Predictions
from disobey.records.results import Exhibit, Gallery, Guess, Levels

LOWEST = -100.0  # log-probability that stands for a probability of 0: a large deviation, not an infinite one
TEXT = 600  # characters of a text that are shown


class Look(NamedTuple):
    """What an example looks like: a text, an image ((H, W), (H, W, 3) or (3, H, W)), both, or neither."""

    text: str = ""
    image: NDArray | None = None


Show: TypeAlias = Callable[[NDArray], Sequence[Look]]  # rows of the predictions -> their looks, read in one pass


def most_disobeyed(
    predictions: Predictions,
    title: str,
    show: Show | None = None,
    *,
    count: int = 12,
    levels: Levels = (),
    about: str = "",
) -> Gallery:
    """The examples with the largest change of the log-odds of the teacher's class, largest first.

    Args:
        predictions: teacher and student, and the twin where there is one.
        title: above the gallery.
        show: what the examples in these rows look like.
        count: how many examples.
        levels: what sets these examples apart from others under the same title.
        about: which model it is, for the caption.
    """
    p = predictions
    top = np.asarray(p.teacher).argmax(axis=1)
    x, y = (log_odds(_lifted(side), top) for side in (p.teacher, p.student))
    gap = np.where(np.isfinite(y - x), y - x, 0.0)
    rows = np.argsort(-np.abs(gap), kind="stable")[:count]
    looks = [Look()] * len(rows) if show is None else show(rows)
    exhibits = []
    for row, look in zip(rows, looks, strict=True):
        lines = [f"label: {class_word(p, p.labels[row])}"] if p.labels is not None else []
        sides = {"teacher": p.teacher, "student": p.student, "control (twin)": p.twin}
        guesses = (Guess(who, most_likely(p, side[row])) for who, side in sides.items() if side is not None)
        lines.append(f"log-odds: {x[row]:+.1f} → {y[row]:+.1f} ({gap[row]:+.2f} nats)")
        image = () if look.image is None else pixels(look.image)
        name, text = printable(p.ids[row], 80), printable(look.text, TEXT)
        exhibits.append(Exhibit(f"example {name}", tuple(lines), text, image, tuple(guesses), name))
    caption = (
        "Largest changes of the log-odds of the teacher's most likely class, from teacher to student; "
        f"the three most likely classes of each model. {about}"
    )
    return Gallery(title, tuple(exhibits), caption.rstrip(), levels)


def _lifted(log_probs: NDArray) -> NDArray:
    log_probs = np.asarray(log_probs)
    return np.maximum(log_probs, LOWEST) if np.isneginf(log_probs).any() else log_probs
