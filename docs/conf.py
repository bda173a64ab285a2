"""The site that `make docs` builds: the pages as they are, an executed notebook, the API from the docstrings.

The source is the whole repository, so that a link leads to the same page on the site as in the checkout.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from sphinx.application import Sphinx

logging.getLogger("traitlets").setLevel(logging.WARNING)  # a library of the theme turns on the notes of all others

project = "nngeom"
author = "The nngeom authors"
release = re.findall(r'^version = "(.*)"$', (Path(__file__).parent.parent / "pyproject.toml").read_text(), re.M)[0]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**.md"]
exclude_patterns = [".*", "build", "outputs"]  # else each file there is looked at

html_theme = "furo"
html_title = f"nngeom {release}"
html_show_sourcelink = html_show_copyright = False
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # a folder, such as conf/, is text on the site; the tests look at all links
nb_execution_mode = "force"
nb_execution_in_temp = True  # the run that it makes does not stay
nb_execution_raise_on_error = True
autodoc_typehints = "none"  # docstrings say which shapes
autodoc_member_order = "bysource"
smartquotes_action = "D"  # dashes only: phi'(z) stays as it is
default_role = "literal"  # docstrings write names as Markdown does, in single backticks

CONTENTS = """
```{toctree}
:hidden:
:caption: Start
docs/notebooks/first-run
docs/guide
docs/config
docs/reading-a-figure
docs/statistics
docs/gallery
docs/troubleshooting
docs/glossary
```
```{toctree}
:hidden:
:caption: Experiments
docs/probes
docs/sweeps
docs/reproduction
docs/performance
docs/security
```
```{toctree}
:hidden:
:caption: Library
docs/geometry
docs/conventions
docs/theory
docs/api
```
```{toctree}
:hidden:
:caption: Development
CONTRIBUTING
docs/adding
docs/architecture
CHANGELOG
```
"""


def add_contents(_: Sphinx, name: str, source: list[str]) -> None:
    """The side bar's pages, of which the README knows nothing."""
    if name == root_doc:
        source[0] += CONTENTS


def escape(_app: Sphinx, _what: str, _name: str, _thing: object, _options: object, lines: list[str]) -> None:
    """Docstrings are plain text with names in backticks: elsewhere a star is a star, and a bar a bar."""
    example = False
    for place, line in enumerate(lines):
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        if not example:
            parts = line.split("`")
            parts[::2] = [re.sub(r"([*|])", r"\\\1", part) for part in parts[::2]]
            lines[place] = "`".join(parts)


def setup(app: Sphinx) -> None:
    """Sphinx calls this by its name."""
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", escape, priority=100)  # before napoleon's
