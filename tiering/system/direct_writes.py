"""Writes past the page cache: whether a file's disk takes them."""

from __future__ import annotations

import fcntl
import os
from functools import lru_cache
from pathlib import Path
from typing import Final

from tiering.system.mounts import NETWORK, filesystem_of

#: Memory, offset and size of a direct write are multiples of this many bytes: enough for every disk.
ALIGNMENT: Final = 4096


def bypass_page_cache(descriptor: int, path: Path, *, wanted: bool = True) -> bool:
    """Switch writes past the page cache on or off (O_DIRECT). Returns whether they are on.

    They stay off on file systems of a network and in user space, which do not write ahead then, and where the kernel
    refuses them.
    path: of the open file.
    """
    if wanted and not _on_disk(path.parent):
        return False
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~os.O_DIRECT
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | (os.O_DIRECT if wanted else 0))
    except OSError:
        return False
    return wanted


@lru_cache(maxsize=16)
def _on_disk(directory: Path) -> bool:
    kind = filesystem_of(directory)
    return kind is not None and kind not in NETWORK and not kind.startswith("fuse")
