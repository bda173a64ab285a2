"""The schemas of the section `task`: the keys of each task, and how large its data are, which needs no data.

A user's own file is the exception: what it holds is unknown until it was looked at (`datafile.located`).
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, TypeAlias

from nngeom_cli.errors import require, require_seed

__all__ = [
    "TASKS",
    "CirclesConfig",
    "CsvConfig",
    "DigitsConfig",
    "FileConfig",
    "MoonsConfig",
    "NpzConfig",
    "SinusoidConfig",
    "SpiralsConfig",
    "SplitConfig",
    "TaskConfig",
    "XorConfig",
]


@dataclass(frozen=True)
class XorConfig:
    """Four points, one linear output (paper, C.1)."""

    name: str
    inputs: ClassVar[int] = 2
    outputs: ClassVar[int] = 1
    classes: ClassVar[int] = 2
    size: ClassVar[int] = 4


@dataclass(frozen=True)
class SplitConfig:
    """Data of which some can be kept for testing, and of whose training labels some can be wrong.

    `data_seed` draws the data, if they are drawn, and which examples these are: the same for all replicates.
    The defaults are those of runs that were saved before the keys were there.
    """

    name: str
    _: KW_ONLY
    data_seed: int = 0
    test_fraction: float = 0.0
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        require_seed("task.data_seed", self.data_seed)
        for key, value in (("test_fraction", self.test_fraction), ("label_noise", self.label_noise)):
            require(0 <= value < 1, f"task.{key}", "at least 0 and less than 1", value, "0 switches it off.")

    @property
    def examples(self) -> int:
        """Number of all examples."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """Number of training examples."""
        return self.examples - round(self.test_fraction * self.examples)


@dataclass(frozen=True)
class DigitsConfig(SplitConfig):
    """scikit-learn's 8 x 8 handwritten digits, raw pixels."""

    inputs: ClassVar[int] = 64
    outputs: ClassVar[int] = 10
    classes: ClassVar[int] = 10
    examples: ClassVar[int] = 1797


@dataclass(frozen=True)
class _PlaneConfig(SplitConfig):
    """Two classes of `points` points of the plane."""

    points: int
    inputs: ClassVar[int] = 2
    outputs: ClassVar[int] = 2
    classes: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.points >= 1, "task.points", "at least 1", self.points, "The paper draws 400.")

    @property
    def examples(self) -> int:
        return self.points


@dataclass(frozen=True)
class SinusoidConfig(_PlaneConfig):
    """Uniform points on a square, labelled by the side of a sinusoid (paper, C.2)."""


@dataclass(frozen=True)
class _NoisyConfig(_PlaneConfig):
    """Points on two curves, each moved by Gaussian noise of standard deviation `noise` along both axes."""

    noise: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.noise < math.inf, "task.noise", "zero or a positive number", self.noise, "For example 0.1.")


@dataclass(frozen=True)
class MoonsConfig(_NoisyConfig):
    """scikit-learn's two half circles that reach into each other."""


@dataclass(frozen=True)
class CirclesConfig(_NoisyConfig):
    """scikit-learn's two concentric circles, radii 1 and `factor`."""

    factor: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.factor < 1, "task.factor", "between 0 and 1", self.factor, "It is the inner radius: 0.5.")


@dataclass(frozen=True)
class SpiralsConfig(_NoisyConfig):
    """Two spirals from the origin to radius 1, half a turn apart, each of `turns` turns."""

    turns: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.turns < math.inf, "task.turns", "a positive number", self.turns, "For example 1.")


@dataclass(frozen=True)
class FileConfig(SplitConfig):
    """A user's own table: a row an example, columns of numbers and one of labels.

    What is None is filled in from the file before a run starts, and holds from then on: `label` (the last column),
    `columns` (all others), `class_names` (the label's values, sorted; class 0 is the first), `rows` and `sha256`.
    `standardize` moves and scales each input column to mean 0 and standard deviation 1 over the training examples.
    """

    path: str | None
    columns: list[str] | None
    label: str | None
    class_names: list[str] | None
    standardize: bool
    rows: int | None
    sha256: str | None
    kind: ClassVar[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            bool(self.path), "task.path", f"a {self.kind} file", self.path, f"For example task.path=data.{self.name}."
        )
        for key, names, least in (("columns", self.columns, 1), ("class_names", self.class_names, 2)):
            require(
                names is None or (len(names) >= least and len(set(names)) == len(names)),
                f"task.{key}",
                f"a list of at least {least} without repeats, or null",
                names,
                "null takes what the file has.",
            )
        require(
            self.columns is None or self.label not in self.columns,
            "task.label",
            "no input column",
            self.label,
            "Leave it out of task.columns.",
        )
        require(self.rows is None or self.rows >= 1, "task.rows", "at least 1, or null", self.rows, "null counts them.")

    @property
    def inputs(self) -> int:
        return len(self.columns or [])

    @property
    def outputs(self) -> int:
        return self.classes

    @property
    def classes(self) -> int:
        return len(self.class_names or [])

    @property
    def examples(self) -> int:
        return self.rows or 0


@dataclass(frozen=True)
class CsvConfig(FileConfig):
    """A text file, a row a line, parted at commas, semicolons, tabs, bars or spaces (`textfile.TextFile`).

    `header` says whether the first line names the columns; None is filled in as the lines tell (`records.has_names`).
    It is None in runs that were saved before the key was there.
    """

    header: bool | None = None
    kind: ClassVar[str] = "CSV"


@dataclass(frozen=True)
class NpzConfig(FileConfig):
    """numpy.savez's arrays: a vector is a column of its name, a matrix X the columns X0, X1, ..."""

    kind: ClassVar[str] = "NPZ"


TaskConfig: TypeAlias = (
    XorConfig | SinusoidConfig | DigitsConfig | MoonsConfig | CirclesConfig | SpiralsConfig | CsvConfig | NpzConfig
)

TASKS: dict[str, type[TaskConfig]] = {
    "xor": XorConfig,
    "sinusoid": SinusoidConfig,
    "digits": DigitsConfig,
    "moons": MoonsConfig,
    "circles": CirclesConfig,
    "spirals": SpiralsConfig,
    "csv": CsvConfig,
    "npz": NpzConfig,
}
