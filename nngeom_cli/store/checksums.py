"""Checksums that show whether a run is as it was written: of its files in a manifest, of run.json in itself.

The first line of SHA256SUMS has the id of the run, which is in run.json too, and the checksum of the other lines. A run
saved before there were ids has no such line, and no checksum in run.json.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nngeom_cli.errors import DamageError
from nngeom_cli.store.layout import MANIFEST
from nngeom_cli.system.atomic import read_whole, written_whole
from nngeom_cli.system.memory import available_memory, in_words

__all__ = [
    "ID",
    "SEAL",
    "beginning",
    "checksum",
    "damaged",
    "fault",
    "fits_seal",
    "read_manifest",
    "sealed",
    "write_manifest",
]

ID, SEAL = "id", "checksum"  # keys of run.json
LARGEST = 2**26  # bytes of a manifest: half a million files
HEAD = re.compile(r"# nngeom run (\w+), checksum [0-9a-f]{64}")  # `sha256sum --check` skips it


def checksum(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fault(path: Path, expected: str | None) -> str | None:
    """What is wrong with a file of the manifest; None if it is whole."""
    if expected is None:
        return "it is not in the manifest"
    if not path.is_file():
        return "it is missing"
    try:
        size, room = path.stat().st_size, available_memory()
        if size == 0:
            return "it is empty"
        if size > room:  # it could not be read
            return f"it has {in_words(size)}, with {in_words(room)} of free memory"
        return None if checksum(path) == expected else "its checksum is wrong"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


def damaged(path: Path, what: str, run: Path) -> DamageError:
    """The error to raise for a damaged file of a run."""
    suggestion = f"Copy it again, or `nngeom resume {shlex.quote(str(run))}` repairs it."
    return DamageError(f"`{path}` must be as the run wrote it. Got: {what}. {suggestion}")


def beginning(content: bytes, expected: str) -> bytes | None:
    """The first lines of a text that have the checksum `expected`; None if there are none.

    Example:
        >>> first = hashlib.sha256(b"epoch\\n0\\n").hexdigest()
        >>> beginning(b"epoch\\n0\\n1\\n", first)
        b'epoch\\n0\\n'
    """
    digest, end = hashlib.sha256(), 0
    for line in content.splitlines(keepends=True):
        digest.update(line)
        end += len(line)
        if digest.hexdigest() == expected:
            return content[:end]
    return None


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a JSON file with its own checksum as the last key."""
    plain = {key: value for key, value in content.items() if key != SEAL}
    return plain | {SEAL: _of_json(plain)}


def fits_seal(content: Mapping[str, Any]) -> bool:
    """Whether the content of a JSON file has the checksum that it states."""
    return content.get(SEAL) == _of_json({key: value for key, value in content.items() if key != SEAL})


def _of_json(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_manifest(directory: Path, checksums: Mapping[str, str], run: str | None) -> None:
    """Writes the checksums of files in `directory`, as `sha256sum --check` reads them.

    Args:
        directory: of the run.
        checksums: of the files, by name.
        run: the run's id; None writes no first line.
    """
    lines = "".join(f"{value}  {name}\n" for name, value in sorted(checksums.items()))
    with written_whole(directory / MANIFEST) as path:
        path.write_text(lines if run is None else f"{_head(run, lines)}\n{lines}")


def read_manifest(directory: Path, run: str | None) -> tuple[dict[str, str], str | None]:
    """The checksum of each file by name, and what is wrong with the manifest; if anything is, no checksums.

    Args:
        directory: of the run.
        run: its id; without one, a damaged line just becomes a checksum that fits no file.
    """
    path = directory / MANIFEST
    if not path.is_file():
        return {}, "it is missing"
    try:
        text = read_whole(path, LARGEST).decode(errors="replace")
    except OSError as error:
        return {}, f"it cannot be read ({error.strerror})"
    except ValueError as error:
        return {}, str(error)
    head, _, lines = text.partition("\n")
    if run is None and not head.startswith("#"):
        lines = text
    elif head != _head(str(run), lines):
        found = HEAD.fullmatch(head)
        foreign = found is not None and head == _head(found[1], lines)
        return {}, "it belongs to another run" if foreign else "its own checksum is wrong"
    pairs = (line.partition("  ") for line in lines.splitlines())
    return {name: value for value, _, name in pairs if name}, None


def _head(run: str, lines: str) -> str:
    """The first line of a manifest: the run's id, and the checksum of the id and all other lines."""
    return f"# nngeom run {run}, checksum {hashlib.sha256(f'{run} {lines}'.encode()).hexdigest()}"
