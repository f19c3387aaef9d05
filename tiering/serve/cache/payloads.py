"""Payloads: what an extent holds, one behind the other, each behind a head that says what it is."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from tiering.arrays import IndexArray
from tiering.serve.cache.files import open_file
from tiering.serve.cache.slots import Slots

#: The bytes of a payload and the number of its unit.
_HEAD: Final = struct.Struct("<II")
HEAD_BYTES: Final = _HEAD.size


class Payloads(NamedTuple):
    """The payloads of a dataset in one extent: units, offsets and bytes, each int64 (n,)."""

    path: Path
    units: IndexArray
    offsets: IndexArray
    sizes: IndexArray


def head(unit: int, size: int) -> bytes:
    """Return what stands before a payload."""
    return _HEAD.pack(size, unit)


def payloads_of(slots: Slots, paths: dict[int, Path]) -> Iterator[Payloads]:
    """Go through what a table says of extents, as far as it is true: an extent at a time.

    paths: of the extents to look at, by number; those that are not there are left out.
    """
    extents, offsets = slots.filled()
    for number, path in paths.items():
        here = offsets[extents == number]
        heads = _heads(path, here)
        if heads is None:
            continue
        units = heads[:, 1]
        found = slots.find(units)
        same = (found.extent == number) & (found.offset == here)
        yield Payloads(path, units[same], here[same], heads[same, 0])


def _heads(path: Path, offsets: IndexArray) -> IndexArray | None:
    """Read the heads of payloads: int64 (n, 2) of bytes and units; what lies outside of the extent is no payload."""
    if not len(offsets):
        return None
    try:
        with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    except FileNotFoundError:
        return None
    inside = (offsets >= HEAD_BYTES) & (offsets <= size)
    found = np.zeros((len(offsets), 2), dtype=np.int64)
    at = (offsets[inside] - HEAD_BYTES)[:, None] + np.arange(HEAD_BYTES)
    found[inside] = np.frombuffer(data, dtype=np.uint8)[at].view("<u4")
    return found
