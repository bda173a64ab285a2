"""What is padded fills registers."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from nngeom_cli.registers import padded

SIZE = st.integers(1, 300)
DTYPE = st.sampled_from([torch.float32, torch.float64])


@given(length=SIZE, dtype=DTYPE, rows=st.lists(SIZE, max_size=3), registers=st.sampled_from([1, 2]))
def test_a_padded_length_is_the_least_at_which_all_rows_fill_registers(length, dtype, rows, registers):
    def fills(candidate):
        return all(candidate * count * dtype.itemsize % (registers * 64) == 0 for count in rows)

    found = padded(length, dtype, rows=rows, registers=registers)
    assert found == next(candidate for candidate in range(length, length + 64) if fills(candidate))
