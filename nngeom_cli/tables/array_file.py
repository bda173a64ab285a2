"""A table as numpy arrays: a vector is a column of that name, a matrix or images X the columns X0, X1, ..."""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from nngeom_cli.errors import ConfigError, one_line, require, shown
from nngeom_cli.tables.cells import Table, number_of
from nngeom_cli.tables.unpacking import UNPACKING_ERRORS, ZIP, foreign_archive, refuse_kind, refuse_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ArrayFile"]

WANTED = "a file saved by numpy.savez, with numbers and strings only"
MANY_COLUMNS = 300_000
COLOURS = (1, 3, 4)  # channels of pictures: grey, red green blue, and opacity
LONGEST_HEADER = 2**16  # bytes
OBJECT = 64  # bytes of a Python string besides its characters
OTHERWISE = {  # kind of an array that cannot be columns -> how to save it
    "O": "Save it as numbers or strings: {0}={0}.astype(float), or {0}={0}.astype(str).",
    "c": "Save two arrays: {0}_real={0}.real, {0}_imag={0}.imag.",
    "M": "Save it in days: {0}={0}.astype('datetime64[D]').astype(int).",
    "m": "Save it in seconds: {0}={0} / numpy.timedelta64(1, 's').",
    "V": "Save one array per field: a={0}['a'], b={0}['b'].",
}


class ArrayFile:
    """The arrays of a file saved by numpy.savez.

    Args:
        content: of the file.
        path: of the file.

    Raises:
        ConfigError: it is another file, or its arrays are not columns of equal length or do not fit into memory.
    """

    header: bool | None = None

    def __init__(self, content: bytes, path: Path) -> None:
        if not content.startswith((ZIP, b"PK\x05\x06")):  # with arrays, or empty
            refuse_kind(content, path, WANTED)
            raise ConfigError(
                f"`task.path` must be {WANTED}. Got {path}, another file. task=csv reads text; unpack packed files."
            )
        try:
            self.arrays = _arrays(zipfile.ZipFile(io.BytesIO(content)), path)
        except ConfigError:
            raise
        except (*UNPACKING_ERRORS, ValueError, TypeError, SyntaxError, KeyError) as error:
            raise ConfigError(f"`task.path` must be {WANTED}. Got {path}: {one_line(error)}. Save it again.") from error
        lengths = {name: len(array) for name, array in self.arrays.items()}
        require(
            len(set(lengths.values())) == 1 and min(lengths.values()) > 0,
            "task.path",
            "arrays with the same number of rows, at least one",
            lengths,
            "Each row is an example. Save each set of examples in a file of its own.",
        )
        self.columns: dict[str, Any] = {}
        self.matrices: dict[str, tuple[list[str], Any]] = {}  # the columns of each array that is no vector, and itself
        for name, array in self.arrays.items():
            columns = {name: array}
            if array.ndim > 1:
                matrix = array.reshape(len(array), -1)
                columns = {f"{name}{place}": row for place, row in enumerate(matrix.T)}
                self.matrices[name] = (list(columns), matrix)
            twice = sorted(columns.keys() & self.columns.keys())
            require(not twice, "task.path", "arrays whose columns have different names", twice, f"Rename {name}.")
            self.columns |= columns
        self.names = list(self.columns)

    def last(self) -> str:
        """The last column, if it is a vector or part of the only array."""
        name, array = list(self.arrays.items())[-1]
        if array.ndim > 1 and math.prod(array.shape[1:]) > 1:
            one_hot = array.ndim == 2 and array.dtype.kind in "biuf" and _is_one_hot(array)
            vectors = [name for name, array in self.arrays.items() if array.ndim == 1]
            suggestion = f"Choose task.label={vectors[-1] if vectors else self.names[-1]}."
            if array.ndim > 2 and not vectors:
                suggestion = f"Save the classes with them: numpy.savez('points.npz', {name}={name}, y=y)."
            require(
                len(self.arrays) == 1 and array.ndim == 2 and not one_hot,
                "task.label",
                "given where the last array is no vector",
                f"{name} of shape {array.shape}, with a single 1 in each row" if one_hot else f"null for {name}",
                f"Save classes: {name}={name}.argmax(axis=1)." if one_hot else suggestion,
            )
        return self.names[-1]

    def image_shape(self, columns: list[str], asked: Sequence[int] | None, *, chosen: bool) -> list[int] | None:
        """(channels, rows, columns) of the inputs in `columns`; None if they are no images.

        Args:
            columns: of the inputs.
            asked: the shape that the user gave, in two or three numbers; columns of any array can have one.
            chosen: whether the user named the columns.
        """
        images = {name: array.shape[1:] for name, array in self.arrays.items() if array.ndim > 2}
        found = next((shape for name, shape in images.items() if self.matrices[name][0] == columns), None)
        partly = [name for name in images if self.matrices[name][0][0] in columns]
        mixed = partly[0] if partly and not chosen and found is None else ""
        require(
            not mixed,
            "task.columns",
            f"given where {mixed} holds images and there are other inputs",
            list(self.arrays),
            f"Save the images and the labels alone: numpy.savez('points.npz', {mixed}={mixed}, y=y).",
        )
        shape, given = ([1] * (3 - len(sides)) + list(sides) if sides else None for sides in (found, asked))
        require(
            given is None or shape in (None, given),
            "task.image_shape",
            f"{shape}, that of the images in the file",
            asked,
            "null takes it from the file.",
        )
        require(
            given is None or math.prod(given) == len(columns),
            "task.image_shape",
            f"the shape of {len(columns)} pixels, as many as there are input columns",
            asked,
            "It is [rows,columns] or [channels,rows,columns].",
        )
        return given or shape

    def are_bytes(self, columns: Sequence[str]) -> bool:
        """Whether the columns hold numbers from 0 to 255, one byte each."""
        return {self.columns[name].dtype.str for name in columns} == {"|u1"}

    def table(self, columns: Sequence[str], label: str) -> Table:
        """The examples: inputs from `columns`, classes from `label`."""
        import numpy as np

        inputs = self._inputs(columns)
        values, codes = np.unique(self.columns[label], return_inverse=True)
        texts = [value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in values]
        return Table(inputs, texts, codes.reshape(-1), lambda row: f"row {row + 1}")

    def _inputs(self, columns: Sequence[str]) -> NDArray[np.float64]:
        import numpy as np

        for names, matrix in self.matrices.values():
            if names == columns and matrix.dtype.kind in "biuf":
                with np.errstate(over="ignore"):
                    numbers: NDArray[np.float64] = matrix.astype(np.float64)
                if np.isfinite(numbers).all():
                    return numbers
        return np.stack([self._numbers(name) for name in columns], axis=1)  # says which number is not finite

    def _numbers(self, name: str) -> NDArray[np.float64]:
        import numpy as np

        column = self.columns[name]
        if column.dtype.kind in "SU":
            column = column.astype(str)
            numbers = np.array([number_of(text) for text in column.tolist()])
        else:
            with np.errstate(over="ignore"):
                numbers = column.astype(np.float64)
        unusable = ~np.isfinite(numbers)
        if unusable.any():
            row = int(unusable.argmax())
            raise ConfigError(
                f"`task.columns` must be columns of finite numbers. Got {shown(column[row])} in column {name}, "
                f"row {row + 1}. Remove the row, or name other columns."
            )
        return numbers


