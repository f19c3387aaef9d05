"""Buffers: memory is reused when nothing refers to it, and never before."""

from __future__ import annotations

import ctypes
import gc
import pickle
import threading

import numpy as np
import pytest
import torch
import torch.utils.dlpack
from hypothesis import given
from hypothesis import strategies as st

from tiering.serve.buffers import Buffers

SIDES = (2, 2, 3)

#: What people make of a batch without copying it; each must keep its memory by itself.
LOOKS = {
    "the array": lambda array: array,
    "a slice": lambda array: array[1:],
    "a view of a view": lambda array: array[1:][:1].reshape(-1)[::2].T,
    "a row": lambda array: array[0],
    "a flat view": np.ravel,
    "another dtype": lambda array: array.view(np.int8),
    "a subclass": lambda array: array.view(np.recarray),
    "a broadcast": lambda array: np.broadcast_to(array[0], (5, *SIDES)),
    "a transposition": lambda array: array.transpose(0, 3, 1, 2),
    "strides": lambda array: np.lib.stride_tricks.as_strided(array, (2, 12), (12, 1)),
    "a memoryview": memoryview,
    "a memoryview of a row's view": lambda array: memoryview(memoryview(array[1])),
    "frombuffer": lambda array: np.frombuffer(array, np.uint8),
    "an iterator": lambda array: array.flat,
    "ctypes": lambda array: array.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)),
    "the base": lambda array: array.base,
    "torch": torch.from_numpy,
    "a view in torch": lambda array: torch.from_numpy(array[1:]).permute(0, 3, 1, 2)[:, 0],
    "torch's as_tensor": lambda array: torch.as_tensor(array).view(-1)[3:],
    "torch's frombuffer": lambda array: torch.frombuffer(array, dtype=torch.uint8),
    "torch and back": lambda array: torch.from_numpy(array).numpy()[1:],
    "DLPack in NumPy": lambda array: np.from_dlpack(array)[1:],
    "DLPack in torch": lambda array: torch.utils.dlpack.from_dlpack(array[1:]),
    "DLPack of a tensor": lambda array: np.from_dlpack(torch.from_numpy(array)[1:]),
    "a capsule": lambda array: array.__dlpack__(),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
def test_memory_is_kept_exactly_while_something_refers_to_it(look):
    buffers = Buffers(4, SIDES, np.dtype(np.uint8), batches=0)
    array = buffers.take(4)
    address = array.ctypes.data
    kept = look(array)
    del array
    gc.collect()
    others = [buffers.take(4) for _ in range(3)]
    assert address not in {other.ctypes.data for other in others}
    del kept
    gc.collect()
    assert buffers.take(1).ctypes.data == address


def test_a_view_in_a_cycle_keeps_memory_until_the_cycle_is_collected():
    buffers = Buffers(4, SIDES, np.dtype(np.uint8), batches=0)
    array = buffers.take(4)
    address = array.ctypes.data
    cycle = [array[1:]]
    cycle.append(cycle)
    del array, cycle
    other = buffers.take(4)
    assert other.ctypes.data != address
    gc.collect()
    assert buffers.take(4).ctypes.data == address


def test_a_copy_keeps_nothing():
    buffers = Buffers(4, SIDES, np.dtype(np.uint8), batches=0)
    array = buffers.take(4)
    array[:] = 7
    address, copies = array.ctypes.data, [pickle.loads(pickle.dumps(array)), array.copy(), torch.tensor(array)]
    del array
    buffers.take(4)[:] = 9
    assert buffers.take(4).ctypes.data == address
    assert all((np.asarray(copy) == 7).all() for copy in copies)


def test_released_memory_is_used_again():
    buffers = Buffers(4, SIDES, np.dtype(np.uint8), batches=0)
    addresses = {buffers.take(4).ctypes.data for _ in range(10)}
    assert len(addresses) == 1


def test_an_array_is_writable_and_no_larger_than_a_batch():
    buffers = Buffers(4, SIDES, np.dtype(np.uint8), batches=0)
    assert buffers.take(3).shape == (3, *SIDES)
    assert buffers.take(0).shape == (0, *SIDES)
    assert buffers.take(4).flags.c_contiguous
    with pytest.raises(ValueError, match="at most 4 samples, got 5"):
        buffers.take(5)


def test_free_memory_is_kept_up_to_a_bound_and_not_copied_to_another_process():
    buffers = Buffers(4, SIDES, np.dtype(np.uint8), batches=2)
    held = [buffers.take(4) for _ in range(9)]
    del held
    assert len(buffers._free) == 3
    assert len(pickle.dumps(buffers)) < 200
    assert pickle.loads(pickle.dumps(buffers)).take(4).shape == (4, *SIDES)


@given(st.lists(st.tuples(st.sampled_from(["drop", *LOOKS]), st.integers(2, 4)), max_size=60))
def test_memory_in_use_is_never_overwritten(steps):
    buffers, kept = Buffers(4, SIDES, np.dtype(np.uint8), batches=2), []
    for number, (what, size) in enumerate(steps):
        array = buffers.take(size)
        assert array.shape == (size, *SIDES)
        array[:] = number
        if what != "drop":
            kept.append((number, array.ctypes.data, size, LOOKS[what](array)))
        elif kept:
            kept.pop(0)
        del array
    for number, address, size, _ in kept:
        # By its address: some looks, like a capsule, show nothing of themselves.
        seen = np.ctypeslib.as_array((ctypes.c_uint8 * (size * 12)).from_address(address))
        assert (seen == number).all()


def test_threads_that_take_and_keep_see_what_they_wrote():
    buffers, wrong = Buffers(4, SIDES, np.dtype(np.uint8), batches=4), []

    def work(number: int) -> None:
        kept: list[tuple[int, torch.Tensor]] = []
        for turn in range(2000):
            array = buffers.take(1 + turn % 4)
            mark = (number * 37 + turn) % 251
            array[:] = mark
            kept.append((mark, torch.from_numpy(array)[-1:]))
            kept = kept[-(turn % 7) :]
            wrong.extend(mark for mark, tensor in kept if not bool((tensor == mark).all()))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_memory_may_come_from_another_allocator():
    made = []

    def allocate(nbytes):
        made.append(np.zeros(nbytes, np.uint8))
        return made[-1]

    buffers = Buffers(4, SIDES, np.dtype(np.uint8), batches=1)
    buffers.allocate = allocate
    for _ in range(3):
        assert np.shares_memory(buffers.take(3), made[0])
    assert len(made) == 1
