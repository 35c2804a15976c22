"""Colours, dashes and shapes: distinct to colour-blind eyes, in the dark and on a black-and-white printer.

Figures are drawn once, in the light colours below. A light colour is also a *name*: the page's style sheet repaints
``[fill="#12355b"]`` in the dark. So the interactive figure, the static one and the SVG file are the same drawing,
nothing is redrawn when the theme changes, and paper always gets the light colours.
"""

from __future__ import annotations

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

# The cast of every report keeps its colours in every figure.
ROLES = ("teacher", "student", "twin")


def series_styles(levels: list[str]) -> tuple[list[str], list[str], list[list[int]]]:
    """A colour, a shape and a dash for every level: the three known roles always look the same.

    >>> series_styles(["twin", "a", "teacher"])[0]
    ['#56b4e9', '#d55e00', '#12355b']
    """
    free = (i for i in count() if i >= len(ROLES) or ROLES[i] not in levels)
    indices = [ROLES.index(level) if level in ROLES else next(free) for level in levels]
    colours = [SERIES[i % len(SERIES)][0] for i in indices]
    # A second round of the colours comes with shifted shapes and dashes, so that pairs stay distinct.
    shifted = [(i + i // len(SERIES)) % len(SERIES) for i in indices]
    return colours, [SHAPES[i] for i in shifted], [list(DASHES[i]) for i in shifted]


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
