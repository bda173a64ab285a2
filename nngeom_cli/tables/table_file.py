"""A user's table of examples: read, checked, and pinned by the hash of its file."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nngeom_cli.config.task import CsvConfig, FileConfig, NpzConfig
from nngeom_cli.errors import ConfigError, did_you_mean, require, shown
from nngeom_cli.tables.array_file import ArrayFile
from nngeom_cli.tables.cells import Table, TableFile, is_plain, number_of
from nngeom_cli.tables.labels import classes
from nngeom_cli.tables.text_file import TextFile
from nngeom_cli.tables.unpacking import content_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nngeom_cli.config.run import Config

__all__ = ["located", "read_table"]

LARGEST_BYTE = 255  # the brightest pixel of an image of bytes, which becomes 1
SETTLED = 2 * 10**9  # nanoseconds in which a file may change without new times, on the coarsest file systems


@dataclass(frozen=True)
class Examples:
    """What a task takes from its file.

    Args:
        asked: the keys of the task that decide which examples these are.
        found: the values that the file gives to keys that are null.
        state: of the file, which changes when the file does; None while a change could go unseen.
        inputs: `(rows, d)`.
        classes: indices into `class_names`, `(rows,)`.
    """

    asked: tuple[Any, ...]
    found: dict[str, Any]
    state: tuple[int, ...] | None
    inputs: NDArray[np.float64]
    classes: NDArray[np.int64]


kept: list[Examples] = []  # the last file read: a process reads a file once while it does not change


def located(config: Config, folder: Path) -> Config:
    """The config with the keys that its data file decides filled in; the same config if the task has no file.

    Args:
        config: as typed.
        folder: where relative paths start: the folder in which the command was typed.

    Returns:
        The config with an absolute path, `header`, `columns`, `label`, `class_names`, `image_shape`, `standardize`,
        `rows` and `sha256`, checked to the end.

    Raises:
        ConfigError: in one line, what is wrong with the file.
    """
    task = config.task
    if not isinstance(task, FileConfig):
        return config
    require("://" not in str(task.path), "task.path", "a file on this machine", task.path, "Download it first.")
    try:
        typed = folder / Path(str(task.path)).expanduser()
        path = typed.resolve()
        path = typed if typed.exists() and not path.exists() else path  # /dev/fd/63, a pipe without a name
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreadable(task, str(error)) from error
    task = replace(task, path=str(path))
    return replace(config, task=replace(task, **_examples(task).found))


def read_table(task: FileConfig) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Inputs `(rows, d)` and classes `(rows,)` of a located task.

    Raises:
        ConfigError: the file is not the one that was located, or cannot be used.
    """
    examples = _examples(task)
    return examples.inputs.copy(), examples.classes.copy()


def _examples(task: FileConfig) -> Examples:
    """The examples of a task, from memory if they are kept there and the file is unchanged."""
    path = Path(str(task.path))
    asked = _asked(task)
    known = next((examples for examples in kept if asked == examples.asked), None)
    try:
        if known is None or known.state is None or known.state != _state(path.stat()):
            now = time.time_ns()
            content, status = content_of(path)
            digest = hashlib.sha256(content).hexdigest()
            _refuse_change(task, digest)
            known = known if known and known.found["sha256"] == digest else _read(task, path, content, digest)
            settled = now - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLED
            known = replace(known, state=_state(status) if settled else None)
            kept[:] = [known, replace(known, asked=_asked(replace(task, **known.found)))]
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise _unreadable(task, getattr(error, "strerror", None) or str(error)) from error
    _refuse_change(task, known.found["sha256"])
    rows = known.found["rows"]
    require(task.rows in (None, rows), "task.rows", f"{rows}, the rows of {path}", task.rows, "Start a new run.")
    return known


def _asked(task: FileConfig) -> tuple[Any, ...]:
    special = task.header if isinstance(task, CsvConfig) else getattr(task, "image_shape", None)
    return type(task), task.path, task.columns, task.label, task.class_names, special, task.standardize, _is_old(task)


