"""Notebooks of `examples/notebooks` as pages: executed where nbclient and a kernel are, else as they are kept.

A cell that fails ends the build, so a notebook that is on the site has run.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

FOLDER = "tutorials/notebooks"
SECONDS = 300  # a cell may take


def pages(folder: Path, *, execute: bool = True) -> dict[str, str]:
    """Text of every notebook's page, by its path below docs/."""
    made = {}
    for file in sorted(folder.glob("*.ipynb")):
        notebook = json.loads(file.read_text(encoding="utf-8"))
        made[f"{FOLDER}/{file.stem}.md"] = page(executed(notebook, folder) if execute else notebook, file.name)
    return made


def executed(notebook: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The notebook with the outputs of a run; unchanged where nothing can run it."""
    try:
        import nbformat
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
        from nbclient import NotebookClient

        KernelSpecManager().get_kernel_spec("python3")
    except ModuleNotFoundError:
        return notebook
    except NoSuchKernel:  # nbclient without ipykernel
        return notebook
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parsed = nbformat.reads(json.dumps(notebook), as_version=4)  # type: ignore[no-untyped-call]
        where = {"metadata": {"path": str(folder)}}
        NotebookClient(parsed, timeout=SECONDS, kernel_name="python3", resources=where).execute()
    return json.loads(json.dumps(parsed))


def page(notebook: dict[str, Any], name: str) -> str:
    """Markdown of a notebook; HTML outputs are raw, other ones are text.

    Example:
        >>> cell = {"cell_type": "code", "source": ["1 + 1"], "outputs": [{"data": {"text/plain": ["2"]}}]}
        >>> print(page({"cells": [{"cell_type": "markdown", "source": "# Sum"}, cell]}, "sum.ipynb").replace("`", "'"))
        # Sum
        <BLANKLINE>
        '''python
        1 + 1
        '''
        <BLANKLINE>
        '''text
        2
        '''
        <BLANKLINE>
        This page is the notebook 'examples/notebooks/sum.ipynb'.
        <BLANKLINE>
    """
    parts = []
    for cell in notebook["cells"]:
        text = _joined(cell["source"]).strip()
        if cell["cell_type"] != "code":
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        parts += [shown for output in cell.get("outputs", ()) if (shown := _output(output))]
    return "\n\n".join([*parts, f"This page is the notebook `examples/notebooks/{name}`.", ""])


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "text/html" in data:
        return f'````{{raw}} html\n<div class="nb-output">{_joined(data["text/html"])}</div>\n````'
    text = _joined(data.get("text/plain", output.get("text", ""))).strip()
    return f"```text\n{text}\n```" if text else ""


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)
