"""The keys of the section `probe`: where a network is measured, at which layers, and when."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from nngeom_cli.config.declaration import Range, Section, at_least, choice, key, or_null
from nngeom_cli.errors import require

__all__ = [
    "LARGEST_TOP_K",
    "MOST_CHECKPOINTS",
    "MOST_CURVED",
    "PREDICTION",
    "DataConfig",
    "GeodesicConfig",
    "GridConfig",
    "PathConfig",
    "PlaneConfig",
    "ProbeConfig",
    "ProbeSection",
    "Schedule",
    "SpectralSection",
]

MOST_CHECKPOINTS = 100_000  # a file each
PREDICTION = "prediction"  # named in place of a layer's number
LARGEST_TOP_K = 6  # that is taken where none is given: the paper's
MOST_DIRECTIONS = 16  # in which geodesics are sought where none is given: a step costs their cube
MOST_CURVED = 16  # dimensions; at the examples of a data set of more, R would take minutes a checkpoint

# A type, what follows "must be" where a value is not of it, and a suggestion.
Layers = Annotated[list[int | str], "all, or a list of layers", "The first two: probe.layers=[1,2]."]
Pairs = Annotated[list[list[int]], "a list of pairs of integers", "Two pairs: [[0,1],[2,3]]."]
Triples = Annotated[list[list[int]], "a list of triples of integers", "Two planes: [[0,1,2],[3,8,9]]."]
Points = Annotated[int | None, "an integer, or all", "Every example: probe.points=all."]
Schedule = Annotated[Any, "a list of epochs, or a spacing and a count", ""]  # {spacing: log | linear, count: N}
Window = Annotated[
    list[float] | list[list[float]] | None,
    "a list of numbers, or of two such lists",
    "One range for both axes: [-1.5,1.5].",
]


def _check_checkpoints(spec: Any) -> None:
    name, suggestion = "probe.checkpoints", "For example [0,10,100], or log 10 for ten of them."
    if isinstance(spec, list):
        whole = all(type(epoch) is int and epoch >= 0 for epoch in spec)
        require(whole, name, "a list of epochs, 0 or later", spec, suggestion)
        require(len(spec) <= MOST_CHECKPOINTS, name, f"a list of at most {MOST_CHECKPOINTS} epochs", spec, suggestion)
        return
    require(
        isinstance(spec, dict) and set(spec) == {"spacing", "count"},
        name,
        "a list of epochs, or a spacing and a count",
        spec,
        suggestion,
    )
    require(
        spec["spacing"] in ("log", "linear"),
        f"{name}.spacing",
        "log or linear",
        spec["spacing"],
        "log spends most of its checkpoints early.",
    )
    count = spec["count"]
    require(
        type(count) is int and 2 <= count <= MOST_CHECKPOINTS,
        f"{name}.count",
        f"an integer from 2 to {MOST_CHECKPOINTS}",
        count,
        "The first and the last epoch are always among them.",
    )


@dataclass(frozen=True)
class ProbeSection(Section, section="probe", chooser="kind"):
    """What all probes share: the layers, and the epochs at which they are measured."""

    kind: str = key(
        "where networks are measured: on a grid, on straight or shortest paths between examples, on planes through "
        "examples, or at the examples themselves"
    )
    layers: Layers = key(
        "1 is the first hidden layer, one past the last is the output; all: every one of them; prediction: the "
        "probabilities of the classes, with their Fisher metric",
        Range(lambda layers: len(layers) > 0, "a list of at least one layer"),
        Range(lambda layers: len(set(layers)) == len(layers), "without repeats"),
        Range(
            lambda layers: all(layer == PREDICTION or isinstance(layer, int) for layer in layers),
            f"a list of numbers of layers and {PREDICTION}",
        ),
        suggestion="The first hidden layer: probe.layers=[1].",
    )
    checkpoints: Schedule = key(
        "epochs to measure at: log N, linear N or a list; the first and the last are always included",
        check=_check_checkpoints,
    )

    @property
    def hidden_or_output(self) -> list[int]:
        """The layers that have numbers of their own: all but the prediction."""
        return [int(layer) for layer in self.layers if layer != PREDICTION]

    def numbered(self, widths: Sequence[int]) -> list[int]:
        """The layers as numbers, the prediction as one past the output, which is the last of the widths.

        Args:
            widths: input dimension, features of each layer, outputs.
        """
        return [len(widths) if layer == PREDICTION else int(layer) for layer in self.layers]

    def ranks(self, widths: Sequence[int]) -> list[int]:
        """The largest rank of each layer's metric in a stack of layers of these widths, in the order of the layers."""
        bounds = [min(widths[: number + 1]) for number in self.numbered(widths)]
        of_prediction = max(1, widths[-1] - 1)  # one output is the logit of one class of two
        return [
            min(bound, of_prediction) if layer == PREDICTION else bound
            for bound, layer in zip(bounds, self.layers, strict=True)
        ]


def _is_window(window: Any) -> bool:
    if window is None:
        return True
    ranges = window if any(isinstance(edge, list) for edge in window) else [window]
    return len(ranges) in (1, 2) and all(
        isinstance(edges, list) and len(edges) == 2 and -math.inf < edges[0] < edges[1] < math.inf for edges in ranges
    )