def _is_old(task: FileConfig) -> bool:
    """Whether the task belongs to a run that was saved before `header` existed."""
    return isinstance(task, CsvConfig) and task.header is None and task.rows is not None


def _state(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _unreadable(task: FileConfig, what: str) -> ConfigError:
    return ConfigError(
        f"`task.path` must be a {task.kind} file that can be read. Got {task.path}: {what}. "
        "Relative paths start in the folder where the command is typed."
    )


def _refuse_change(task: FileConfig, digest: str) -> None:
    if task.sha256 not in (None, digest):
        raise ConfigError(
            f"`task.path` must be the file of task.sha256, {str(task.sha256)[:12]}... Got {task.path}, which has "
            f"changed: {digest[:12]}... Restore the old file, or start a new run."
        )


def _read(task: FileConfig, path: Path, content: bytes, digest: str) -> Examples:
    import numpy as np

    file: TableFile
    if isinstance(task, CsvConfig):
        file = TextFile(content, path, task.header, old=_is_old(task))
    else:
        file = ArrayFile(content, path)
    if task.label is None or task.columns is None:
        require("" not in file.names[1:], "task.path", "a table with a name for each column", file.names, "Add names.")
    label = task.label if task.label is not None else file.last()
    columns = task.columns
    if columns is None:  # pandas writes its index without a name, and reads such a column as Unnamed
        columns = [name for name in file.names if name not in ("", label) and not name.startswith("Unnamed: ")]
    known = set(file.names)
    for key, names in (("task.columns", columns), ("task.label", [label])):
        for name in names:
            require(is_plain(name), key, "plain text, without control characters or ${", name, "Rename the column.")
            if name not in known:
                suggestion = did_you_mean(name, file.names) or f"{path.name} has {shown(file.names)}."
                raise ConfigError(f"`{key}` must name columns of {path.name}. Got {name}. {suggestion}")
    require(len(columns) > 0, "task.path", "a table of at least two columns", file.names, "The last one holds labels.")
    shape, are_bytes = None, False
    if isinstance(file, ArrayFile) and isinstance(task, NpzConfig):
        shape = file.image_shape(columns, task.image_shape, chosen=task.columns is not None)
        are_bytes = file.are_bytes(columns)
    table = file.table(columns, label)
    names, codes = classes(label, table, task.class_names or [])
    if task.label is None:
        _refuse_one_hot(table, [*columns, label])
    chosen = task.class_names if task.class_names is not None else names
    for name in names:
        if name not in chosen:
            raise ConfigError(
                f"`task.class_names` must have every value of column {label}. Got {shown(chosen)} without {name}. "
                "null takes them all."
            )
    found: dict[str, Any] = {"columns": columns, "label": label, "class_names": chosen, "rows": len(codes)}
    found |= {"sha256": digest} | ({} if file.header is None else {"header": file.header})
    found |= {"image_shape": shape} if shape else {}
    found |= {"standardize": shape is None} if task.standardize is None else {}
    places = np.array([chosen.index(name) for name in names])
    inputs = table.inputs / LARGEST_BYTE if shape and are_bytes else table.inputs
    return Examples(_asked(task), found, None, inputs, places[codes])


def _refuse_one_hot(table: Table, names: list[str]) -> None:
    """Refuses last columns that are one label, written as a 1 in the column of its class."""
    import numpy as np

    total = np.array([number_of(text) for text in table.texts])[table.codes]
    for place in range(table.inputs.shape[1] - 1, -1, -1):
        column = table.inputs[:, place]
        if not np.isin(column, (0, 1)).all():
            return
        total = total + column
        require(
            not (total == 1).all(),
            "task.label",
            "given where the last columns have a single 1 in each row, as one-hot labels have",
            names[place:],
            f"Write one column of classes, or choose task.label={names[-1]}.",
        )
