"""Tables as numpy's arrays: any type of number, any byte order; what is no table is refused with what to do."""

import io
import resource
import zipfile

import numpy as np
import pytest
import torch
from table_files import config, refusal, task_of

from nngeom_cli.tables import unpacking
from nngeom_cli.tables.table_file import located

X = np.array([[0.5, -1.0], [2.0, 3.5], [1e3, 0.125], [-4.0, 0.0]])
Y = np.array([1, 0, 1, 0])

LABELS = [Y.astype(">i4"), Y.astype("u1"), Y.astype(bool), np.array(["b", "a"] * 2, ">U3")]
LABELS += [np.array([b"b", b"a"] * 2), Y.astype(">f8"), Y[:, None]]


def saved(tmp_path, **arrays):
    path = tmp_path / "points.npz"
    np.savez(path, **arrays)
    return path


def with_header(path, shape, dtype, data=b""):
    """An npz whose one array claims a shape and a type."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.npy", header.getvalue() + data)
    return path


@pytest.mark.parametrize("dtype", ["<f8", ">f8", ">f4", "f2", "g", "<U8", ">U8", "S8"])
@pytest.mark.parametrize("labels", LABELS, ids=lambda y: y.dtype.str)
def test_any_numbers_of_any_byte_order_are_read(tmp_path, dtype, labels):
    task = task_of(saved(tmp_path, X=X.astype(dtype), y=labels), kind="npz")
    assert (task.inputs.numpy() == X).all()
    assert task.labels.tolist() == Y.tolist()
    assert (task.inputs.dtype, task.labels.dtype) == (torch.float64, torch.int64)


@pytest.mark.parametrize("dtype", ["i1", ">i2", "u8", "?"])
def test_integers_and_truth_values_are_inputs(tmp_path, dtype):
    pixels = np.array([[0, 1], [1, 1], [1, 0], [0, 0]]).astype(dtype)
    assert (task_of(saved(tmp_path, X=np.asfortranarray(pixels), y=Y), kind="npz").inputs.numpy() == pixels).all()


def test_a_single_matrix_has_the_labels_in_its_last_column(tmp_path):
    assert task_of(saved(tmp_path, data=np.column_stack([X, Y])), kind="npz").labels.tolist() == Y.tolist()


def test_compressed_arrays_are_read(tmp_path):
    np.savez_compressed(tmp_path / "points.npz", X=X, y=Y)
    assert (task_of(tmp_path / "points.npz", kind="npz").inputs.numpy() == X).all()


LENGTHS = "must be arrays with the same number of rows, at least one. Got"
SHAPES = "must hold vectors, matrices, and images (examples, rows, columns) or (examples, channels, rows, columns), "
SHAPES += "of at most 300000 numbers an example. Got"
TYPES = "must hold numbers and strings. Got"
ARRAYS = {
    "lengths": ({"X": X, "y": Y[:3]}, f"{LENGTHS} {{X: 4, y: 3}}."),
    "no rows": ({"X": X[:0], "y": Y[:0]}, f"{LENGTHS} {{X: 0, y: 0}}."),
    "no arrays": ({}, f"{LENGTHS} {{}}."),
    "a name of a line": ({"X\n": Y, "y": Y}, "must be plain text, without control characters or ${. Got X"),
    "names": ({"X": X, "X1": Y, "y": Y}, "must be arrays whose columns have different names. Got [X1]. Rename X1."),
    "volumes": (
        {"X": np.zeros((4, 1, 8, 8, 8), np.uint8), "y": Y},
        f"{SHAPES} X of shape (4, 1, 8, 8, 8) in FILE. Save one row per example: X=X.reshape(len(X), -1).",
    ),
    "a scalar": ({"X": X, "y": Y, "n": 4}, f"{SHAPES} n of shape () in FILE. Leave it out."),
    "complex": (
        {"X": X * 1j, "y": Y},
        f"{TYPES} X of type complex128 in FILE. Save two arrays: X_real=X.real, X_imag=X.imag.",
    ),
    "objects": (
        {"X": X, "y": np.array([None, 1, "a", 2])},
        f"{TYPES} y of type object in FILE. Save it as numbers or strings: y=y.astype(float), or y=y.astype(str).",
    ),
    "days": (
        {"X": X, "t": np.array(["2020-01-01"] * 4, "M8[s]"), "y": Y},
        f"{TYPES} t of type datetime64[s] in FILE. Save it in days: t=t.astype('datetime64[D]').astype(int).",
    ),
    "durations": (
        {"t": np.array([1, 2] * 2, "m8[s]"), "y": Y},
        f"{TYPES} t of type timedelta64[s] in FILE. Save it in seconds",
    ),
    "fields": (
        {"X": X, "y": np.zeros(4, [("a", int)])},
        f"{TYPES} y of type [('a', '<i8')] in FILE. Save one array per field",
    ),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_are_no_table_are_refused(tmp_path, name):
    arrays, said = ARRAYS[name]
    path = saved(tmp_path, **arrays)
    assert refusal(path, kind="npz").replace(str(path), "FILE").partition(" ")[2].startswith(said)


@pytest.mark.parametrize("dtype", [float, int, bool])
def test_one_hot_labels_are_refused_with_the_line_that_makes_classes(tmp_path, dtype):
    said = refusal(saved(tmp_path, X=X, y=np.eye(2, dtype=dtype)[Y]), kind="npz")
    assert said.endswith("Got y of shape (4, 2), with a single 1 in each row. Save classes: y=y.argmax(axis=1).")


def test_the_label_must_be_named_where_a_matrix_of_inputs_comes_last(tmp_path):
    path = saved(tmp_path, y=Y, X=np.round(X))
    assert refusal(path, kind="npz").endswith("Got null for X. Choose task.label=y.")
    assert task_of(path, kind="npz", label="y").labels.tolist() == Y.tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.longdouble("1e400")])
def test_inputs_that_are_not_finite_are_refused_with_their_row(tmp_path, value):
    inputs = X.astype("g")
    inputs[2, 1] = value
    assert "in column X1, row 3. Remove the row" in refusal(saved(tmp_path, X=inputs, y=Y), kind="npz")


OTHER_FILES = {
    "text": (b"1,2,a\n", "another file. task=csv reads text; unpack packed files."),
    "npz.gz": (b"\x1f\x8b\x08", "another file. task=csv reads text; unpack packed files."),
    "nothing": (b"", "another file. task=csv reads text; unpack packed files."),
    "npy": (b"\x93NUMPY\x01\x00", "a single array. Save it with its labels: numpy.savez('points.npz', X=X, y=y),"),
    "pickle": (b"\x80\x04\x95", "a pickle, which could run code. Load it in Python and save numpy.savez("),
    "hdf5": (b"\x89HDF\r\n\x1a\n", "HDF5. Read it in Python and save numpy.savez("),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_another_format_is_named_with_what_to_do(tmp_path, name):
    content, said = OTHER_FILES[name]
    path = tmp_path / "points.npz"
    path.write_bytes(content)
    start = f"`task.path` must be a file saved by numpy.savez, with numbers and strings only. Got {path}, {said}"
    assert refusal(path, kind="npz").startswith(start)


def test_a_damaged_file_is_refused(tmp_path):
    path = saved(tmp_path, X=X, y=Y)
    content = path.read_bytes()
    for cut in range(4, len(content), 41):
        path.write_bytes(content[:cut])
        assert refusal(path, kind="npz").startswith("`task.path` must be a file saved by numpy.savez, ")
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        try:
            assert (task_of(path, kind="npz").inputs.numpy() == X).all()
        except ValueError as error:
            assert str(error).startswith("`task.")  # noqa: PT017


HEADERS = {
    "more than it has": ((1000,), "<f8", b"", "X.npy has more or fewer numbers than its shape (1000,)"),
    "less than it has": ((1,), "<f8", b"\0" * 80, "X.npy has more or fewer numbers than its shape (1,)"),
    "negative": ((-1, 2), "<f8", b"", "X.npy has more or fewer numbers than its shape"),
    "no bytes a string": ((400_000_000,), "|S0", b"", "Got X of type |S0 in "),
    "no characters a string": ((4 * 10**12,), "<U0", b"", "Got X of type <U0 in "),
    "many columns": (
        (1, 10**6),
        "|i1",
        bytes(10**6),
        "at most 300000 numbers an example. Got X of shape (1, 1000000)",
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_an_array_must_be_what_its_header_says(tmp_path, name):
    shape, dtype, data, said = HEADERS[name]
    path = with_header(tmp_path / "points.npz", shape, dtype, data)
    assert said in refusal(path, kind="npz")


@pytest.mark.parametrize(("dtype", "size"), [("|i1", "8 MB"), ("|S1", "65 MB")])
def test_arrays_that_do_not_fit_into_memory_are_not_loaded(tmp_path, monkeypatch, dtype, size):
    path = with_header(tmp_path / "points.npz", (10**6,), dtype, bytes(10**6))
    monkeypatch.setattr(unpacking, "available_memory", lambda: 20_000_000)
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("it was loaded"))
    said = refusal(path, kind="npz")
    assert said.startswith("`task.path` must hold at most 5 MB, a quarter of the memory that is free. Got ")
    assert f"X.npy of shape (1000000,) and type {np.dtype(dtype)}" in said
    assert size in said


def test_a_table_of_arrays_has_no_header(tmp_path):
    from nngeom_cli.errors import ConfigError

    path = saved(tmp_path, X=X, y=Y)
    assert not hasattr(located(config(path, kind="npz"), tmp_path).task, "header")
    with pytest.raises(ConfigError, match=r"`task\.header` must be left out with task\.name=npz"):
        config(path, kind="npz", header=True)


def test_a_header_that_is_longer_than_any_is_not_read(tmp_path):
    """Two hundred megabytes of spaces, packed into two hundred kilobytes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (
        zipfile.ZipFile(tmp_path / "points.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("X.npy", "w") as file,
    ):
        file.write(b"\x93NUMPY\x02\x00" + (2 * 10**8).to_bytes(4, "little"))
        for _ in range(200):
            file.write(b" " * 10**6)
    assert "a header of 200000000 bytes" in refusal(tmp_path / "points.npz", kind="npz")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
