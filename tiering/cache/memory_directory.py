"""The cache directory in memory: it is in /dev/shm, one for each cache directory on disk."""

from __future__ import annotations

import hashlib
import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Final

from tiering.cache import files
from tiering.cache.directory import LEAST, CacheDirectory
from tiering.cache.extents import CacheFullWarning, free_in_memory
from tiering.errors import MachineError, UsageError
from tiering.units import format_bytes

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the file system in memory, which is what it is for


def memory_of(disk: Path) -> Path:
    """Return the directory in memory that goes with a cache directory on disk."""
    digest = hashlib.sha256(os.fsencode(disk.resolve())).hexdigest()
    return _MEMORY / f"tiering-{digest[:16]}"


def open_memory(disk: Path, size: int) -> CacheDirectory:
    """Open the cache in memory that goes with a cache directory on disk; warn if it can hold less than its bound.

    Args:
        disk: The cache directory on disk.
        size: The bound in bytes.

    Raises:
        UsageError: If this system has no file system in memory.
        MachineError: If it is full or cannot be written.
    """
    directory = memory_of(disk)
    if not _MEMORY.is_dir():
        raise UsageError(
            "ram", found=f"this machine has no file system in memory at {_MEMORY}",
            action="Leave it out: the system's page cache holds what was read last.",
        )  # fmt: skip
    try:
        _make(directory, disk)
        free = free_in_memory(directory)
        # All processes that share it compute the same bound; the extents of a larger one would not fit.
        memory = CacheDirectory(directory, min(size, max(free.most, LEAST)), volatile=True)
    except (OSError, MachineError) as error:
        found = error.found if isinstance(error, MachineError) else (error.strerror or str(error)).lower()
        raise MachineError(
            str(directory), expected=f"space for a cache in memory ({_MEMORY})", found=found,
            action="Leave out `ram`, or give the file system more space (docker run --shm-size=8g).",
        ) from error  # fmt: skip
    if (usable := memory.capacity) < size:
        warnings.warn(
            f"{directory}: `ram` asks for {format_bytes(size)}, but only {format_bytes(usable)} can be used: {free} "
            "(such as tensors of PyTorch's workers). The cache takes what it can.",
            CacheFullWarning,
            stacklevel=3,
        )
    return memory


def _make(directory: Path, disk: Path) -> None:
    """Make the directory, shared if the cache on disk is. Raises UsageError if it belongs to another user."""
    group = files.is_shared(disk)
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
        if group:
            os.chown(directory, -1, disk.stat().st_gid)
            files.share(directory)
    found = directory.lstat()
    ours = found.st_uid == os.geteuid() or (group and found.st_gid == disk.stat().st_gid and files.is_shared(directory))
    if directory.is_symlink() or not ours:
        raise UsageError(str(directory), found="the directory belongs to another user")
