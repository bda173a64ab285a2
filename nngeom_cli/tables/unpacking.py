"""The bytes of a user's file: read if it is a regular file and fits; their format; unpacked, as UTF-8 text."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from nngeom_cli.errors import ConfigError, one_line
from nngeom_cli.system.memory import available_memory, in_words

__all__ = ["UNPACKING_ERRORS", "ZIP", "content_of", "foreign_archive", "refuse_kind", "refuse_size", "text_of"]

FILE_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
              stat.S_IFBLK: "a device"}  # fmt: skip
SHARE = 4  # times a file's size that must be free: a table in memory is up to about so much larger

ARRAYS = "numpy.savez('points.npz', X=X, y=y), and choose task=npz"
IN_PYTHON = "Read it in Python and write text: frame.to_csv('points.csv', index=False)."
UNPACK = "Unpack it first."
KINDS = {  # the first bytes of a format that nngeom does not read: its name, and what to do
    b"\x93NUMPY": ("a single array", f"Save it with its labels: {ARRAYS}."),
    b"\x89HDF\r\n\x1a\n": ("HDF5", f"Read it in Python and save {ARRAYS}."),
    **dict.fromkeys((b"CDF\1", b"CDF\2", b"CDF\5"), ("netCDF", f"Read it in Python and save {ARRAYS}.")),
    b"MATLAB 5.0 MAT-file": ("a MATLAB file", f"Read it with scipy.io.loadmat and save {ARRAYS}."),
    b"\x89PNG": ("a picture", f"Save the pixels of all pictures: {ARRAYS}."),
    b"\xff\xd8\xff": ("a picture", f"Save the pixels of all pictures: {ARRAYS}."),
    **dict.fromkeys(
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        ("a pickle, which could run code", f"Load it in Python and save {ARRAYS}."),
    ),
    b"PAR1\x15": ("Parquet", IN_PYTHON),
    b"ARROW1\0\0": ("Feather", IN_PYTHON),
    b"SQLite format 3\0": ("a database", IN_PYTHON),
    b"\xd0\xcf\x11\xe0": ("a workbook", "Save it as CSV in the spreadsheet."),
    **dict.fromkeys(
        (b"RDX2\n", b"RDX3\n", b"X\n\0\0\0"),
        ("R's own format", "Write text in R: write.csv(frame, 'points.csv', row.names=FALSE)."),
    ),
    b"%PDF-": ("a PDF", "Copy the table into a text file."),
    b"\x28\xb5\x2f\xfd": ("a zstd archive", UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", UNPACK),
    b"Rar!\x1a": ("a rar archive", UNPACK),
    b"\x1f\x9d": ("a compress archive", UNPACK),
    b"PK\5\6": ("an empty archive", "Pack the file again."),
}
ZIP = b"PK\x03\x04"
PACKED: dict[bytes, Callable[[io.BytesIO, Path], Any]] = {  # first bytes: how to open the text
    b"\x1f\x8b": lambda file, _: gzip.GzipFile(fileobj=file),
    **{f"BZh{level}1AY&SY".encode(): lambda file, _: bz2.BZ2File(file) for level in range(1, 10)},
    b"\xfd7zXZ\0": lambda file, _: lzma.LZMAFile(file),  # noqa: SIM115  _unpacked closes it
    ZIP: lambda file, path: _only_member(file, path),
}
UNPACKING_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError,
                    NotImplementedError, MemoryError)  # fmt: skip
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, since it begins with that mark
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def content_of(path: Path) -> tuple[bytes, os.stat_result]:
    """All bytes of a regular file, and its state, which was the same before and after they were read.

    Raises:
        OSError: it cannot be read.
        ConfigError: it is not a regular file, does not fit into memory, or is being written.
    """
    mode = path.stat().st_mode  # before it is opened: a pipe would wait for its other end
    if not stat.S_ISREG(mode):
        kind = FILE_KINDS.get(stat.S_IFMT(mode), "something else")
        raise ConfigError(f"`task.path` must be a regular file. Got {path}, {kind}. Write the table to a file first.")
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        refuse_size(path, "the file", before.st_size)
        content = file.read(before.st_size + 1)
        after = os.fstat(file.fileno())
    if len(content) != before.st_size or (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise ConfigError(
            f"`task.path` must be a file that does not change while it is read. Got {path}, which was being written. "
            "Wait until it is complete."
        )
    return content, after


def refuse_size(path: Path, what: str, size: float) -> None:
    """Raises ConfigError if the contents of a file are too large for the free memory.

    Args:
        path: of the file.
        what: the part of it that has this size.
        size: bytes that it takes in memory.
    """
    most = available_memory() // SHARE
    if size > most:
        raise _too_large(path, most, f"{what} has {in_words(size)}")


def _too_large(path: Path, most: float, what: str) -> ConfigError:
    return ConfigError(
        f"`task.path` must hold at most {in_words(most)}, a quarter of the memory that is free. Got {path}: {what}. "
        "Use fewer rows or columns."
    )


def refuse_kind(content: bytes, path: Path, wanted: str) -> None:
    """Raises ConfigError if the first bytes show a format that nngeom does not read.

    Args:
        content: of the file.
        path: of the file.
        wanted: what it must be.
    """
    known = [kind for magic, kind in KINDS.items() if content.startswith(magic)]
    if content[257:262] == b"ustar":
        known = [("a tar archive", UNPACK)]
    for what, suggestion in known:
        raise ConfigError(f"`task.path` must be {wanted}. Got {path}, {what}. {suggestion}")


def text_of(content: bytes, path: Path) -> bytes:
    """The text of a file in UTF-8, unpacked, without byte order mark or NUL.

    Text without a byte order mark is read as UTF-8; or, if no character in it is valid UTF-8, as Windows-1252, which
    has Latin-1's letters.

    Raises:
        ConfigError: it is not text, or its unpacked text does not fit into memory.
    """
    if unpack := _unpacker(content):
        content = _unpacked(unpack, content, path)
        if _unpacker(content):
            raise ConfigError(f"`task.path` must be text. Got {path}, a packed file inside a packed file. {UNPACK}")
    refuse_kind(content, path, "text")
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content if encoding == "utf-8" and content.isascii() else _decoded(content, encoding).encode()
    except UnicodeError as error:
        raise ConfigError(
            f"`task.path` must be text in UTF-8. Got {path}: {one_line(error)}. Save it as UTF-8."
        ) from error
    if b"\0" in text:
        line = text.count(b"\n", 0, text.index(b"\0")) + 1
        raise ConfigError(
            f"`task.path` must be text in UTF-8. Got {path} with a NUL byte in line {line}. Save it as UTF-8."
        )
    return text


def _decoded(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8" or re.search(r"[^\x00-\x7f\udc80-\udcff]", content.decode(errors="surrogateescape")):
            raise  # it is damaged UTF-8, since some characters are valid
        return content.decode("cp1252")


def _unpacker(content: bytes) -> Callable[[io.BytesIO, Path], Any] | None:
    return next((unpack for magic, unpack in PACKED.items() if content.startswith(magic)), None)


def _unpacked(unpack: Callable[[io.BytesIO, Path], Any], content: bytes, path: Path) -> bytes:
    most = available_memory() // SHARE
    try:
        with unpack(io.BytesIO(content), path) as file:
            text: bytes = file.read(most + 1)
    except UNPACKING_ERRORS as error:
        raise ConfigError(
            f"`task.path` must be a file that can be unpacked. Got {path}: {one_line(error)}. Unpack it by hand."
        ) from error
    if len(text) > most:
        raise _too_large(path, most, "its unpacked text has more")
    return text


def _only_member(content: io.BytesIO, path: Path) -> IO[bytes]:
    archive = zipfile.ZipFile(content)
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if len(names) != 1 or names[0].endswith((".npy", "data.pkl")):
        raise foreign_archive(names, path, "text")
    return archive.open(names[0])


def foreign_archive(names: Sequence[str], path: Path, wanted: str) -> ConfigError:
    """The error for a zip archive that holds something else.

    Args:
        names: of its files.
        path: of the archive.
        wanted: what it must be.
    """
    what, suggestion = f"an archive of {len(names)} files", "Unpack it and choose one."
    if any(name.endswith(".npy") for name in names):
        what, suggestion = "arrays saved by numpy.savez", "Choose task=npz."
    elif any(name.endswith("data.pkl") for name in names):
        what, suggestion = "a file saved by torch.save", f"Load it and save {ARRAYS}."
    elif "[Content_Types].xml" in names or "mimetype" in names:
        what, suggestion = "a workbook", "Save it as CSV in the spreadsheet."
    return ConfigError(f"`task.path` must be {wanted}. Got {path}, {what}. {suggestion}")
