"""Sphinx: Markdown pages, Google docstrings, the PyData theme; nothing is loaded from a network."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "src")]
warnings.filterwarnings("ignore")  # of optional packages that autodoc imports

from generate import docstrings, gallery, notebooks, reference  # noqa: E402

import disobey  # noqa: E402

project = "Disobey"
author = "The Disobey contributors"
project_copyright = author
release = version = disobey.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "generate", "**/result.json"]
suppress_warnings = [
    "toc.empty_glob",
    "ref.python",  # a short name that several classes have
]
myst_enable_extensions = ["colon_fence", "attrs_inline", "deflist"]
myst_heading_anchors = 3

highlight_language = "text"
default_role = "py:obj"
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
autodoc_typehints = "signature"
autodoc_default_options = {"exclude-members": "__init__, __new__"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_preprocess_types = True

html_theme = "pydata_sphinx_theme"
html_title = f"Disobey {release}"
html_static_path = ["_static"]
html_extra_path = ["_build/reports"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options: dict[str, Any] = {
    "logo": {"text": "Disobey"},
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
    "pygments_dark_style": "github-dark",
}
html_sidebars = {"index": [], "glossary": [], "changelog": [], "contributing": [], "gallery/index": []}


def _generate(app: Any) -> None:
    """Draws the gallery's reports."""
    del app
    gallery.redraw(DOCS / "gallery", DOCS / "_build" / "reports" / "gallery")


(DOCS / "_build" / "reports").mkdir(parents=True, exist_ok=True)
for _name, _text in (reference.pages() | notebooks.pages(DOCS.parent / "examples" / "notebooks")).items():
    (DOCS / _name).parent.mkdir(parents=True, exist_ok=True)
    (DOCS / _name).write_text(_text, encoding="utf-8")


def setup(app: Any) -> None:
    """What Sphinx calls first."""
    app.connect("builder-inited", _generate)
    app.connect("autodoc-process-docstring", docstrings.process, priority=400)  # before napoleon
