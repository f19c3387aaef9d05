"""LMDB shards as tiering up to 0.2 wrote them: through the LMDB library, in many transactions.

Only repair writes them, because a repaired shard must equal, byte for byte, the one that the manifest describes. Their
samples are original files: these versions knew no others.
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
from tiering.errors import MachineError, TieringError, from_os_error
from tiering.store.lmdb import key_of
from tiering.store.lmdb_format import OURS, format_of, set_map_size

#: The layout of a file depends on where transactions end.
_COMMIT_BYTES: Final = 2 << 20
_COMMIT_SAMPLES: Final = 1000

#: Makes py-lmdb 3 write the format of LMDB 0.9, whatever LMDB_DEFAULT_LIB_VERSION says. Older ones have one engine.
_ENGINE: Final[dict[str, Any]] = {"lib_version": 0} if hasattr(lmdb.Environment, "lib_version") else {}


def write_shard(path: Path, images: Iterable[bytes], *, capacity: int) -> None:
    """Write one environment.

    path: the file to make. images: encoded images in packed order. capacity: an upper bound of the file's size in
    bytes. LMDB writes its map size into the file. It is replaced by the bound for the images that were stored.
    Raises MachineError for a disk that is full or fails, and for a py-lmdb that cannot write the format of LMDB 0.9.
    """
    try:
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
        finally:
            env.close()
    except lmdb.Error as error:
        raise _machine_error(path, error) from error
    stored = capacity_for(np.array(sizes, dtype=np.int64))
    if stored != capacity:
        set_map_size(path, stored)


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
