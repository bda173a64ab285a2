"""Arrays from a file that somebody else wrote: numbers come in, nothing else does."""

import io
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from nngeom_cli.arrays import read_arrays, read_dataset
from nngeom_cli.errors import DamageError


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def netcdf(tmp_path):
    """A good file of each kind, `values.nc` and `values.npz`."""
    path = tmp_path / "values.nc"
    xr.Dataset({"R": (("x",), np.arange(9.0)), "name": ("x", list("abcdefghi"))}, attrs={"kind": "grid"}).to_netcdf(
        path, engine="h5netcdf"
    )
    return path


def test_numbers_and_text_come_in(netcdf, tmp_path):
    dataset = read_dataset(netcdf)
    assert dataset.R.values.tolist() == list(range(9))
    assert dataset.name.values.tolist() == list("abcdefghi")
    np.savez(tmp_path / "a.npz", a=np.arange(3), b=np.array("text"))
    assert read_arrays(tmp_path / "a.npz")["a"].tolist() == [0, 1, 2]


def external_link(file, tmp_path):
    file["out"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "secret")


def soft_link(file, tmp_path):
    file["out"] = h5py.SoftLink("/R")


def external_storage(file, tmp_path):
    file.create_dataset("out", (3,), "f8", external=[(str(tmp_path / "secret.h5"), 0, 24)])


def virtual(file, tmp_path):
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "secret", (3,))
    file.create_virtual_dataset("out", layout)


def references(file, tmp_path):
    file.create_dataset("out", (1,), h5py.ref_dtype)


def opaque(file, tmp_path):
    file["out"] = np.array([b"x"], dtype="V8")


def group(file, tmp_path):
    file.create_group("out")


def huge(file, tmp_path):
    file.create_dataset("out", (10**12,), "f8", chunks=(1000,))


@pytest.mark.parametrize("harm", [external_link, soft_link, external_storage, virtual, references, opaque, group, huge])
def test_a_netcdf_file_that_leads_elsewhere_or_holds_no_numbers_is_refused(netcdf, tmp_path, harm):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["secret"] = np.arange(3.0)
    with h5py.File(netcdf, "a") as file:
        harm(file, tmp_path)
    with pytest.raises(DamageError) as caught:
        read_dataset(netcdf)
    assert str(caught.value).startswith(f"`{netcdf}` must hold labelled arrays that `nngeom run` saved. Got: ")


def test_a_pickle_in_an_npz_file_is_not_opened(tmp_path):
    for name, content in {"object.npz": np.array([Touch(tmp_path / "called")], dtype=object), "raw.npz": None}.items():
        if content is None:
            with zipfile.ZipFile(tmp_path / name, "w") as archive:
                archive.writestr("a.npy", pickle.dumps(Touch(tmp_path / "called")))
        else:
            np.savez(tmp_path / name, a=content)
        with pytest.raises(DamageError):
            read_arrays(tmp_path / name)
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Touch(tmp_path / "called")))
    with pytest.raises(DamageError):
        read_arrays(tmp_path / "pickle.npz")
    assert not (tmp_path / "called").exists()


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(10**6))
    with pytest.raises(DamageError, match="is compressed"):
        read_arrays(tmp_path / "bomb.npz")


def test_an_array_that_claims_to_be_larger_than_its_file_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**9,)})
    with zipfile.ZipFile(tmp_path / "large.npz", "w") as archive:
        archive.writestr("a.npy", header.getvalue() + bytes(80))
    with pytest.raises(DamageError):
        read_arrays(tmp_path / "large.npz")


@settings(max_examples=60)
@given(st.data())
def test_a_file_with_a_few_wrong_bytes_is_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("arrays") / "a.nc"
    xr.Dataset({"R": (("x",), np.arange(9.0))}, attrs={"kind": "grid"}).to_netcdf(path, engine="h5netcdf")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        assert isinstance(read_dataset(path), xr.Dataset)
    except DamageError as error:
        assert "\n" not in str(error)  # noqa: PT017
