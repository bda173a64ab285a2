"""The schemas of the section `probe`: where a network is measured, at which layers, and when."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

from nngeom_cli.errors import require

__all__ = ["MOST_CHECKPOINTS", "PROBES", "GridConfig", "PathConfig", "PlaneConfig", "ProbeConfig"]

MOST_CHECKPOINTS = 100_000  # a file each

Layers: TypeAlias = list[int]  # in a config also `all`, which is written out when it is loaded
Triples: TypeAlias = list[list[int]]
Window: TypeAlias = list[float] | list[list[float]] | None


@dataclass(frozen=True)
class _WatchConfig:
    """What all probes share: the layers and the epochs at which they are measured.

    Layer 1 is the first hidden one; the one past the last hidden layer is the output.
    """

    kind: str
    layers: Layers
    checkpoints: Any  # list[int] or {spacing: log | linear, count: N}: a union that OmegaConf has no schema for

    def __post_init__(self) -> None:
        way_out = "The first hidden layer: probe.layers=[1]."
        require(len(self.layers) > 0, "probe.layers", "a list of at least one layer", self.layers, way_out)
        require(len(set(self.layers)) == len(self.layers), "probe.layers", "without repeats", self.layers, way_out)
        _require_checkpoints(self.checkpoints)


@dataclass(frozen=True)
class GridConfig(_WatchConfig):
    """`resolution` x `resolution` points on a rectangle of a two-dimensional input space.

    `window` is the range of both axes, or one for each, or None: the box of the data and a quarter more on each side.
    """

    resolution: int
    window: Window

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.resolution >= 2, "probe.resolution", "at least 2", self.resolution, "The paper uses 40.")
        window = self.window or []
        ranges = [window] if not any(isinstance(edge, list) for edge in window) else window
        require(
            self.window is None or (len(ranges) in (1, 2) and all(map(_is_range, ranges))),
            "probe.window",
            "two finite numbers, the lower one first",
            self.window,
            "Or one pair for each axis, [[-2,2],[-1,1]]; null follows the data.",
        )


@dataclass(frozen=True)
class PathConfig(_WatchConfig):
    """`steps` + 1 points on the line between two examples: the first of two classes each, or two dataset rows."""

    pairs: list[list[int]]
    endpoints: str
    steps: int
    top_k: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            len(self.pairs) > 0 and all(len(pair) == 2 and pair[0] != pair[1] for pair in self.pairs),
            "probe.pairs",
            "a list of pairs [a,b] with a different from b",
            self.pairs,
            "From the first class to the second: probe.pairs=[[0,1]].",
        )
        require(
            self.endpoints in ("class", "index"),
            "probe.endpoints",
            "class or index",
            self.endpoints,
            "class takes the first example of a class, index a row of the dataset.",
        )
        require(self.steps >= 1, "probe.steps", "at least 1", self.steps, "The paper uses 64.")
        require(self.top_k >= 1, "probe.top_k", "at least 1", self.top_k, "The paper uses 6.")


@dataclass(frozen=True)
class PlaneConfig(_WatchConfig):
    """`resolution` x `resolution` points on the plane through three examples: firsts of their classes, or dataset rows.

    The window is a square about the examples' centroid; its sides are `reach` times as far as the farthest example.
    """

    triples: Triples
    corners: str
    resolution: int
    reach: float
    top_k: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            len(self.triples) > 0 and all(len(set(triple)) == len(triple) == 3 for triple in self.triples),
            "probe.triples",
            "a list of triples [a,b,c] without repeats",
            self.triples,
            "The first three classes: probe.triples=[[0,1,2]].",
        )
        require(
            self.corners in ("class", "index"),
            "probe.corners",
            "class or index",
            self.corners,
            "class takes the first example of a class, index a row of the dataset.",
        )
        require(self.resolution >= 2, "probe.resolution", "at least 2", self.resolution, "The default is 36.")
        require(
            1 <= self.reach < math.inf,
            "probe.reach",
            "at least 1",
            self.reach,
            "The default is 1.1.",
        )
        require(self.top_k >= 1, "probe.top_k", "at least 1", self.top_k, "The paper uses 6.")


ProbeConfig: TypeAlias = GridConfig | PathConfig | PlaneConfig

PROBES: dict[str, type[ProbeConfig]] = {"grid": GridConfig, "path": PathConfig, "plane": PlaneConfig}


def _is_range(edges: Any) -> bool:
    return isinstance(edges, list) and len(edges) == 2 and -math.inf < edges[0] < edges[1] < math.inf


def _require_checkpoints(spec: Any) -> None:
    key, way_out = "probe.checkpoints", "For example [0,10,100], or log 10 for ten of them."
    if isinstance(spec, list):
        whole = all(type(epoch) is int and epoch >= 0 for epoch in spec)
        require(whole, key, "a list of epochs, 0 or later", spec, way_out)
        require(len(spec) <= MOST_CHECKPOINTS, key, f"a list of at most {MOST_CHECKPOINTS} epochs", spec, way_out)
        return
    require(
        isinstance(spec, dict) and set(spec) == {"spacing", "count"},
        key,
        "a list of epochs, or a spacing and a count",
        spec,
        way_out,
    )
    require(
        spec["spacing"] in ("log", "linear"),
        f"{key}.spacing",
        "log or linear",
        spec["spacing"],
        "log spends most of its checkpoints early.",
    )
    count = spec["count"]
    require(
        type(count) is int and 2 <= count <= MOST_CHECKPOINTS,
        f"{key}.count",
        f"an integer from 2 to {MOST_CHECKPOINTS}",
        count,
        "The first and the last epoch are always among them.",
    )
