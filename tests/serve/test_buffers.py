"""Buffers: memory is used again when nobody looks at it, and never before."""

from __future__ import annotations

import pickle

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tiering.serve.buffers import Buffers


def test_what_is_let_go_is_used_again():
    buffers = Buffers(4, (2, 2, 3))
    addresses = {buffers.take(4).ctypes.data for _ in range(10)}
    assert len(addresses) == 1


def test_free_memory_is_kept_up_to_a_bound_and_not_copied_to_another_process():
    buffers = Buffers(4, (2, 2, 3))
    held = [buffers.take(4) for _ in range(5)]
    addresses = {array.ctypes.data for array in held}
    mine = held.pop()
    del held
    buffers.keep(2 * mine.nbytes)
    again = [buffers.take(4) for _ in range(2)]
    assert {array.ctypes.data for array in again} < addresses - {mine.ctypes.data}
    assert len(pickle.dumps(buffers)) < 200


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
