"""The page cache: take the files of a store out of it, to measure a cold epoch without touching anyone else's."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tiering.store.residency import missing_bytes

#: Files looked at to tell whether dropping worked.
_LOOKED_AT: Final = 64


def drop(paths: Iterable[Path]) -> bool:
    """Take files out of the page cache; return whether they are gone.

    Dirty pages are written first, since they cannot be dropped. False where the system has no posix_fadvise, and where
    files stay in memory whatever one says: tmpfs, or pages that another process has mapped.
    """
    if not hasattr(os, "posix_fadvise"):
        return False
    looked_at: list[Path] = []
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fdatasync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
        if len(looked_at) < _LOOKED_AT:
            looked_at.append(path)
    return not any(map(_is_cached, looked_at))


def _is_cached(path: Path) -> bool:
    """Ask cachestat, or else for the first byte without waiting, which only a cached page answers (RWF_NOWAIT)."""
    missing = missing_bytes([path], 0)
    if missing is not None:
        return missing < path.stat().st_size
    if not hasattr(os, "RWF_NOWAIT"):
        return False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT) > 0
    except BlockingIOError:
        return False
    except OSError:
        # tmpfs before Linux 6 refuses the flag; it is memory all the same.
        return True
    finally:
        os.close(descriptor)
