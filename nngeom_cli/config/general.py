"""The keys of the section `figures`, and those that are in no section."""

from dataclasses import dataclass

from nngeom_cli.config.declaration import NOT_NEGATIVE, POSITIVE, Section, at_least, between, choice, key
from nngeom_cli.errors import LARGEST_SEED, require

__all__ = ["DEVICES", "DTYPES", "FiguresConfig", "NumbersConfig"]

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("float64", "float32")


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
