"""The format of LMDB's files: LMDB 0.9 and LMDB 1.0 write different ones, and neither reads the other's.

py-lmdb 3 carries both engines, and LMDB_DEFAULT_LIB_VERSION in the environment says which of them makes new files.
Stores are always of 0.9, which every release of py-lmdb and nearly all other programs read.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final

from tiering.errors import StoreError, command
from tiering.storage.local import open_to_read
from tiering.storage.location import Location

#: The format of every store, as its manifest names it.
OURS: Final = "0.9"

#: Which LMDB writes files of a data version (MDB_DATA_VERSION).
_WRITERS: Final = {1: "0.9", 2: "1.0 before its release", 3: "1.0"}

#: Begins a meta page; the data version follows. How far from the page's beginning differs between the formats.
_MAGIC: Final = struct.pack("=I", 0xBEEFC0DE)
_HEAD: Final = 64

#: Where the map size stands in a meta page of LMDB 0.9.
_MAP_SIZE_AT: Final = 32


def format_of(path: Path) -> str | None:
    """Return which LMDB a file is of, "0.9" or "1.0"; None where its first page is none of LMDB's."""
    descriptor = open_to_read(path)
    try:
        head = os.pread(descriptor, _HEAD, 0)
    finally:
        os.close(descriptor)
    at = head.find(_MAGIC)
    if at < 0 or len(head) < at + 8:
        return None
    version = int(struct.unpack_from("=I", head, at + 4)[0])
    return _WRITERS.get(version, f"an unknown version (data version {version})")


def set_map_size(path: Path, size: int) -> None:
    """Write a map size, in bytes, into both meta pages of an LMDB 0.9 file. No process may have it open."""
    with path.open("r+b") as file:
        # A page's head of 16 bytes; then magic, data version, address, map size, and the size of a page.
        file.seek(_MAP_SIZE_AT + 8)
        (page,) = struct.unpack("=I", file.read(4))
        for begin in (0, page):
            file.seek(begin + _MAP_SIZE_AT)
            file.write(struct.pack("=Q", size))


def refuse_other(store: Location, where: str, found: str | None) -> None:
    """Raise StoreError for a store, or a shard, of another format than ours. found: the format; None says nothing."""
    if found not in (None, OURS):
        raise StoreError(
            where,
            expected=f"the file format of LMDB {OURS}",
            found=f"that of LMDB {found}"[:100],
            action=f"Only LMDB {OURS}'s is supported, and neither LMDB reads the other's. Convert the dataset again: "
            f"{command('tiering', 'convert', 'DATASET', store, '--to', 'lmdb', '--overwrite')}",
        )
