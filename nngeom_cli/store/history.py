"""Loss and accuracy recorded during a run, at a cost that does not grow with the number of earlier rows."""

from __future__ import annotations

import hashlib
import io

import pandas as pd

__all__ = ["WHOLE_COLUMNS", "History", "parsed"]

WHOLE_COLUMNS = ("epoch", "replicate")  # of integers
SCORES = ("loss", "accuracy", "test_loss", "test_accuracy", "volume_penalty")  # read to the last digit


class History:
    """The rows of history.csv, added checkpoint by checkpoint.

    Args:
        table: rows recorded so far, if any.

    Example:
        >>> history = History()
        >>> history.add(pd.DataFrame({"epoch": [0], "replicate": [3], "loss": [0.7], "accuracy": [0.5]}))
        >>> history.add(pd.DataFrame({"epoch": [9], "replicate": [3], "loss": [0.1], "accuracy": [1.0]}))
        >>> history.text()
        b'epoch,replicate,loss,accuracy\\n0,3,0.7,0.5\\n9,3,0.1,1.0\\n'
    """

    def __init__(self, table: pd.DataFrame | None = None) -> None:
        self._tables: list[pd.DataFrame] = []
        self._lines: list[bytes] = []
        self._digest = hashlib.sha256()
        if table is not None:
            self.add(table)

    def add(self, rows: pd.DataFrame) -> None:
        """Adds rows with the same columns as those before."""
        lines = str(rows.to_csv(index=False, header=not self._lines, na_rep="nan")).encode()
        self._tables.append(rows)
        self._lines.append(lines)
        self._digest.update(lines)

    def table(self) -> pd.DataFrame:
        """All rows."""
        self._tables = [pd.concat(self._tables, ignore_index=True)]
        return self._tables[0]

    def text(self) -> bytes:
        """history.csv with every digit, so that reading it gives the same numbers."""
        self._lines = [b"".join(self._lines)]
        return self._lines[0]

    def checksum(self) -> str:
        """SHA-256 of the text."""
        return self._digest.hexdigest()


def parsed(text: bytes) -> pd.DataFrame:
    """The table of a history.csv.

    Raises:
        ValueError: it has other columns, or a value that is not a number.
        KeyError: it lacks a column.
        OverflowError: it has an integer of more than 64 bits.
    """
    columns = text[: text.find(b"\n")].decode().split(",")
    if unknown := sorted(set(columns) - {*WHOLE_COLUMNS, *SCORES}):
        raise ValueError(f"column {unknown[0]}")
    history = pd.read_csv(io.BytesIO(text), converters=dict.fromkeys(SCORES, float), index_col=False)
    return history.astype({"epoch": int, "replicate": int, "loss": float, "accuracy": float})
