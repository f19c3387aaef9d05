"""The name that the kernel has for a path that a program wrote: tracers below system calls see only the latter."""

from __future__ import annotations

import os
import stat
from functools import lru_cache


def without_links(path: str) -> str:
    """Return the name that the kernel has for a path. What is gone meanwhile keeps the name that was written."""
    directory, _, name = path.rpartition("/")
    whole = f"{_real(directory or '/').rstrip('/')}/{name}" if name not in ("", ".", "..") else _real(path)
    try:
        is_link = stat.S_ISLNK(os.lstat(whole).st_mode)
    except (OSError, ValueError):
        return whole
    return _real(whole) if is_link else whole


@lru_cache(maxsize=1 << 14)
def _real(directory: str) -> str:
    return os.path.realpath(directory)
