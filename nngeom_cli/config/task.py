"""The keys of the section `task`, those of each task, and how large its data are, which needs no data.

A user's own file is the exception: what it holds is unknown until it was looked at (`tables/table_file.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeAlias

from nngeom_cli.config.declaration import NOT_NEGATIVE, POSITIVE, Range, Section, at_least, between, key, or_null
from nngeom_cli.errors import LARGEST_SEED, require

__all__ = [
    "SCANNED",
    "CirclesConfig",
    "CsvConfig",
    "DigitsConfig",
    "FileConfig",
    "MoonsConfig",
    "NpzConfig",
    "PlaneTaskConfig",
    "SinusoidConfig",
    "SpiralsConfig",
    "SplitConfig",
    "TaskConfig",
    "TaskSection",
    "Word",
    "XorConfig",
]

Word = Annotated[str, "a name in a user's file, which may look like a number: column 0, class 1"]
SCANNED, LARGEST_SIDE = 8, 128  # pixels per side of a digit
IMAGES = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)  # of each digit
Shape = Annotated[list[int] | None, "a list of integers, or null", "Grey images of 28 x 28 pixels: [28,28]."]
Digits = Annotated[list[int] | None, "a list of integers, or null", "Threes and eights: task.digits=[3,8]."]
FRACTION = Range(lambda value: 0 <= value < 1, "at least 0 and less than 1")


@dataclass(frozen=True)
class TaskSection(Section, section="task", chooser="name"):
    """What all tasks share.

    Attributes:
        like: of a task from a package of its own: nngeom's task whose network, optimizer and probe are its defaults.
        inputs: length of an input.
        outputs: of the networks: 1, or one for each class.
        classes: number of them.
        size: number of training examples; `kept`: of test examples.
    """

    name: str = key("where the data come from")
    like: ClassVar[str] = "moons"
    inputs: ClassVar[Any]
    outputs: ClassVar[Any]
    classes: ClassVar[Any]
    size: ClassVar[Any]
    kept: ClassVar[Any]

    @property
    def image_shape(self) -> Sequence[int] | None:
        """(channels, rows, columns) of inputs that are images."""
        return None


@dataclass(frozen=True)
class XorConfig(TaskSection, kind="xor"):
    """Four points, one linear output (paper, C.1)."""

    inputs: ClassVar[int] = 2
    outputs: ClassVar[int] = 1
    classes: ClassVar[int] = 2
    size: ClassVar[int] = 4
    kept: ClassVar[int] = 0


@dataclass(frozen=True)
class SplitConfig(TaskSection):
    """Data of which some can be kept for testing, and of whose training labels some can be wrong."""

    data_seed: int = key(
        "draws the data, and the examples kept for testing or mislabelled; the same for all replicates",
        between(0, LARGEST_SEED),
        suggestion="The default is task.data_seed=0.",
        default=0,
    )
    test_fraction: float = key(
        "fraction of the examples kept for testing", FRACTION, suggestion="0 switches it off.", default=0.0
    )
    label_noise: float = key(
        "fraction of the training labels that are wrong", FRACTION, suggestion="0 switches it off.", default=0.0
    )

    @property
    def examples(self) -> int:
        """Number of all examples."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """Number of training examples."""
        return self.examples - self.kept

    @property
    def kept(self) -> int:
        """Number of test examples."""
        return round(self.test_fraction * self.examples)


@dataclass(frozen=True)
class PlaneTaskConfig(SplitConfig):
    """Two classes of `points` points of the plane."""

    points: int = key("number of points", at_least(1), suggestion="The paper draws 400.")
    inputs: ClassVar[int] = 2
    outputs: ClassVar[int] = 2
    classes: ClassVar[int] = 2

    @property
    def examples(self) -> int:
        return self.points


@dataclass(frozen=True)
class SinusoidConfig(PlaneTaskConfig, kind="sinusoid"):
    """Uniform points on a square, labelled by the side of a sinusoid (paper, C.2)."""


@dataclass(frozen=True)
class DigitsConfig(SplitConfig, kind="digits"):
    """scikit-learn's 8 x 8 handwritten digits, raw pixels, or enlarged by bilinear interpolation."""

    side: int = key(
        f"pixels per side: the {SCANNED} of the data, or more, interpolated linearly",
        between(SCANNED, LARGEST_SIDE),
        suggestion="Images as large as MNIST's: task.side=28.",
        default=SCANNED,
        hashed_at_default=False,
    )
    digits: Digits = key(
        "which digits, in the order of classes 0, 1, ...; null: all ten",
        or_null(
            Range(
                lambda digits: 2 <= len(set(digits)) == len(digits) and set(digits) <= set(range(10)),
                "a list of two or more digits, 0 to 9, without repeats",
            )
        ),
        suggestion="Threes and eights: task.digits=[3,8].",
        default=None,
        hashed_at_default=False,
    )

    @property
    def inputs(self) -> int:
        return self.side**2

    @property
    def chosen(self) -> list[int]:
        """The digit of each class."""
        return list(range(10)) if self.digits is None else self.digits

    @property
    def outputs(self) -> int:
        return self.classes

    @property
    def classes(self) -> int:
        return len(self.chosen)

    @property
    def examples(self) -> int:
        return sum(IMAGES[digit] for digit in self.chosen)

    @property
    def image_shape(self) -> Sequence[int]:
        return (1, self.side, self.side)


