"""What a user says of a recording, as a config: names and keys of conf/probe, with defaults that fit the examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from nngeom_cli.config.probe import LARGEST_TOP_K
from nngeom_cli.errors import did_you_mean, one_of, require
from nngeom_cli.groups import conf_directory
from nngeom_cli.recorder.data import Examples

__all__ = ["probe_settings"]

OF_KIND = {
    "grid": "moons",
    "path": "path",
    "geodesic": "geodesic",
    "plane": "plane",
    "data": "data",
}  # the file in conf/probe that has a kind's defaults


def probe_settings(
    probe: str | Mapping[str, Any] | None,
    checkpoints: str | Sequence[int] | None,
    examples: Examples,
    layers: Sequence[int | str],
    rank: int,
) -> dict[str, Any]:
    """The section `probe` of a recording.

    Args:
        probe: a name of conf/probe, a kind, or a mapping with the kind and other keys; without a kind, a grid for two
            inputs, else paths.
        checkpoints: as `probe.checkpoints`; None: as in the file of the probe.
        examples: the inputs to choose among.
        layers: those that are measured.
        rank: the largest that a metric of theirs can have.

    Raises:
        ConfigError: there is no such probe, or a key is said in another place.
    """
    given: dict[str, Any] = {"kind": probe} if isinstance(probe, str) else dict(probe or {})
    folder = conf_directory() / "probe"
    names = sorted({*OF_KIND, *(path.stem for path in folder.glob("*.yaml"))})
    name = str(given.pop("kind", "grid" if examples.shape == (2,) else "path"))
    require(name in names, "probe", one_of(names), name, did_you_mean(name, names) or "Choose one.")
    require("layers" not in given, "probe.layers", "left out", given.get("layers"), "Name submodules with `layer`.")
    settings = _of_file(OF_KIND.get(name, name))
    kind = settings["kind"]
    if kind in ("path", "geodesic") and "pairs" not in given:
        settings |= _pairs(examples)
    if kind == "plane" and "triples" not in given:
        settings |= _triples(examples)
    if kind not in ("grid", "geodesic"):
        settings["top_k"] = min(LARGEST_TOP_K, rank) if kind != "data" else None
        top_k = given.get("top_k")
        fits = not isinstance(top_k, int) or top_k <= rank
        require(fits, "probe.top_k", f"at most {rank}, the rank of the metric", top_k, f"Ask for {rank}.")
    if given.get("points") == "all":
        given["points"] = None
    said = {} if checkpoints is None else {"checkpoints": _plain(checkpoints)}
    return {**settings, **given, **said, "layers": list(layers)}


def _of_file(name: str) -> dict[str, Any]:
    """The values in a file of conf/probe, over those of the files that it names first."""
    own = OmegaConf.to_container(OmegaConf.load(conf_directory() / "probe" / f"{name}.yaml"), resolve=False)
    assert isinstance(own, dict)
    values: dict[Any, Any] = {}
    for entry in own.pop("defaults", ["_self_"]):
        values |= own if entry == "_self_" else _of_file(entry)
    return {str(key): value for key, value in values.items()}


def _pairs(examples: Examples) -> dict[str, Any]:
    """From the first class to the second; of one class, between its first two examples."""
    found = examples.labels.unique().tolist()[:2]
    return {"pairs": [found], "endpoints": "class"} if len(found) > 1 else {"pairs": [[0, 1]], "endpoints": "index"}


def _triples(examples: Examples) -> dict[str, Any]:
    """The first examples of three classes, or of fewer classes and then other examples."""
    found = examples.labels.unique().tolist()[:3]
    if len(found) == 3:
        return {"triples": [found], "corners": "class"}
    rows = [int((examples.labels == label).nonzero()[0]) for label in found]
    rows += [row for row in range(len(examples.labels)) if row not in rows]
    return {"triples": [rows[:3]], "corners": "index"}


def _plain(checkpoints: str | Sequence[int]) -> Any:
    if isinstance(checkpoints, str | Mapping):
        return checkpoints
    epochs = list(checkpoints) if isinstance(checkpoints, Iterable) else [checkpoints]
    whole = isinstance(checkpoints, Iterable) and all(isinstance(epoch, int | np.integer) for epoch in epochs)
    require(whole, "checkpoints", "log N, linear N or a list of epochs", checkpoints, 'For example "log 8".')
    return [int(epoch) for epoch in epochs]
