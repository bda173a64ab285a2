"""A user's own table of examples: read, checked, and pinned by the hash of its file."""

from __future__ import annotations

import csv
import functools
import hashlib
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nngeom_cli.errors import ConfigError, did_you_mean, require, shown
from nngeom_cli.task_schemas import FileConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nngeom_cli.config import Config

__all__ = ["located", "read_table"]

Columns = dict[str, Any]
"""Vectors of equal length by their names, in the order of the file."""


def located(config: Config, folder: Path) -> Config:
    """The config with what its data file holds filled in; the same config where the task has no file.

    Args:
        config: as typed.
        folder: where a relative path starts: the folder in which the command was typed.

    Returns:
        The config with an absolute path, `columns`, `label`, `class_names`, `rows` and `sha256`, checked to the end.

    Raises:
        ConfigError: in one line, what is wrong with the file.
    """
    task = config.task
    if not isinstance(task, FileConfig):
        return config
    path = (folder / Path(str(task.path)).expanduser()).resolve()
    digest = _sha256(path, task)
    table = _columns(task.name, path, digest)
    rows = len(next(iter(table.values())))
    named = [name for name in table if name]  # a nameless column is the index that pandas writes
    label = task.label if task.label is not None else named[-1]
    columns = task.columns if task.columns is not None else [name for name in named if name != label]
    for key, names in (("task.columns", columns), ("task.label", [label])):
        for name in names:
            if name not in table:
                way_out = did_you_mean(name, table) or f"{path.name} has {shown(list(table))}."
                raise ConfigError(f"`{key}` must name columns of {path.name}. Got {name}. {way_out}")
    require(len(columns) > 0, "task.path", "a table of at least two columns", list(table), "The last one has labels.")
    pinned = replace(task, path=str(path), columns=columns, label=label, rows=rows, sha256=digest)
    if pinned.class_names is None:
        names, _ = _classes(label, table[label])
        pinned = replace(pinned, class_names=names)
    read_table(pinned)
    return replace(config, task=pinned)


