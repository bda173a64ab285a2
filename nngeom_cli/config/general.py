"""The keys of the section `figures`, and those that are in no section."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from nngeom_cli.config.declaration import (
    NOT_NEGATIVE,
    POSITIVE,
    Range,
    Section,
    at_least,
    between,
    choice,
    key,
    or_null,
)
from nngeom_cli.errors import LARGEST_SEED, one_of, require

__all__ = ["DEVICES", "DTYPES", "FORMATS", "FiguresConfig", "NumbersConfig"]

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("float64", "float32")
FORMATS = ("png", "pdf", "svg")

Epochs = Annotated[list[int] | None, "a list of epochs, or null", "Three checkpoints: figures.epochs=[0,200,2000]."]
Formats = Annotated[list[str], "a list of formats", "A picture and a drawing: figures.format=[png,svg]."]


@dataclass(frozen=True)
class FiguresConfig(Section, section="figures"):
    """How a run is drawn."""

    draw: bool = key(
        "whether a run draws its figures at the end; false leaves them to `nngeom figures`",
        default=True,
        measured=False,
    )
    curvature_convention: str = key(
        "geometric: log V and R, the unit 2-sphere has +2; paper: the magnitudes V and |3 R| that the paper plots",
        choice("geometric", "paper"),
        suggestion="geometric draws log V and R (unit 2-sphere: +2), paper the magnitudes V and |3 R|.",
        default="geometric",
        measured=False,
    )
    band: float = key(
        "half width of the band around the decision boundary in the statistics, in units of input space",
        POSITIVE,
        suggestion="It is a distance in input space, 0.15 by default.",
        default=0.15,
        measured=False,
    )
    replicate: int | None = key(
        "seed of the replicate that figures show; null: the first that solved the task, or the most accurate",
        or_null(between(0, LARGEST_SEED)),
        suggestion="It is a seed, not a count: seeds from `seed` on.",
        default=None,
        measured=False,
    )
    epochs: Epochs = key(
        "checkpoints that heatmaps show; null: up to six, between which the volume changes about equally",
        or_null(Range(lambda epochs: len(epochs) > 0, "a list of at least one epoch")),
        or_null(Range(lambda epochs: all(a < b for a, b in pairwise(epochs)), "in increasing order")),
        suggestion="They are epochs at which the run was measured.",
        default=None,
        measured=False,
    )
    resolution: int | None = key(
        "points per side at which a run measures the shown replicate again for its heatmaps; null: as the probe",
        or_null(between(2, 1000)),
        suggestion="The default is 200.",
        default=200,
        measured=False,
    )
    format: Formats = key(
        "files of each figure, the first of which is named when it is drawn: png, pdf, svg",
        Range(lambda formats: len(formats) > 0, "a list of at least one format"),
        Range(lambda formats: set(formats) <= set(FORMATS), f"a list of {one_of(FORMATS)}"),
        Range(lambda formats: len(set(formats)) == len(formats), "without repeats"),
        suggestion="The default is [png,pdf].",
        default=("png", "pdf"),
        measured=False,
    )
    width: float = key(
        "width of heatmaps in inches: 7 is a page of two columns, 3.4 one column",
        between(3, 20),
        suggestion="The default is 7 inches.",
        default=7.0,
        measured=False,
    )
    checkpoints: bool = key(
        "whether each checkpoint of grids, planes and paths has its picture, drawn while training goes on",
        default=True,
        measured=False,
    )


@dataclass(frozen=True)
class NumbersConfig(Section, section=""):
    """What is in no section. Replicate r is the network that `seed` + r gives alone."""

    seed: int = key(
        "replicate r is the network that seed + r gives alone",
        between(0, LARGEST_SEED),
        suggestion="The default is seed=0.",
    )
    replicates: int = key(
        "networks trained and measured at once", at_least(1), suggestion="It is the number of networks."
    )
    device: str = key(
        "where networks are trained and measured; auto: a GPU if there is one",
        choice(*DEVICES),
        suggestion="auto takes the GPU, if there is one.",
    )
    dtype: str = key(
        "type of all numbers in training and measuring; curvature needs float64",
        choice(*DTYPES),
        suggestion="Curvature needs float64.",
    )
    checkpoint_seconds: float = key(
        "training is saved at the probe's epochs and at least this often, for `nngeom resume`",
        NOT_NEGATIVE,
        suggestion="60 loses a minute of training at most.",
        default=60.0,
        measured=False,
    )
    tracker: str | None = key(
        "tensorboard, mlflow or an installed tracker of your own: is told of losses, statistics and figures too; null: "
        "none",
        Range(lambda value: value != "", "tensorboard, mlflow, an installed tracker, or null"),
        suggestion="null tells none.",
        default=None,
        measured=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.seed + self.replicates - 1 <= LARGEST_SEED,
            "seed",
            f"at most {LARGEST_SEED} for the last of the replicates, too",
            self.seed,
            f"That of replicate r is seed + r; there are {self.replicates}.",
        )
        require(
            (self.device, self.dtype) != ("mps", "float64"),
            "dtype",
            "float32 for device=mps, which has no float64",
            self.dtype,
            "Curvature needs float64: device=cpu.",
        )
