"""Documentation stays true: generated pages are current, links and named files exist, the site builds offline."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *DOCS.glob("**/*.md"), *ROOT.glob("benchmarks/*.md"))
    if not {"_build", "api"} & set(page.parts)
)
SOURCES = sorted(
    path for folder in ("src", "tests", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")
)
# Named in code under their old place; a line goes when the code is mended.
MOVED = {
    "docs/experiments": "docs/experiments/index.md",
    "docs/guides/data.md": "docs/guides/data.md",
    "docs/guides/fixed-point-layers.md": "docs/guides/fixed-point-layers.md",
    "docs/guides/models.md": "docs/guides/models.md",
    "docs/studies": "docs/studies/index.md",
    "docs/guides/targets.md": "docs/guides/targets.md",
}


@pytest.fixture(scope="module")
def build():
    sys.path.insert(0, str(DOCS))  # docs/generate
    spec = importlib.util.spec_from_file_location("docs_build", DOCS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(DOCS))


def test_generated_pages_are_what_the_code_says(build):
    assert build.stale() == [], "run make docs"


def test_an_experiment_without_its_head_is_refused(build, tmp_path):
    good = next((DOCS / "experiments").glob("2*.md"))
    text = good.read_text(encoding="utf-8")
    for broken in (text.replace("**Answer.**", "Answer."), text.replace("\n---\n", "\n\n"), text.removeprefix("# ")):
        path = tmp_path / good.name
        path.write_text(broken, encoding="utf-8")
        with pytest.raises(ValueError, match="a title, the fields"):
            build.experiments.read(path)
    path.write_text(text, encoding="utf-8")
    assert build.experiments.read(path).date == good.name[:10]


def test_docstrings_are_laid_out_for_the_site(build):
    import doctest

    from generate import docstrings

    assert doctest.testmod(docstrings).failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s,]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_lines_of_experiments_fit_a_screen():
    for page in (DOCS / "experiments").glob("2*.md"):
        for n, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
            assert len(line) <= 120 or line.startswith("|"), f"{page.name}:{n}"


def test_pages_that_the_code_names_exist():
    for path in SOURCES:
        for name in re.findall(r"\b(?:docs|benchmarks)/[\w./-]+\.(?:md|py)\b", path.read_text(encoding="utf-8")):
            assert (ROOT / MOVED.get(name, name)).exists(), f"{path.name} names {name}"


def test_the_readme_names_commands_that_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"^make ([\w-]+)", page.read_text(encoding="utf-8"), re.M):
            assert f"\n{target}:" in makefile, f"{page.name} names make {target}"
    assert "make ci" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_a_notebook_is_a_page_with_and_without_a_kernel(build, tmp_path, monkeypatch):
    import json

    from generate import notebooks

    code = {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": [], "source": ["6 * 7"]}
    about = {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    text = json.dumps({"cells": [code], "metadata": about, "nbformat": 4, "nbformat_minor": 5})
    (tmp_path / "n.ipynb").write_text(text, encoding="utf-8")
    assert "42" not in notebooks.pages(tmp_path, execute=False)["tutorials/notebooks/n.md"]
    monkeypatch.setitem(sys.modules, "nbformat", None)
    assert "6 * 7" in notebooks.pages(tmp_path)["tutorials/notebooks/n.md"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_notebooks_run(build):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    from generate import notebooks

    found = notebooks.pages(ROOT / "examples" / "notebooks")
    assert len(found) == 2
    assert all("nb-output" in text for text in found.values())
