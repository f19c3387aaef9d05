"""Buffers: memory is used again when nobody looks at it, and never before."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tiering.serve.buffers import Buffers


def test_what_is_let_go_is_used_again():
    buffers = Buffers(4, (2, 2, 3))
    addresses = {buffers.take(4).ctypes.data for _ in range(10)}
    assert len(addresses) == 1


@given(st.lists(st.tuples(st.sampled_from(["take", "row", "drop"]), st.integers(1, 4)), max_size=60))
@settings(deadline=None)
def test_what_is_kept_is_never_written_to(steps):
    """Kept whole, by one row, or as a memoryview of one: all keep the memory."""
    buffers, kept = Buffers(4, (2, 2, 3)), []
    for number, (what, size) in enumerate(steps):
        array = buffers.take(size)
        assert array.shape == (size, 2, 2, 3)
        array[:] = number
        if what == "take":
            kept.append((number, array))
        elif what == "row":
            kept.append((number, memoryview(array[0])))
        elif kept:
            kept.pop(0)
        del array
    for number, each in kept:
        assert np.all(np.asarray(each) == number)
