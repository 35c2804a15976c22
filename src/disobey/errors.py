"""`Refusal`: input that cannot be used. It has an id for programs and one sentence for people; every room raises it.

>>> raise refusal("few-seeds", "at least one seed", "none", "--seeds 0 1 2")
Traceback (most recent call last):
    ...
disobey.errors.Refusal: expected at least one seed; got none; try --seeds 0 1 2
"""

from __future__ import annotations

LIMIT = 300  # characters of a foreign text (a file's, a library's) that a message quotes


class Refusal(ValueError):
    """Unusable input or options: the command line prints the sentence and exits with status 2.

    Attributes:
        id: kebab-case name of what is wrong, the same in every release; tests and programs compare it, not the words.
    """

    def __init__(self, id: str, sentence: str):
        super().__init__(id, sentence)  # both are arguments, so that it survives a trip between processes
        self.id = id

    def __str__(self) -> str:
        return self.args[1]


def refusal(id: str, expected: str, got: object, attempt: str = "", *, where: object = "") -> Refusal:
    """The one form of every refusal: where, what was expected, what was got, what to try.

    Args:
        id: kebab-case name of what is wrong.
        expected: what would have been accepted.
        got: what was given; may be text of a file or of a library, which is cut and cleaned.
        attempt: what to try, as an instruction.
        where: the file, option or argument.

    >>> refusal("no-label", "a column 'label'", "only 'text'", "rename one", where="a.csv").id
    'no-label'
    """
    place = f"{printable(where)}: " if str(where) else ""
    hint = f"; try {attempt}" if attempt else ""
    return Refusal(id, f"{place}expected {expected}; got {printable(got)}{hint}")


def printable(text: object, limit: int = LIMIT) -> str:
    r"""Foreign text on one line, safe for a terminal: no control characters, not endless.

    >>> printable("two\n lines")
    'two lines'
    """
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(str(text).split()))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
