"""The bytes of a user's file: what is regular, fits into memory and is text in some encoding is read, nothing else."""

import bz2
import gzip
import lzma
import os
import socket
from pathlib import Path

import pytest
from table_files import TABLE, pinned, refusal, refused, written, zipped

from nngeom_cli.tables import unpacking


def test_a_pipe_without_a_name_is_refused():
    reading, writing = os.pipe()
    try:
        assert ", a pipe. Write the table to a file first." in refusal(f"/dev/fd/{reading}")
    finally:
        os.close(reading)
        os.close(writing)


def test_an_address_in_the_network_is_refused():
    assert refusal("https://example.org/points.csv").startswith(
        "`task.path` must be a file on this machine. Got https://"
    )


def test_a_file_that_is_being_written_is_refused(tmp_path, monkeypatch):
    path = written(tmp_path / "points.csv")
    fstat = os.fstat

    def growing(handle):
        status = fstat(handle)
        with path.open("a") as file:
            file.write("1,2,cat\n")
        return status

    monkeypatch.setattr(os, "fstat", growing)
    assert refusal(path).startswith(f"`task.path` must be a file that does not change while it is read. Got {path}")


@pytest.mark.parametrize("kind", ["csv", "npz"])
@pytest.mark.parametrize("what", ["a folder", "a pipe", "a socket", "a device"])
def test_only_a_regular_file_is_opened(tmp_path, monkeypatch, what, kind):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "points"
    with socket.socket(socket.AF_UNIX) as end:
        if what == "a folder":
            path.mkdir()
        elif what == "a pipe":
            os.mkfifo(path)
        elif what == "a socket":
            end.bind("points")
        else:
            path = Path("/dev/zero")
        said = refusal(path, kind=kind)
    assert said == f"`task.path` must be a regular file. Got {path}, {what}. Write the table to a file first."


def test_a_file_larger_than_a_quarter_of_the_free_memory_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "points.csv"
    with path.open("wb") as file:
        file.truncate(10**10)  # takes no room
    monkeypatch.setattr(unpacking, "available_memory", lambda: 8 * 10**9)
    assert refusal(path).startswith(
        f"`task.path` must hold at most 2 GB, a quarter of the memory that is free. Got {path}: the file has 10 GB."
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1", "cp1252"])
def test_accents_are_read_in_each_encoding(tmp_path, encoding):
    path = tmp_path / "points.csv"
    path.write_bytes(TABLE.replace("dog", "chien-loup né").replace("cat", "öl").encode(encoding))
    assert pinned(path).class_names == ["chien-loup né", "öl"]


NOT_TEXT = {
    "gz in gz": (gzip.compress(gzip.compress(b"1,2,a\n")), "a packed file inside a packed file. Unpack it first."),
    "tar.gz": (gzip.compress(b"\0" * 257 + b"ustar" + b"\0" * 250), "a tar archive. Unpack it first."),
    "two files": (zipped(**{"a.csv": TABLE, "b.csv": TABLE}), "an archive of 2 files. Unpack it and choose one."),
    "no file": (zipped(), "an empty archive. Pack the file again."),
    "xlsx": (
        zipped(**{"[Content_Types].xml": "", "xl/workbook.xml": ""}),
        "a workbook. Save it as CSV in the spreadsheet.",
    ),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a workbook. Save it as CSV in the spreadsheet."),
    "npz": (zipped(**{"X.npy": ""}), "arrays saved by numpy.savez. Choose task=npz."),
    "npy": (b"\x93NUMPY\x01\x00", "a single array. Save it with its labels: numpy.savez('points.npz', X=X, y=y),"),
    "torch": (zipped(**{"archive/data.pkl": ""}), "a file saved by torch.save. Load it and save numpy.savez("),
    "pickle": (b"\x80\x04\x95\x00", "a pickle, which could run code. Load it in Python and save numpy.savez("),
    "parquet": (b"PAR1\x15\x04", "Parquet. Read it in Python and write text: frame.to_csv('points.csv', index=False)."),
    "hdf5": (b"\x89HDF\r\n\x1a\n", "HDF5. Read it in Python and save numpy.savez("),
    "matlab": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "a MATLAB file. Read it with scipy.io.loadmat and save"),
    "rds": (
        gzip.compress(b"X\n\0\0\0\2"),
        "R's own format. Write text in R: write.csv(frame, 'points.csv', row.names=",
    ),
    "zst": (b"\x28\xb5\x2f\xfd", "a zstd archive. Unpack it first."),
    "png": (b"\x89PNG\r\n", "a picture. Save the pixels of all pictures: numpy.savez('points.npz', X=X, y=y),"),
}


@pytest.mark.parametrize("name", NOT_TEXT)
def test_another_format_is_named_with_what_to_do(tmp_path, name):
    content, said = NOT_TEXT[name]
    assert refused(tmp_path, content).startswith(f"`task.path` must be text. Got FILE, {said}")


BYTES = {
    "a NUL in a label": (TABLE.replace("dog", "d\0g").encode(), "FILE with a NUL byte in line 2."),
    "UTF-16 without its mark": (TABLE.encode("utf-16-le"), "FILE with a NUL byte in line 1."),
    "half of UTF-16": (TABLE.encode("utf-16")[:-1], "FILE: 'utf-16-le' codec can't decode byte"),
    "UTF-8, damaged": (TABLE.replace("dog", "né").encode() + b"\xff", "FILE: 'utf-8' codec can't decode byte 0xff"),
}


@pytest.mark.parametrize("name", BYTES)
def test_bytes_that_are_no_text_are_refused(tmp_path, name):
    content, said = BYTES[name]
    assert refused(tmp_path, content).startswith(f"`task.path` must be text in UTF-8. Got {said}")


@pytest.mark.parametrize(
    "content",
    [gzip.compress(TABLE.encode())[:-9], b"BZh91AY&SY..", lzma.compress(b"1" * 99)[:40]],
    ids=["gz", "bz2", "xz"],
)
def test_a_damaged_archive_is_refused(tmp_path, content):
    assert refused(tmp_path, content).startswith("`task.path` must be a file that can be unpacked. Got FILE: ")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, lambda text: zipped(a=text)])
def test_what_does_not_fit_into_memory_is_not_unpacked(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(unpacking, "available_memory", lambda: 4_000_000)
    said = refused(tmp_path, pack(b"1,2,a\n" * 200_000))
    assert said.startswith("`task.path` must hold at most 1 MB, a quarter of the memory that is free. Got FILE: ")
