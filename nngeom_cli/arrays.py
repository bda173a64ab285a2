"""Arrays on disk, npz and netCDF, read so that a file can do no harm: numbers and text, held by the file itself.

No objects (a pickle runs code), no reference to another file, no array that is larger than its file.
"""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from nngeom_cli.errors import DamageError, one_line

__all__ = ["netcdf_bytes", "read_arrays", "read_dataset"]

ENGINE = "h5netcdf"
PLAIN_FILTERS = (1, 2, 3)  # deflate, shuffle, checksum: any other one is a library that HDF5 would load
READING = (OSError, ValueError, TypeError, KeyError, RuntimeError, AttributeError, IndexError, EOFError, MemoryError,
           OverflowError, SyntaxError, NotImplementedError, zipfile.BadZipFile)  # fmt: skip


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file, by name.

    Raises:
        DamageError: it is not one, or not a harmless one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"{entry.filename} is compressed")
                with archive.open(entry) as file:
                    np.lib.format.read_magic(file)
                    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                _refuse_dtype(entry.filename, dtype)
                if math.prod(shape) * dtype.itemsize > entry.file_size:
                    raise ValueError(f"{entry.filename} is larger than its file")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except READING as error:
        raise _damaged(path, "arrays of numbers that `nngeom run` saved", error) from error


def read_dataset(path: Path) -> xr.Dataset:
    """A dataset of a netCDF file, in memory.

    Raises:
        DamageError: it is not one, or not a harmless one.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            _refuse_harm(file, path.stat().st_size)
        with warnings.catch_warnings():  # xarray adds a filter of its own each time
            return xr.load_dataset(path, engine=ENGINE)
    except READING as error:
        raise _damaged(path, "labelled arrays that `nngeom run` saved", error) from error


def netcdf_bytes(dataset: xr.Dataset) -> bytes:
    """A dataset as the content of a netCDF file.

    It is made in memory, since HDF5 crashes at the end of a process in which it found the disk full.
    """
    import h5netcdf

    buffer = io.BytesIO()
    with h5netcdf.File(buffer, "w") as file:
        dataset.dump_to_store(xr.backends.H5NetCDFStore(file))
    return buffer.getvalue()


def _refuse_harm(file: Any, size: int) -> None:
    """Raises ValueError where an HDF5 file leads out of itself, holds objects, or would fill the memory."""
    import h5py

    total = 0
    for name in file:
        link = file.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{name} is a link")
        item = file[name]
        if not isinstance(item, h5py.Dataset):
            raise ValueError(f"{name} is no array")
        if item.external or item.is_virtual:
            raise ValueError(f"{name} lies in another file")
        if h5py.check_string_dtype(item.dtype) is None:
            _refuse_dtype(name, item.dtype)
        creation = item.id.get_create_plist()
        filters = [creation.get_filter(number)[0] for number in range(creation.get_nfilters())]
        if not set(filters) <= set(PLAIN_FILTERS):
            raise ValueError(f"{name} is packed by a filter")
        total += math.prod(item.shape or ()) * item.dtype.itemsize
    if total > size:
        raise ValueError(f"its arrays have {total} bytes in a file of {size}")


def _refuse_dtype(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "biufSU":
        raise ValueError(f"{name} holds {dtype}")


def _damaged(path: Path, what: str, error: Exception) -> DamageError:
    return DamageError(f"`{path}` must hold {what}. Got: {one_line(error)}. `nngeom resume` mends a run.")
