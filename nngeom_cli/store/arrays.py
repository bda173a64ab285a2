"""Arrays on disk, as npz and netCDF, read so that no file can do harm.

A file may hold numbers and a few short texts. Refused are objects (a pickle runs code), references to other files, and
anything that takes much more memory than its file.
"""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from nngeom_cli.errors import DamageError, one_line
from nngeom_cli.system.memory import available_memory, in_words

__all__ = ["netcdf_bytes", "read_arrays", "read_dataset"]

ENGINE = "h5netcdf"
PLAIN_FILTERS = (1, 2, 3)  # deflate, shuffle, checksum; for any other HDF5 would load a library
MOST_ARRAYS = 10_000  # in a file
MOST_DIMENSIONS = 8  # of an array
MOST_ATTRIBUTES = 100  # of an array
MOST_NUMBERS = 1_000  # in an attribute
MOST_TEXTS, LONGEST_TEXT = 1_000, 10_000
LITTLE = 2**26  # bytes that any machine has to spare
OF_NETCDF = ("DIMENSION_LIST", "REFERENCE_LIST")  # attributes that hold references within the file


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file, by name.

    Raises:
        DamageError: it is not an npz file, or not a harmless one.
    """
    try:
        _refuse_file(path)
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _refuse(len(entries) > MOST_ARRAYS, "too many arrays")
            for entry in entries:
                _refuse(entry.compress_type != zipfile.ZIP_STORED, f"{entry.filename} is compressed")
                with archive.open(entry) as file:
                    np.lib.format.read_magic(file)
                    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                    rest = entry.file_size - file.tell()
                _refuse_dtype(entry.filename, dtype)
                _refuse(math.prod(shape) * dtype.itemsize != rest, f"{entry.filename} is not as large as it states")
            _refuse(sum(entry.file_size for entry in entries) > path.stat().st_size, "arrays that share bytes")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # of any kind: several libraries read what anyone may have written
        raise _damaged(path, "arrays of numbers that `nngeom run` saved", error) from error


def read_dataset(path: Path) -> xr.Dataset:
    """The dataset in a netCDF file, in memory.

    Raises:
        DamageError: it is not a netCDF file, or not a harmless one.
    """
    import h5py

    try:
        _refuse_file(path)
        with h5py.File(path, "r") as file:
            _refuse_harm(file, path.stat().st_size)
        with warnings.catch_warnings():  # xarray adds a filter of its own each time
            warnings.simplefilter("ignore")  # about attributes that no run writes
            return xr.load_dataset(path, engine=ENGINE, decode_times=False, concat_characters=False)
    except Exception as error:  # of any kind, as above
        raise _damaged(path, "labelled arrays that `nngeom run` saved", error) from error


def netcdf_bytes(dataset: xr.Dataset) -> bytes:
    """A dataset as the content of a netCDF file.

    It is made in memory, since HDF5 crashes at the end of a process in which it met a full disk.
    """
    import h5netcdf

    buffer = io.BytesIO()
    with h5netcdf.File(buffer, "w") as file:
        dataset.dump_to_store(xr.backends.H5NetCDFStore(file))
    return buffer.getvalue()


def _refuse_harm(file: Any, size: int) -> None:
    """Raises ValueError if an HDF5 file refers to other files, holds objects, or would fill the memory."""
    import h5py

    _refuse(len(file) > MOST_ARRAYS, "too many arrays")
    total = 0
    texts: list[tuple[str, Callable[[], Any]]] = [*_attributes("the file", file)]
    for name in file:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is a link")
        item = file[name]
        if not isinstance(item, h5py.Dataset):
            raise ValueError(f"{name} is not an array")
        if item.external or item.is_virtual:
            raise ValueError(f"{name} is stored in another file")
        creation = item.id.get_create_plist()
        if any(creation.get_filter(number)[0] not in PLAIN_FILTERS for number in range(creation.get_nfilters())):
            raise ValueError(f"{name} is packed by an unknown filter")
        if item.chunks and any(part > whole for part, whole in zip(item.chunks, item.shape, strict=True)):
            raise ValueError(f"{name} is stored in chunks larger than itself")  # each is unpacked as a whole
        texts += _attributes(name, item)
        _refuse(item.ndim > MOST_DIMENSIONS, f"{name} has {item.ndim} dimensions")
        for scales in item.dims:
            _refuse(len(scales) > 1, f"a dimension of {name} with {len(scales)} scales")
        dtype, count = item.dtype, math.prod(item.shape or ())
        string = h5py.check_string_dtype(dtype)
        if string is None or string.length is not None:
            _refuse_dtype(name, dtype)
        elif count > MOST_TEXTS:
            raise ValueError(f"{name} holds {count} texts")
        else:
            texts += [(name, partial(item.__getitem__, place)) for place in np.ndindex(item.shape)]
        total += count * dtype.itemsize
    if total > size:
        raise ValueError(f"its arrays have {total} bytes in a file of {size}")
    if len(texts) * size > LITTLE:  # many of them may be the same bytes of the file
        for name, read in texts:
            _refuse(len(read()) > LONGEST_TEXT, f"a long text in {name}")


def _attributes(name: str, item: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Checks the attributes of an array; yields each text, unread, as its name and a function that reads it."""
    import h5py

    attributes = item.attrs
    _refuse(len(attributes) > MOST_ATTRIBUTES, f"too many attributes of {name}")
    for key in attributes:
        attribute = attributes.get_id(key)
        count, dtype = math.prod(attribute.shape or ()), attribute.dtype
        string = h5py.check_string_dtype(dtype)
        if string is not None and string.length is None:
            _refuse(count > 1, f"an attribute of {name} with {count} texts")
            yield name, partial(attributes.__getitem__, key)
        elif key not in OF_NETCDF:
            _refuse_dtype(name, dtype)
        elif key == "DIMENSION_LIST":
            _refuse(count != getattr(item, "ndim", 0), f"{name} with {count} dimensions in its list")
        _refuse(count > MOST_NUMBERS, f"an attribute of {name} with {count} values")


def _refuse_dtype(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "biufSU" or dtype.itemsize == 0:
        raise ValueError(f"{name} holds {dtype}")


def _refuse_file(path: Path) -> None:
    _refuse(not path.is_file(), "it is missing, or not a file")
    size, room = path.stat().st_size, available_memory()
    _refuse(size > room, f"{in_words(size)}, with {in_words(room)} of free memory")


def _refuse(harmful: bool, what: str) -> None:
    if harmful:
        raise ValueError(what)


def _damaged(path: Path, what: str, error: Exception) -> DamageError:
    return DamageError(f"`{path}` must hold {what}. Got: {one_line(error)}. `nngeom resume` repairs a run.")
