"""Arrays from a file that somebody else wrote: numbers come in, nothing else does."""

import io
import os
import pickle
import resource
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from nngeom_cli.errors import DamageError
from nngeom_cli.store.arrays import read_arrays, read_dataset


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


def header(**description):
    """The first bytes of an .npy file."""
    written = io.BytesIO()
    np.lib.format.write_array_header_1_0(written, {"descr": "<f8", "fortran_order": False, "shape": ()} | description)
    return written.getvalue()


@pytest.mark.parametrize(
    ("description", "content"),
    [
        ({"descr": "|S0", "shape": (4 * 10**8,)}, b""),
        ({"descr": "<U0", "shape": (4 * 10**8,)}, b""),
        ({"descr": "|V0", "shape": (4 * 10**8,)}, b""),
        ({"descr": "<f8", "shape": (10**18, 10**18)}, bytes(8)),
        ({"descr": "<f8", "shape": (2**32, 2**32)}, b""),  # 2^64 numbers, which is 0 to a processor
        ({"descr": "<f8", "shape": (-1, -1)}, bytes(8)),
        ({"descr": "<f8", "shape": (1,)}, bytes(16)),
        ({"descr": "<M8[s]", "shape": (1,)}, bytes(8)),
        ({"descr": [("a", "<f8")], "shape": (1,)}, bytes(8)),
    ],
    ids=str,
)
def test_an_array_of_no_bytes_or_of_more_than_its_file_has_is_refused(tmp_path, description, content):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", header(**description) + content)
    with pytest.raises(DamageError):
        read_arrays(tmp_path / "a.npz")


def test_arrays_that_share_their_bytes_are_refused(tmp_path):
    """A thousand names for one array of the archive: 80 MB of a file of 160 kB."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", header(shape=(10_000,)) + bytes(80_000))
        (entry,) = archive.infolist()
        archive.filelist.extend([entry] * 999)
        archive._didModify = True
    with pytest.raises(DamageError):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("read", [read_arrays, read_dataset])
def test_what_is_no_file_is_refused_at_once(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "empty").touch()
    for name in ("pipe", "folder", "zero", "empty", "missing"):
        with pytest.raises(DamageError):
            read(tmp_path / name)


def texts_that_share(path, count, length):
    """A file of `count` texts, all of which are one text of so many characters."""
    with h5py.File(path, "w") as file:
        texts = file.create_dataset("name", (count,), h5py.string_dtype())
        texts[:] = ["x"] * (count - 1) + ["y" * length]
        place = texts.id.get_offset()
    content = bytearray(path.read_bytes())
    content[place : place + 16 * count] = content[place + 16 * (count - 1) : place + 16 * count] * count
    path.write_bytes(content)


@pytest.mark.parametrize(("count", "length"), [(60_000, 3), (900, 200_000)])
def test_many_texts_that_are_the_same_bytes_are_refused(tmp_path, count, length):
    texts_that_share(tmp_path / "a.nc", count, length)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DamageError):
        read_dataset(tmp_path / "a.nc")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def many_attributes(file):
    for number in range(200):
        file["R"].attrs[f"a{number}"] = 1


def text_attributes(file):
    file["R"].attrs["a"] = ["x"] * 100


def large_attribute(file):
    file["R"].attrs["a"] = np.zeros(2000)


def vector_attributes(file):
    vectors = np.empty(1, dtype=object)
    vectors[0] = np.zeros(3)
    file.attrs.create("a", vectors, dtype=h5py.vlen_dtype(np.float64))


def reference_attribute(file):
    file.attrs["a"] = file["R"].ref


def vectors(file):
    file.create_dataset("out", (1,), h5py.vlen_dtype(np.float64))


def type_of_its_own(file):
    file["out"] = np.dtype("f8")


def compound(file):
    file["out"] = np.zeros(2, dtype=[("a", "f8"), ("b", "f8")])


def the_same_array_twice(file):
    file["big"] = np.zeros(10_000)
    for number in range(100):
        file[f"again{number}"] = file["big"]


def compressed(file):
    file.create_dataset("out", data=np.zeros(10**6), compression="gzip", chunks=(10_000,))


def pieces_larger_than_the_array(file):
    """A gigabyte of zeros in a megabyte: whoever reads one number unpacks all of them."""
    file.create_dataset("out", (1,), "f8", maxshape=(None,), chunks=(2**20,), compression="gzip")[0] = 1


def list_of_dimensions(file):
    references = np.empty(40, dtype=object)
    references[:] = [np.array([file["R"].ref], dtype=h5py.ref_dtype)] * 40
    file["out"] = np.zeros(3)
    file["out"].attrs.create("DIMENSION_LIST", references, dtype=h5py.vlen_dtype(h5py.ref_dtype))


def dimension_of_two_scales(file):
    file["out"] = np.zeros(9)
    for name in ("one", "two"):
        file[name] = np.zeros(9)
        file[name].make_scale()
        file["out"].dims[0].attach_scale(file[name])


def many_dimensions(file):
    file["out"] = np.zeros((1,) * 20)


HARMS = [
    pieces_larger_than_the_array, list_of_dimensions, dimension_of_two_scales, many_dimensions,
    many_attributes, text_attributes, large_attribute, vector_attributes, reference_attribute, vectors, type_of_its_own,
    compound, the_same_array_twice, compressed,
]  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_what_a_run_never_writes_is_not_read(netcdf, harm):
    with h5py.File(netcdf, "a") as file:
        harm(file)
    with pytest.raises(DamageError):
        read_dataset(netcdf)


@pytest.mark.parametrize("units", ["days since 2000-01-01", "seconds", "months since 0000-00-00", "x since y"])
def test_units_are_words_and_no_dates(netcdf, units):
    with h5py.File(netcdf, "a") as file:
        file["R"].attrs["units"] = units
    read = read_dataset(netcdf).R
    assert (read.attrs["units"], read.values.tolist()) == (units, list(range(9)))


def test_attributes_that_mean_something_to_others_make_no_noise(netcdf):
    with h5py.File(netcdf, "a") as file:
        file["R"].attrs["_Unsigned"] = "true"
    assert read_dataset(netcdf).R.values.tolist() == list(range(9))


@pytest.mark.parametrize("name", ["punycode", "zlib", "idna", "no such codec"])
def test_bytes_are_not_decoded_as_the_file_says(netcdf, name):
    with h5py.File(netcdf, "a") as file:
        file["letters"] = np.frombuffer(b"ab-cd-efg", dtype="S1")
        file["letters"].dims[0].attach_scale(file["x"])
        file["letters"].attrs["_Encoding"] = name
    assert read_dataset(netcdf).letters.values.tolist() == [b"a", b"b", b"-", b"c", b"d", b"-", b"e", b"f", b"g"]


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
