"""The format of LMDB's files: LMDB 0.9 and LMDB 1.0 write different ones, and neither reads the other's.

py-lmdb 3 contains both engines. The environment variable LMDB_DEFAULT_LIB_VERSION chooses the one for new files.
Stores always use 0.9, which every release of py-lmdb and nearly all other programs read.
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

#: The LMDB that writes files with a data version (MDB_DATA_VERSION).
_WRITERS: Final = {1: "0.9", 2: "1.0 before its release", 3: "1.0"}

#: The magic number in a meta page; the data version follows it. Its offset in the page differs between the formats.
_MAGIC: Final = struct.pack("=I", 0xBEEFC0DE)
_HEAD: Final = 64

#: Offset of the map size in a meta page of LMDB 0.9.
_MAP_SIZE_AT: Final = 32


def format_of(path: Path) -> str | None:
    """Return the LMDB that wrote a file, "0.9" or "1.0"; None if its first page is not LMDB's."""
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
        # A page starts with a header of 16 bytes. Then come magic, data version, address, map size and page size.
        file.seek(_MAP_SIZE_AT + 8)
        (page,) = struct.unpack("=I", file.read(4))
        for begin in (0, page):
            file.seek(begin + _MAP_SIZE_AT)
            file.write(struct.pack("=Q", size))


def refuse_other(store: Location, where: str, found: str | None) -> None:
    """Raise StoreError for a store or shard of a different format. found: the format; None if unknown."""
    if found not in (None, OURS):
        raise StoreError(
            where,
            expected=f"the file format of LMDB {OURS}",
            found=f"that of LMDB {found}"[:100],
            action=f"Only LMDB {OURS}'s is supported, and neither LMDB reads the other's. Convert the dataset again: "
            f"{command('tiering', 'convert', 'DATASET', store, '--to', 'lmdb', '--overwrite')}",
        )
