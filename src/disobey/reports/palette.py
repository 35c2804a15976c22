"""Colours, dashes and shapes: distinct to colour-blind eyes, in the dark and on a black-and-white printer.

Figures are drawn once, in the light colours below. A light colour is also a *name*: the page's style sheet repaints
``[fill="#12355b"]`` in the dark. So the interactive figure, the static one and the SVG file are the same drawing,
nothing is redrawn when the theme changes, and paper always gets the light colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

# (light, dark). Every light colour occurs once: it is the key that the style sheet repaints by.
INK = ("#1b1f24", "#e6e9ec")
MUTED = ("#59636e", "#a3adb8")
GRID = ("#e4e7eb", "#2b3138")
EDGE = ("#99a2ad", "#5b6570")
PAPER = ("#fffffe", "#14171b")

# Lightness 21, 53, 71, 58, 36, 79, 45 of 100: neighbours in the order differ on a grey printer.
SERIES = (
    ("#12355b", "#dce8f7"),
    ("#d55e00", "#ff9147"),
    ("#56b4e9", "#3d8bc4"),
    ("#009e73", "#2cc79a"),
    ("#8a3b7a", "#dd92cd"),
    ("#e6b800", "#f2d14b"),
    ("#6b7280", "#98a1ad"),
)
SHAPES = ("circle", "triangle-up", "square", "diamond", "cross", "triangle-down", "triangle-right")
DASHES = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3), (12, 3), (1, 4), (4, 2, 1, 2, 1, 2))

# More is darker on paper and lighter in the dark.
RAMP = (
    ("#dde7f1", "#203247"),
    ("#bacfe4", "#2b4a6b"),
    ("#95b6d6", "#376493"),
    ("#6f9bc5", "#4c82b8"),
    ("#4a7eb0", "#74a4d3"),
    ("#2b6095", "#a6c8ea"),
    ("#13406f", "#dceafa"),
)
# Below zero, about zero, above zero.
DIVERGING = (
    ("#8f3d02", "#ffb273"),
    ("#cf6e22", "#c9752f"),
    ("#f1bd90", "#7a4a24"),
    ("#eceef1", "#2a2f36"),
    ("#a1c6e7", "#2c5273"),
    ("#4c88c0", "#5292cc"),
    ("#123b69", "#b9dbfa"),
)
ON_STRONG = ("#fdfdff", "#0e1114")  # text on the strongest cells of a ramp
ON_WEAK = ("#16191d", "#e9ecef")

# The cast of every report keeps its colours in every figure: who speaks, and what is known of an example.
ROLES = ("teacher", "student", "twin")
KNOWN = {name: i for i, name in enumerate(ROLES)} | {
    "control": 2,
    "control (twin)": 2,
    "self student": 1,
    "self control": 2,
    "self control (twin)": 2,
    "wrong": 4,
    "teacher wrong": 4,
    "trained on a wrong label": 5,
    "right": 6,
    "teacher right": 6,
    "unknown": 6,
}


@dataclass(frozen=True)
class Style:
    """How one series is drawn: a colour, and for who sees none a shape and a dash."""

    colour: str
    shape: str
    dash: tuple[int, ...]


def style(place: int) -> Style:
    """The style of a place: a second round of the colours comes with other shapes and dashes, so pairs stay distinct.

    >>> style(0) == style(7), style(0).colour == style(7).colour
    (False, True)
    """
    shifted = (place + place // len(SERIES)) % len(SERIES)
    return Style(SERIES[place % len(SERIES)][0], SHAPES[shifted], DASHES[shifted])


def cast(charts: Iterable[Sequence[str]]) -> Mapping[str, Style]:
    """One style for every level over all charts of a page: a colour has one meaning wherever it is seen.

    Levels of one chart always differ. Levels of different charts share a colour only where the page has more of them
    than there are colours, and then in another shape and dash.

    Args:
        charts: the levels of each chart, in their order.

    >>> made = cast([["right", "wrong"], ["student", "big student"], ["twin", "big student"]])
    >>> len({s.colour for s in made.values()})
    5
    """
    charts = [list(levels) for levels in charts]
    named = dict.fromkeys(level for levels in charts for level in levels)
    places = {level: KNOWN[level] for level in named if level in KNOWN}
    for levels in charts:  # two names of one role in one chart, "control" and "twin" say, are told apart all the same
        met: set[int] = set()
        for level in levels:
            if level in places and places[level] in met:
                del places[level]
            elif level in places:
                met.add(places[level])
    taken = set(places.values())
    for level in named:
        if level not in places:
            beside = {places[other] for levels in charts if level in levels for other in levels if other in places}
            places[level] = _free(taken, {place % len(SERIES) for place in beside})
            taken.add(places[level])
    return {level: style(place) for level, place in places.items()}


def _free(taken: set[int], beside: set[int]) -> int:
    """The first place that nobody has, if there is one in a colour that is not seen beside it."""
    first = next(place for place in count() if place not in taken)
    two_rounds = range(2 * len(SERIES))
    return next((p for p in two_rounds if p not in taken and p % len(SERIES) not in beside), first)


def dark_rules() -> str:
    """The style sheet's lines that repaint figures in the dark.

    >>> dark_rules().splitlines()[0]
    '.plot svg [fill="#1b1f24"]{fill:#e6e9ec}'
    """
    pairs = (INK, MUTED, GRID, EDGE, PAPER, *SERIES, *RAMP, *DIVERGING, ON_STRONG, ON_WEAK)
    assert len({light for light, _ in pairs}) == len(pairs), "a light colour names two dark ones"
    return "\n".join(
        f'.plot svg [{channel}="{light}"]{{{channel}:{dark}}}'
        for light, dark in pairs
        for channel in ("fill", "stroke")
    )
