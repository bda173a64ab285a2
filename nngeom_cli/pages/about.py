"""What a page says about a run beside its numbers: config, provenance, citation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nngeom_cli.config.nested import leaves
from nngeom_cli.config.sections import SECTIONS, known_keys
from nngeom_cli.errors import shown
from nngeom_cli.figures.output import convention_words
from nngeom_cli.store.run import Run

__all__ = ["CITATION", "config_table", "provenance_of"]

BIBTEX = """@article{zavatoneveth2023training,
  title = {How does training shape the Riemannian geometry of neural network representations?},
  author = {Zavatone-Veth, Jacob A. and Yang, Sheng and Rubinfien, Julian A. and Pehlevan, Cengiz},
  journal = {arXiv:2301.11375},
  year = {2023}
}"""
CITATION = {
    "text": "J. A. Zavatone-Veth, S. Yang, J. A. Rubinfien and C. Pehlevan, How does training shape the Riemannian "
    "geometry of neural network representations? arXiv:2301.11375 (2023).",
    "bibtex": BIBTEX.splitlines(),
}


def config_table(config: Mapping[str, Any], defaults: Mapping[str, Any] | None) -> dict[str, Any]:
    """All keys of a config: those whose value is not the default first, then the others, each in their order.

    Args:
        config: of the run.
        defaults: the config of a run with the same task, probe and optimizer and nothing else chosen; None if unknown.

    Example:
        >>> table = config_table({"seed": 3, "replicates": 8}, {"seed": 0, "replicates": 8})
        >>> table["changed"][0][:3], table["others"][0][:2]
        (['seed', '3', '0'], ['replicates', '8'])
    """
    values, meanings = dict(leaves(config)), meanings_of(config)
    usual = values if defaults is None else dict(leaves(defaults))
    lines = {
        key: [key, shown(value), shown(usual.get(key, "")), meanings.get(key, "")] for key, value in values.items()
    }
    changed = [] if defaults is None else [key for key, (_, value, default, _) in lines.items() if value != default]
    return {
        "known": defaults is not None,
        "changed": [lines[key] for key in changed],
        "others": [[key, value, meaning] for key, (_, value, _, meaning) in lines.items() if key not in changed],
    }


def meanings_of(config: Mapping[str, Any]) -> dict[str, str]:
    """What each key of a config is, in words."""
    kinds = {name: config.get(name, {}).get(schema.chooser, "") for name, schema in SECTIONS.items()}
    return {
        known.typed: known.about.meaning
        for known in known_keys()
        if not known.kind or known.kind == kinds.get(known.typed.partition(".")[0])
    }


def provenance_of(run: Run, convention: str) -> list[list[str]]:
    """Where, when and with what a run was made, as pairs of words."""
    return [[key, str(value)] for key, value in _provenance(run, convention) if value not in (None, "", {})]


def _provenance(run: Run, convention: str) -> Iterator[tuple[str, Any]]:
    info = run.info
    yield "run", run.directory.name
    yield "status", run.status
    yield "command", info.get("command")
    yield "config hash", info.get("config_hash")
    for part, digest in info.get("source", {}).items():
        yield f"hash of the code of {part}", digest
    if git := info.get("git"):
        yield "commit", git["commit"] + (", with changes" if git["dirty"] else "")
    yield "versions", ", ".join(f"{name} {version}" for name, version in info.get("versions", {}).items())
    yield "from other packages", ", ".join(f"{name}: {package}" for name, package in info.get("plugins", {}).items())
    yield "device", info.get("device")
    yield "started", info.get("started")
    yield "finished", info.get("finished")
    if "wall_seconds" in info:
        yield "time", f"{info['wall_seconds']:g} s, {info.get('cpu_seconds', 0):g} s of processors"
    if measured := info.get("measured_from"):
        yield "measured again from", measured["path"]
    yield "trained longer after epochs", ", ".join(map(str, info.get("extended_from", [])))
    yield "resumed at epochs", ", ".join(str(each["epoch"]) for each in info.get("resumed", []))
    yield "conventions", convention_words(convention)
