"""Rows that fill vector registers."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from nngeom_cli.training.padding import padded, padded_points

DTYPES = st.sampled_from([torch.float32, torch.float64])


@given(
    length=st.integers(1, 300),
    dtype=DTYPES,
    rows=st.lists(st.integers(1, 300), max_size=3),
    registers=st.sampled_from([1, 2]),
)
def test_a_padded_length_is_the_least_at_which_all_rows_fill_registers(length, dtype, rows, registers):
    def fills(candidate):
        return all(candidate * count * dtype.itemsize % (registers * 64) == 0 for count in rows)

    found = padded(length, dtype, rows=rows, registers=registers)
    assert found == next(candidate for candidate in range(length, length + 64) if fills(candidate))


@given(points=st.integers(1, 300), hidden=st.lists(st.integers(1, 100), max_size=3), dtype=DTYPES)
def test_each_row_of_padded_points_begins_at_a_register_and_units_fill_two_at_a_time(points, hidden, dtype):
    length = padded_points(points, hidden, dtype)
    assert points <= length < points + 128
    assert length * dtype.itemsize % 64 == 0
    assert all(length * width * dtype.itemsize % 128 == 0 for width in hidden)
