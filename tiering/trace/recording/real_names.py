"""The name that the kernel has for a path that a program wrote: tracers below system calls see only the latter."""

from __future__ import annotations

import os
import posixpath
from functools import lru_cache
from pathlib import Path


def without_links(path: str) -> str:
    """Return the name that the kernel has for a path. What is gone meanwhile keeps the name that was written."""
    directory, name = posixpath.split(path)
    whole = posixpath.join(_real(directory), name) if name not in ("", ".", "..") else _real(path)
    return _real(whole) if Path(whole).is_symlink() else whole


@lru_cache(maxsize=1 << 14)
def _real(directory: str) -> str:
    return os.path.realpath(directory)
