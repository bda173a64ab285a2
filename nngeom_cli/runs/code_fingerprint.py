"""A fingerprint of the code that a result depends on: the result is reused only while that code is unchanged."""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import tokenize
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from nngeom_cli.plugins import Plugin

__all__ = ["run_source", "source_hash"]

PACKAGE = Path(__file__).parent.parent
TRAINING = ("tables", "tasks", "training", "config/schedule.py", "geometry/activations.py")
PROBE = ("probes", "models", "geometry", "config/quantity.py")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def run_source(plugins: Sequence[Plugin] = ()) -> dict[str, str]:
    """Hashes of the code behind the numbers of a run, as in run.json: of `training`, of `probe` and of each plugin.

    The config is not part of them: it has its own hash.
    """
    own = {"training": source_hash(*TRAINING), "probe": source_hash(*PROBE)}
    return own | {f"{plugin.kind} {plugin.name}": _plugin_hash(plugin.place) for plugin in plugins}


def _plugin_hash(place: str) -> str:
    """SHA-256 of the Python files of the module or package that an entry point leads to, as they are."""
    spec = find_spec(place.partition(":")[0].partition(".")[0])
    digest = hashlib.sha256(place.encode())
    if spec is not None:
        files = [Path(spec.origin)] if spec.origin and spec.origin.endswith(".py") else []
        for folder in spec.submodule_search_locations or []:
            files += sorted(Path(folder).rglob("*.py"))
        for file in files:
            digest.update(f"\n{file.name}\n".encode() + file.read_bytes())
    return digest.hexdigest()


@functools.cache
def source_hash(*parts: str, package: Path = PACKAGE) -> str:
    """SHA-256 of the code of packages and files ("geometry", "config/schedule.py"), the same on any version of Python.

    Comments, docstrings and empty lines do not count.
    """
    digest = hashlib.sha256()
    for part in parts:
        for path in sorted((package / part).rglob("*.py")) or [package / part]:
            digest.update(f"{path.relative_to(package).as_posix()}\n{_code(path.read_text(encoding='utf-8'))}".encode())
    return digest.hexdigest()


def _code(text: str) -> str:
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            rows = range(node.body[0].lineno - 1, node.body[0].end_lineno or 0)
            lines[rows.start : rows.stop] = [""] * len(rows)
    return "".join(f"{line.rstrip()}\n" for line in lines if line.strip())