@dataclass(frozen=True)
class GridConfig(ProbeSection, kind="grid"):
    """`resolution` x `resolution` points on a rectangle of a two-dimensional input space."""

    resolution: int = key("points per side of the grid", at_least(2), suggestion="The paper uses 40.")
    window: Window = key(
        "range of both axes, or one for each; null: the box around the data and a quarter more on each side",
        Range(_is_window, "two finite numbers, the lower one first"),
        suggestion="Or one pair for each axis, [[-2,2],[-1,1]]; null follows the data.",
    )


def _examples(groups: str, again: str = "") -> Any:
    """The key that says what the numbers in pairs or triples are."""
    return key(
        f"class: {groups} are of classes, each by its first example{again}; index: of rows of the dataset",
        choice("class", "index"),
        suggestion="class takes the first example of a class, index a row of the dataset.",
    )


@dataclass(frozen=True)
class SpectralSection(ProbeSection):
    """What probes share that measure the leading spectrum of the metric."""

    top_k: int | None = key(
        "leading eigenvalues of the metric that the effective volume element takes; null: the rank that the first "
        f"measured layer can have, at most {LARGEST_TOP_K}",
        or_null(at_least(1)),
        suggestion="The paper uses 6.",
    )

    def leading(self, rank: int) -> int:
        """`top_k`, or what null stands for where the first measured layer's metric can have this rank."""
        return self.top_k or min(LARGEST_TOP_K, rank)


def _pairs() -> Any:
    return key(
        "the two examples that each path connects",
        Range(
            lambda pairs: len(pairs) > 0 and all(len(pair) == 2 and pair[0] != pair[1] for pair in pairs),
            "a list of pairs [a,b] with a different from b",
        ),
        suggestion="From the first class to the second: probe.pairs=[[0,1]].",
    )


@dataclass(frozen=True)
class PathConfig(SpectralSection, kind="path"):
    """`steps` + 1 points on the line between two examples."""

    pairs: Pairs = _pairs()
    endpoints: str = _examples("pairs")
    steps: int = key("steps along each path", at_least(1), suggestion="The paper uses 64.")


@dataclass(frozen=True)
class GeodesicConfig(ProbeSection, kind="geodesic"):
    """The shortest path between two examples, as a polygon, beside the straight one."""

    pairs: Pairs = _pairs()
    endpoints: str = _examples("pairs")
    segments: int = key(
        "segments of each shortest path, a multiple of 8; half as many and a quarter say how far its length is off",
        Range(lambda segments: 8 <= segments <= 1024 and segments % 8 == 0, "a multiple of 8, at most 1024"),
        suggestion="The default is 16.",
    )
    directions: int | None = key(
        "dimensions of input space in which a shortest path is sought: along the straight one, and those that the "
        f"layer stretches most on it; null: all of them, at most {MOST_DIRECTIONS}",
        or_null(at_least(1)),
        suggestion=f"null takes all, up to {MOST_DIRECTIONS}.",
    )

    def sought(self, dimension: int) -> int:
        """In how many dimensions paths are sought, of so many that the inputs have."""
        return min(dimension, self.directions or MOST_DIRECTIONS)


@dataclass(frozen=True)
class PlaneConfig(SpectralSection, kind="plane"):
    """`resolution` x `resolution` points on the plane through three examples, in a square about their centroid."""

    triples: Triples = key(
        "the three examples that span each plane",
        Range(
            lambda triples: len(triples) > 0 and all(len(triple) == 3 for triple in triples),
            "a list of triples [a,b,c]",
        ),
        suggestion="The first three classes: probe.triples=[[0,1,2]].",
    )
    corners: str = _examples("triples", ", then its second")
    resolution: int = key("points per side of the plane", at_least(2), suggestion="The default is 36.")
    reach: float = key(
        "half the window's side, in units of the distance from the examples' centroid to the farthest one",
        at_least(1),
        suggestion="The default is 1.1.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.corners == "class" or all(len(set(triple)) == 3 for triple in self.triples),
            "probe.triples",
            "a list of triples [a,b,c] without repeats where they are of rows",
            self.triples,
            "A class may be repeated with probe.corners=class.",
        )


@dataclass(frozen=True)
class DataConfig(SpectralSection, kind="data"):
    """Examples of the data set."""

    split: str = key(
        "train: training examples; test: those that task.test_fraction keeps for testing",
        choice("train", "test"),
        suggestion="train measures at the examples that the networks learn from.",
    )
    points: Points = key(
        "at most so many examples: each class has its share, evenly spaced through its rows; all: every one",
        Range(lambda count: count is None or count >= 1, "at least 1, or all"),
        suggestion="all takes every example.",
    )
    rank_tolerance: float = key(
        "singular values of the Jacobian above this part of the largest one count towards the local rank",
        Range(lambda part: 0 < part < 1, "greater than 0 and less than 1"),
        suggestion="The default is 0.01.",
    )
    robustness: bool = key(
        "also measures how far each example is from the decision boundary: to first order, along the gradient of the "
        "margin, and by an attack",
        default=False,
        hashed_at_default=False,
    )

    def curved(self, dimension: int, ranks: Sequence[int]) -> bool:
        """Whether log volume and R are measured: some layer's metric can be of full rank, of few enough dimensions."""
        return max(ranks) >= dimension <= MOST_CURVED

    def count(self, examples: int) -> int:
        """How many examples are measured, of so many in the split."""
        return min(self.points or examples, examples)


ProbeConfig: TypeAlias = GridConfig | PathConfig | GeodesicConfig | PlaneConfig | DataConfig