@dataclass(frozen=True)
class _NoisyConfig(PlaneTaskConfig):
    """Points on two curves, each moved by Gaussian noise."""

    noise: float = key(
        "standard deviation of the noise along both axes",
        NOT_NEGATIVE,
        suggestion="For example 0.1.",
    )


@dataclass(frozen=True)
class MoonsConfig(_NoisyConfig, kind="moons"):
    """scikit-learn's two half circles that reach into each other."""


@dataclass(frozen=True)
class CirclesConfig(_NoisyConfig, kind="circles"):
    """scikit-learn's two concentric circles."""

    factor: float = key(
        "inner radius; the outer one is 1",
        Range(lambda value: 0 < value < 1, "between 0 and 1"),
        suggestion="It is the inner radius: 0.5.",
    )


@dataclass(frozen=True)
class SpiralsConfig(_NoisyConfig, kind="spirals"):
    """Two spirals from the origin to radius 1, half a turn apart."""

    turns: float = key("turns of each spiral", POSITIVE, suggestion="For example 1.")


def _names(least: int) -> Range:
    def holds(names: list[Any]) -> bool:
        return len(names) >= least and len(set(names)) == len(names)

    return or_null(Range(holds, f"a list of at least {least} without repeats"))


@dataclass(frozen=True)
class FileConfig(SplitConfig):
    """A user's own table: a row an example, columns of numbers and one of labels.

    What is None is filled in from the file before a run starts, and holds from then on.
    """

    path: Word | None = key("the file; a relative path starts from the folder where the command is typed")
    columns: list[Word] | None = key(
        "columns of the inputs; null: all others", _names(1), suggestion="null takes what the file has."
    )
    label: Word | None = key("column of the classes, numbers or words; null: the last")
    class_names: list[Word] | None = key(
        "names of classes 0, 1, ...; null: the label's values, sorted",
        _names(2),
        suggestion="null takes what the file has.",
    )
    standardize: bool | None = key(
        "scales each input column to mean 0 and standard deviation 1 over the training examples; null: unless they are "
        "images"
    )
    rows: int | None = key("number of examples; null: filled in", or_null(at_least(1)), suggestion="null counts them.")
    sha256: Word | None = key("hash of the file, since a run resumes only with the file it began with; null: filled in")
    kind: ClassVar[str]

    def __post_init__(self) -> None:
        example = f"For example task.path=data.{self.name}."
        require(bool(self.path), "task.path", f"a {self.kind} file", self.path, example)
        super().__post_init__()
        require(
            self.columns is None or self.label not in self.columns,
            "task.label",
            "no input column",
            self.label,
            "Leave it out of task.columns.",
        )

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
class CsvConfig(FileConfig, kind="csv"):
    """A text file, a row a line, parted at commas, semicolons, tabs, bars or spaces (`tables/text_file.py`)."""

    header: bool | None = key(
        "true: the first line names the columns; false: it is an example; null: inferred",
        default=None,
        hashed_at_default=False,
    )
    kind: ClassVar[str] = "CSV"


def _is_image_shape(sides: list[int]) -> bool:
    return len(sides) in (2, 3) and min(sides) >= 1


@dataclass(frozen=True)
class NpzConfig(FileConfig, kind="npz"):
    """numpy.savez's arrays: a vector is a column of its name, a matrix or images X the columns X0, X1, ..."""

    image_shape: Shape = key(
        "(channels, rows, columns) of the images that the inputs are; null: that of their array, if it has one",
        or_null(Range(_is_image_shape, "two or three positive integers, [rows,columns] or [channels,rows,columns]")),
        suggestion="Grey images of 28 x 28 pixels: [28,28].",
        default=None,
        hashed_at_default=False,
    )
    kind: ClassVar[str] = "NPZ"


TaskConfig: TypeAlias = (
    XorConfig | SinusoidConfig | DigitsConfig | MoonsConfig | CirclesConfig | SpiralsConfig | CsvConfig | NpzConfig
)