def read_table(task: FileConfig) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Inputs `(rows, d)` and classes `(rows,)` of a located task.

    Raises:
        ConfigError: the file is not the one that was located, or holds what cannot be used.
    """
    import numpy as np

    path = Path(str(task.path))
    table = _columns(task.name, path, _sha256(path, task))
    inputs = np.stack([_numbers(name, table[name]) for name in task.columns or []], axis=1)
    names, codes = _classes(str(task.label), table[str(task.label)])
    chosen = task.class_names or []
    for name in names:
        if name not in chosen:
            raise ConfigError(
                f"`task.class_names` must have every value of column {task.label}. Got {shown(chosen)} without {name}. "
                "null takes all of them."
            )
    return inputs, np.array([chosen.index(name) for name in names])[codes]


def _sha256(path: Path, task: FileConfig) -> str:
    """SHA-256 of the file, which must be that of the task if it has one."""
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise ConfigError(
            f"`task.path` must be a {task.kind} file that can be read. Got {path}: {error.strerror}. "
            "A relative path starts where the command is typed."
        ) from error
    found = digest.hexdigest()
    if task.sha256 not in (None, found):
        raise ConfigError(
            f"`task.path` must be the file of task.sha256, {str(task.sha256)[:12]}... Got {path}, which has changed: "
            f"{found[:12]}... Bring the old file back, or start a new run."
        )
    return found


@functools.lru_cache(maxsize=1)
def _columns(kind: str, path: Path, digest: str) -> Columns:  # noqa: ARG001  a changed file is read again
    return READERS[kind](path)


def _csv_columns(path: Path) -> Columns:
    import numpy as np
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
        count = {separator: first.count(separator) for separator in ",;\t"}
        most = max(count, key=lambda separator: count[separator])
        separator = most if count[most] else r"\s+"
        first = first.removeprefix("#")
        names = next(csv.reader([first], delimiter=most), []) if count[most] else first.split()
        names = [name.strip() for name in names]
        if not any(names):
            raise ConfigError(f"`task.path` must be a table. Got {path}, whose first line is empty. Add rows.")
        headless = all(_is_number(name) for name in names)
        names = [str(place) for place in range(len(names))] if headless else names
        require(len(set(names)) == len(names), "task.path", "a table with different names of columns", names, "Rename.")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=separator,
                names=names,
                skiprows=0 if headless else 1,
                index_col=False,
                keep_default_na=False,
                na_values=[""],
                skipinitialspace=True,
                low_memory=False,
                encoding="utf-8-sig",
                compression=None,
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, csv.Error, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        what = " ".join(str(error).replace("Error tokenizing data. C error: ", "").split()).rstrip(".")
        raise ConfigError(
            f"`task.path` must be text with equally many columns in each row. Got {path}: {what}. Mend the file."
        ) from error
    if len(frame) == 0:
        raise ConfigError(f"`task.path` must have at least one row of numbers. Got {path} with none. Add rows.")
    return {name: np.asarray(frame[name]) for name in names}


def _npz_columns(path: Path) -> Columns:
    import numpy as np

    columns: Columns = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays.files:
                array = arrays[name]
                if array.dtype.kind not in "biufU":
                    raise ConfigError(
                        f"`task.path` must hold numbers and strings. Got {name} of type {array.dtype} in {path}. "
                        "Convert it."
                    )
                if array.ndim == 1:
                    columns[name] = array
                elif array.ndim == 2:
                    columns |= {f"{name}{place}": column for place, column in enumerate(array.T)}
                else:
                    raise ConfigError(
                        f"`task.path` must hold vectors and matrices. Got {name} of shape {array.shape} in {path}. "
                        "Reshape it to (rows, columns)."
                    )
    except (ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"`task.path` must be a file of numpy.savez, of numbers and strings only. Got {path}. Save it again."
        ) from error
    lengths = {name: len(column) for name, column in columns.items()}
    require(
        len(set(lengths.values())) == 1 and min(lengths.values()) > 0,
        "task.path",
        "arrays with equally many rows, at least one",
        lengths,
        "A row is an example.",
    )
    return columns


READERS: dict[str, Callable[[Path], Columns]] = {"csv": _csv_columns, "npz": _npz_columns}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(name: str, values: Any) -> NDArray[np.float64]:
    """A column as finite numbers."""
    import numpy as np
    import pandas as pd

    numbers: NDArray[np.float64] = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(dtype=np.float64)
    unusable = ~np.isfinite(numbers)
    if unusable.any():
        row = int(unusable.argmax())
        got = "nothing" if pd.isna(values[row]) else shown(values[row])
        raise ConfigError(
            f"`task.columns` must be columns of finite numbers. Got {got} in column {name}, row {row + 1}. "
            "Remove the row, or name other columns."
        )
    return numbers


def _classes(name: str, values: Any) -> tuple[list[str], NDArray[np.int64]]:
    """The different values of a column, sorted, as text, and the place of each row's among them."""
    import numpy as np
    import pandas as pd

    missing = pd.isna(values)
    if missing.any():
        raise ConfigError(
            f"`task.label` must be a column with a class in each row. Got nothing in column {name}, "
            f"row {int(missing.argmax()) + 1}. Remove the row."
        )
    if values.dtype.kind == "f" and (values == np.round(values)).all():
        values = values.astype(np.int64)
    codes, names = pd.factorize(values, sort=True)
    values_differ = f"{len(names)} different values" if len(names) > 1 else "one value"
    require(
        2 <= len(names) <= max(2, len(values) // 2),
        "task.label",
        "a column of two classes or more, each of several rows",
        f"{values_differ} in the {len(values)} rows of column {name}",
        "Name another with task.label=COLUMN.",
    )
    return [str(value) for value in names], codes
