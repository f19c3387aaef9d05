"""LMDB stores: one environment a shard, readable with plain lmdb.

`STORE/shard-00000.mdb` is an LMDB environment in a single file. The keys are the numbers of samples within the shard,
eight bytes big-endian. The values are the encoded images, unchanged. The offset column of the index has the offset of
each value in that file. So a reader maps the file, and does not walk LMDB's tree: a get takes 1 to 2 us, a slice of a
map 0.1 us.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import lmdb
import numpy as np

from tiering.arrays import IndexArray
from tiering.errors import MachineError, StoreError, TieringError, from_os_error
from tiering.store.lmdb_format import OURS, format_of, set_map_size

#: LMDB holds dirty pages until the commit. If they fit into a core's cache, writing them takes a third of the time:
#: with 2 MiB, images of 110 kB are packed at 3.5 GB/s, with 32 MiB at 1.1 GB/s.
_COMMIT_BYTES: Final = 2 << 20
_COMMIT_SAMPLES: Final = 1000
_EDGE: Final = 64

#: Makes py-lmdb 3 write the format of LMDB 0.9, whatever LMDB_DEFAULT_LIB_VERSION says. Older ones have one engine.
_ENGINE: Final[dict[str, Any]] = {"lib_version": 0} if hasattr(lmdb.Environment, "lib_version") else {}


def key_of(sample: int) -> bytes:
    """Return the LMDB key of a sample: its number in the shard, eight bytes big-endian, so that keys sort."""
    return sample.to_bytes(8, "big")


def write_shard(path: Path, images: Iterable[bytes], *, capacity: int) -> IndexArray:
    """Write one environment and return the offset of each value in its file.

    path: the file to make. images: encoded images in packed order. capacity: an upper bound of the file's size in
    bytes. The file is not synced yet. LMDB writes its map size into the file. It is replaced by the bound for the
    images that were stored, so that the same images give the same file, whatever was left out.
    Returns int64 (n,), bytes from the start of the file. Raises MachineError for a disk that is full or fails, and for
    a py-lmdb that cannot write the format of LMDB 0.9.
    """
    try:
        # No sync here: a shard counts only once it is synced and renamed, and the manifest names it.
        env = lmdb.open(
            str(path),
            subdir=False,
            map_size=capacity,
            lock=False,
            sync=False,
            metasync=False,
            readahead=False,
            **_ENGINE,
        )
        try:
            if (made := format_of(path)) != OURS:
                raise _no_engine(f"one that writes the format of LMDB {made}")
            sizes = _fill(env, images)
            offsets = _offsets(env, path)
        finally:
            env.close()
    except lmdb.Error as error:
        raise _machine_error(path, error) from error
    stored = capacity_for(np.array(sizes, dtype=np.int64))
    if stored != capacity:
        set_map_size(path, stored)
    return offsets


def _machine_error(path: Path, error: lmdb.Error) -> TieringError:
    """Return an error with the real cause. After a short write, LMDB reports an input/output error on a full disk."""
    if "lib_version" in str(error):
        return _no_engine(f"one without it ({str(error).lower().rstrip('.')})")
    space = os.statvfs(path.parent)
    if space.f_bavail * space.f_frsize < 1 << 20 or "No space left" in str(error):
        return from_os_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)))
    return MachineError(str(path), found=str(error).lower(), action="Check the free space (df -h) and the kernel log.")


def _no_engine(found: str) -> MachineError:
    return MachineError(
        f"lmdb {lmdb.__version__}",
        expected=f"a build with the engine of LMDB {OURS}, whose files every other program reads",
        found=found,
        action="Install a wheel: pip install --only-binary lmdb --force-reinstall lmdb",
    )


def capacity_for(sizes: IndexArray) -> int:
    """Return an upper bound of an environment's size in bytes: each value on its own pages, nodes, and spare pages."""
    return int(((sizes + 2 * mmap.PAGESIZE) // mmap.PAGESIZE * mmap.PAGESIZE).sum()) + len(sizes) * 256 + (64 << 20)


def _fill(env: Any, images: Iterable[bytes]) -> list[int]:
    """Store the images and return their sizes in bytes."""
    txn, held, puts = env.begin(write=True), 0, 0
    sizes: list[int] = []
    try:
        for image in images:
            txn.put(key_of(len(sizes)), image, append=True)
            sizes.append(len(image))
            held, puts = held + len(image), puts + 1
            del image  # It may have 1 GiB: free it before the next one is read.
            if held >= _COMMIT_BYTES or puts >= _COMMIT_SAMPLES:
                txn.commit()
                txn, held, puts = env.begin(write=True), 0, 0
        txn.commit()
    except BaseException:
        txn.abort()
        raise
    return sizes


def _offsets(env: Any, path: Path) -> IndexArray:
    """Find the offset of every value in the file.

    LMDB returns views of its own map, so differences between their addresses are differences between offsets. One value
    is then searched for in a second map of the same file, which gives all offsets. Finally each offset is checked.
    """
    with env.begin(buffers=True) as txn:
        entries = txn.stat()["entries"]
        offset: IndexArray = np.empty(entries, dtype=np.int64)
        size: IndexArray = np.empty(entries, dtype=np.int64)
        if not entries:
            return offset
        edges: list[tuple[bytes, bytes]] = []
        for number, value in enumerate(txn.cursor().iternext(keys=False, values=True)):
            offset[number] = np.frombuffer(value, dtype=np.uint8).ctypes.data
            size[number] = len(value)
            edges.append((bytes(value[:_EDGE]), bytes(value[-_EDGE:])))
        lowest = int(np.argmin(offset))
        needle = txn.get(key_of(lowest))
        offset -= offset[lowest]
        end = int((offset + size).max())
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            at = mapped.find(needle)
            while at >= 0 and at + end <= len(mapped):
                if _agree(mapped, offset + at, size, edges):
                    return offset + at
                at = mapped.find(needle, at + 1)
    raise StoreError(str(path), expected="the values that were just written", found="other bytes in the file")


def _agree(mapped: mmap.mmap, offset: IndexArray, size: IndexArray, edges: list[tuple[bytes, bytes]]) -> bool:
    """Compare both ends of every value with the file. That is cheap, and enough to notice wrong offsets."""
    for begin, end, (head, tail) in zip(offset.tolist(), (offset + size).tolist(), edges, strict=True):
        if mapped[begin : begin + len(head)] != head or mapped[end - len(tail) : end] != tail:
            return False
    return True