def _arrays(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    """The arrays of an archive, in this machine's byte order; all are checked before the first is loaded."""
    import numpy as np

    names = archive.namelist()
    if not all(name.endswith(".npy") for name in names):
        raise foreign_archive(names, path, WANTED)
    if len(set(names)) < len(names):
        raise ValueError("two arrays have the same name")
    size = 0
    for entry in archive.infolist():
        with archive.open(entry) as file:
            shape, dtype = _header(file)
            count = math.prod(shape)
            _refuse_array(entry.filename.removesuffix(".npy"), shape, dtype, path)
            if count * dtype.itemsize != entry.file_size - file.tell():
                raise ValueError(f"{entry.filename} has more or fewer numbers than its shape {shape}")
        size += count * (dtype.itemsize + OBJECT if dtype.kind in "SU" else max(dtype.itemsize, 8))
        refuse_size(path, f"{entry.filename} of shape {shape} and type {dtype}, with the arrays before it,", size)
    arrays = {}
    for name in names:
        with archive.open(name) as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
        arrays[name.removesuffix(".npy")] = array.astype(array.dtype.newbyteorder("="), copy=False)
    return arrays


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    import numpy as np

    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of the format")
    if version == (2, 0):
        length = int.from_bytes(file.read(4), "little")
        if length > LONGEST_HEADER:  # numpy would read all of it before it objects
            raise ValueError(f"a header of {length} bytes")
        file.seek(-4, io.SEEK_CUR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns about files from Python 2
        shape, _, dtype = readers[version](file)
    return shape, dtype


def _refuse_array(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], path: Path) -> None:
    if dtype.kind not in "biufSU" or dtype.itemsize == 0:
        raise ConfigError(
            f"`task.path` must hold numbers and strings. Got {name} of type {dtype} in {path}. "
            + OTHERWISE.get(dtype.kind, "Leave it out.").format(name)
        )
    channels_last = len(shape) == 4 and shape[3] in COLOURS and shape[3] < min(shape[1:3])
    empty = len(shape) > 2 and 0 in shape[1:]
    if len(shape) not in (1, 2, 3, 4) or math.prod(shape[1:]) > MANY_COLUMNS or channels_last or empty:
        suggestion = f"Save one row per example: {name}={name}.reshape(len({name}), -1)." if shape else "Leave it out."
        if channels_last:
            suggestion = f"Put the channels first: {name}={name}.transpose(0, 3, 1, 2)."
        raise ConfigError(
            f"`task.path` must hold vectors, matrices, and images (examples, rows, columns) or (examples, channels, "
            f"rows, columns), of at most {MANY_COLUMNS} numbers an example. "
            f"Got {name} of shape {shape} in {path}. {suggestion}"
        )


def _is_one_hot(array: Any) -> bool:
    return bool(((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all())
