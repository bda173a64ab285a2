"""The HTML of a page: one file with everything in it, that loads nothing and runs only our own script."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from nngeom_cli.errors import ConfigError, printable

__all__ = ["data_text", "document", "policy"]

BROWSER = Path(__file__).parent / "browser"
SCRIPTS = ("data", "plots", "maps", "curves", "examples", "training", "tables", "page")  # in the order they need
ENDS_SCRIPT = re.compile(r"</script|<!--", re.IGNORECASE)


def data_text(page: Mapping[str, Any], numbers: str) -> str:
    """The data of a page as JSON that can stand in HTML: no `<` in it, and no unprintable character.

    Args:
        page: values that JSON can hold; texts in it may come from anyone.
        numbers: of `Numbers.text`.

    Example:
        >>> print(data_text({"name": "<b>"}, "H4sI"))
        {"name": "\\u003cb>", "numbers": "H4sI"}
    """
    return json.dumps(_plain(page) | {"numbers": numbers}, allow_nan=False).replace("<", r"\u003c")


def _plain(value: Any) -> Any:
    """The same values with texts, keys too, on one line each and without control characters."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def document(title: str, data: str, *, served: bool = False) -> str:
    """The page.

    Args:
        title: of the window.
        data: of `data_text`.
        served: whether it may ask the server that it comes from for newer data.
    """
    scripts = [_plotly(), "\n".join((BROWSER / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)]
    parts = {
        "policy": policy(scripts, served=served),
        "title": html.escape(printable(title)),
        "style": (BROWSER / "page.css").read_text(encoding="utf-8"),
        "body": (BROWSER / "page.html").read_text(encoding="utf-8"),
        "plotly": scripts[0],
        "data": data,
        "script": scripts[1],
    }
    frame = (BROWSER / "frame.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], frame)


def policy(scripts: list[str], *, served: bool) -> str:
    """The Content-Security-Policy: these scripts run and no others, and nothing is loaded from anywhere.

    Styles are free, because plotly sets them; they can load nothing either.
    """
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    asks = "'self'" if served else "'none'"
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        f"connect-src {asks}; base-uri 'none'; form-action 'none'"
    )


@cache
def _plotly() -> str:
    """plotly.js, from the package plotly."""
    text = (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    if ENDS_SCRIPT.search(text) or "\r" in text or "\0" in text:
        got = version("plotly")
        raise ConfigError(f"`plotly` must be a version whose script can stand in a page. Got {got}. Install 7.1.0.")
    return text
