"""Maps of files that hold no descriptor: mmap(2) through the C library.

Python's own mmap keeps a descriptor open as long as the map lives (before 3.13 it always does), so a process with a
limit of a thousand files cannot have a thousand maps. The kernel needs no descriptor once a file is mapped.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import weakref
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

_FAILED: Final = ctypes.c_void_p(-1).value


class Libc(NamedTuple):
    """The calls of the C library that maps need."""

    mmap: Any
    munmap: Any
    madvise: Any


class _Memory:
    """Mapped memory for NumPy. It is unmapped when nothing refers to it any more."""

    def __init__(self, address: int, size: int) -> None:
        self.__array_interface__ = {"shape": (size,), "typestr": "|u1", "data": (address, True), "version": 3}
        # Not at interpreter exit: code that still holds a view may read it then.
        weakref.finalize(self, _libc().munmap, address, size).atexit = False


def map_file(descriptor: int, size: int) -> npt.NDArray[np.uint8]:
    """Map the first bytes of a file for reading. The descriptor may be closed afterwards.

    size: bytes. The file must have this many, because reading pages past its end kills the process (SIGBUS).
    Returns uint8 (size,), read-only. The map ends with its last view; a forked child has its own. Raises OSError, with
    ENOMEM if the process has reached its limit on maps (vm.max_map_count).
    """
    if size == 0:
        return np.empty(0, dtype=np.uint8)
    address = _libc().mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return np.asarray(_Memory(address, size))


def copied(addresses: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.void]:
    """Copy the same number of bytes from each address, with one call: 20 ns for 60 bytes.

    All of the bytes must be mapped, and stay mapped until this returns.

    addresses: int64 (n,), at least one. width: bytes, at least 1. Returns void of that width, (n,).
    """
    lowest = int(addresses.min())
    # An array of values at every byte between the addresses. Only those at the addresses are touched.
    places = np.asarray(_Places(lowest, int(addresses.max()) - lowest + 1, width))
    found: npt.NDArray[np.void] = places[addresses - lowest]
    return found


class _Places:
    """Memory for NumPy as overlapping values: one begins at each byte."""

    def __init__(self, address: int, count: int, width: int) -> None:
        self.__array_interface__ = {
            "shape": (count,), "strides": (1,), "typestr": f"|V{width}", "data": (address, True), "version": 3
        }  # fmt: skip


def advise(address: int, size: int, advice: int) -> None:
    """Announce how mapped memory will be used: madvise(2). address: the start of a page. A hint never fails."""
    if size:
        _libc().madvise(address, size, advice)


def is_out_of_maps(error: OSError) -> bool:
    """Return whether the process has reached its limit on maps."""
    return error.errno == errno.ENOMEM


@cache
def _libc() -> Libc:
    library = ctypes.CDLL(None, use_errno=True)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    library.mmap.argtypes = (pointer, size, number, number, number, ctypes.c_long)
    library.mmap.restype = pointer
    library.munmap.argtypes = (pointer, size)
    library.madvise.argtypes = (pointer, size, number)
    return Libc(library.mmap, library.munmap, library.madvise)
