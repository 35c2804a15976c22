"""Plain text in docstrings that reStructuredText would misread: `autodoc` asks here before it parses them."""

from __future__ import annotations

import re
from typing import Any

_LITERAL = re.compile(r"(``.+?``)", re.S)  # may run over a line's end
_GLUED = re.compile(r"(`[^`\s][^`]*`)(?=\w)")


def plain(lines: str) -> str:
    r"""Lines of prose with absolute values, products and glued names escaped.

    >>> print(plain("|x| * `Objective`s, ``a | b``"))
    \|x\| \* `Objective`\ s, ``a | b``
    """
    parts = _LITERAL.split(lines)
    for i in range(0, len(parts), 2):
        text = parts[i].replace("|", r"\|")
        text = re.sub(r"(?<![\w*\\])\*(?![\w*])", r"\\*", text)
        parts[i] = _GLUED.sub(r"\1\\ ", text)
    return "".join(parts)


def laid_out(lines: list[str]) -> list[str]:
    """A module's docstring with its indented tables as literal blocks.

    >>> laid_out(["Forms:", "    plain   (N, C)", "Else step by step."])
    ['Forms:', '', '::', '', '    plain   (N, C)', '', 'Else step by step.']
    """
    made: list[str] = []
    inside = False
    for n, line in enumerate(lines):
        indented = line.startswith("    ")
        if indented and not inside:
            before = next((text for text in reversed(lines[:n]) if text.strip()), "")
            if not before.rstrip().endswith("::"):
                made += ["", "::", ""]
        if inside and line.strip() and not indented:
            made.append("")
        made.append(line)
        inside = indented or (inside and not line.strip())
    return made


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """The handler of ``autodoc-process-docstring``: changes ``lines`` in place."""
    del app, name, obj, options
    text = laid_out(lines) if what == "module" else list(lines)
    doctest = False
    prose: list[int] = []
    for n, line in enumerate(text):
        doctest = line.lstrip().startswith(">>>") or (doctest and bool(line.strip()))
        if not doctest and not (what == "module" and line.startswith("    ")):
            prose.append(n)
    changed = plain("\n".join(text[n] for n in prose)).split("\n") if prose else []
    for n, line in zip(prose, changed, strict=True):
        text[n] = line
    lines[:] = text
