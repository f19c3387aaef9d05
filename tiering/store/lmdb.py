"""LMDB stores: one environment a shard, readable with plain lmdb.

`STORE/shard-00000.mdb` is an LMDB environment of a single file. Its keys are the sample's number in the store, eight
bytes big-endian; its values are the encoded images, untouched. The index's offset column says where each value lies in
that file, so that a reader maps the file and walks no tree: a get costs 1 to 2 us, a slice of a map 0.1 us.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import google_crc32c
import lmdb
import numpy as np

from tiering.errors import MachineError, StoreError, TieringError, from_os_error
from tiering.store.base import IndexArray, Manifest
from tiering.store.packed import PackedStore

#: Dirty pages are held until the commit, so a transaction is bounded in bytes as well as in samples.
_COMMIT_BYTES: Final = 32 << 20
_COMMIT_SAMPLES: Final = 1000


def shard_name(number: int) -> str:
    """Return the name of a shard's file within the store."""
    return f"shard-{number:05d}.mdb"


def key_of(sample: int) -> bytes:
    """Return the LMDB key of a sample: its number, eight bytes big-endian, so that keys sort as numbers."""
    return sample.to_bytes(8, "big")


def open_lmdb(path: Path, manifest: Manifest) -> PackedStore:
    """Open an LMDB store for reading."""
    return PackedStore(path, manifest, np.zeros(len(manifest.shards), dtype=np.int64))


def write_shard(path: Path, images: Iterable[bytes], *, first: int, capacity: int) -> IndexArray:
    """Write one environment and return where each value lies in its file.

    path: the file to make; images: encoded images in packed order; first: number of the first; capacity: an upper
    bound of the file's size in bytes.
    Returns int64 (n,), bytes from the start of the file. Raises MachineError for a disk that is full or fails.
    """
    try:
        # No sync before the end: the shard counts only once the manifest names it.
        env = lmdb.open(
            str(path), subdir=False, map_size=capacity, lock=False, sync=False, metasync=False, readahead=False
        )
        try:
            _fill(env, images, first)
            env.sync(True)
            return _offsets(env, path)
        finally:
            env.close()
    except lmdb.Error as error:
        raise _machine_error(path, error) from error


def _machine_error(path: Path, error: lmdb.Error) -> TieringError:
    """Name the cause: where a write came back short LMDB says input/output error, and the disk is merely full."""
    space = os.statvfs(path.parent)
    if space.f_bavail * space.f_frsize < 1 << 20:
        return from_os_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)))
    return MachineError(str(path), found=str(error).lower(), action="Check the free space (df -h) and the kernel log.")


def capacity_for(sizes: IndexArray) -> int:
    """Return an upper bound of an environment's size: every value on pages of its own, nodes, and spare pages."""
    return int(((sizes + 2 * mmap.PAGESIZE) // mmap.PAGESIZE * mmap.PAGESIZE).sum()) + len(sizes) * 256 + (64 << 20)


def check_shard(path: Path, store: PackedStore, first: int, count: int) -> list[str]:
    """Walk a shard with LMDB itself and say what differs from the index: keys, count, and the bytes of each value."""
    problems = []
    try:
        with (
            lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=True) as env,
            env.begin(buffers=True) as txn,
        ):
            expected = range(first, first + count)
            found = 0
            for sample, (key, value) in zip(expected, txn.cursor(), strict=False):
                found += 1
                if bytes(key) != key_of(sample):
                    problems.append(f"sample {sample}: its LMDB key is {bytes(key).hex()}")
                elif google_crc32c.value(bytes(value)) != store.index.crc32c[sample]:
                    problems.append(f"sample {sample}: its LMDB value does not have the CRC-32C of the index")
            entries = txn.stat()["entries"]
            if found != count or entries != count:
                problems.append(f"{path.name}: {count:,} samples by the manifest, {entries:,} in LMDB")
    except lmdb.Error as error:
        problems.append(f"{path.name}: {error}")
    return problems


def _fill(env: Any, images: Iterable[bytes], first: int) -> None:
    txn, held, puts = env.begin(write=True), 0, 0
    try:
        for sample, image in enumerate(images, start=first):
            txn.put(key_of(sample), image, append=True)
            held, puts = held + len(image), puts + 1
            if held >= _COMMIT_BYTES or puts >= _COMMIT_SAMPLES:
                txn.commit()
                txn, held, puts = env.begin(write=True), 0, 0
        txn.commit()
    except BaseException:
        txn.abort()
        raise


def _offsets(env: Any, path: Path) -> IndexArray:
    """Find where every value lies in the file.

    LMDB hands out views of its own map: their addresses differ by the distances in the file, and one value that is
    found in a second map of the same file fixes the rest. The packer checks every sample's CRC at the result.
    """
    with env.begin(buffers=True) as txn:
        values = [np.frombuffer(value, dtype=np.uint8) for value in txn.cursor().iternext(keys=False, values=True)]
        address = np.array([value.ctypes.data for value in values], dtype=np.int64)
        size = np.array([value.size for value in values], dtype=np.int64)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            lowest = int(np.argmin(address))
            end = int((address + size).max() - address[lowest])
            needle = values[lowest].tobytes()
            at = mapped.find(needle)
            while at >= 0 and at + end <= len(mapped):
                offset: IndexArray = address - address[lowest] + at
                if all(_same(mapped, int(o), value) for o, value in zip(offset, values, strict=True)):
                    return offset
                at = mapped.find(needle, at + 1)
        del values
    raise StoreError(str(path), expected="the values that were just written", found="other bytes in the file")


def _same(mapped: mmap.mmap, offset: int, value: np.ndarray[Any, Any]) -> bool:
    """Compare the ends of a value with the file: enough to tell a wrong place, and cheap."""
    edge = 64
    size = value.size
    return (
        mapped[offset : offset + min(edge, size)] == value[:edge].tobytes()
        and mapped[offset + max(0, size - edge) : offset + size] == value[max(0, size - edge) :].tobytes()
    )
