"""cached: put a cache in front of a dataset."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

from tiering.cache.cached_store import CachedStore
from tiering.cache.space import CacheSpace
from tiering.errors import UsageError
from tiering.store.open import open_store
from tiering.store.protocol import Store
from tiering.units import parse_capacity


def default_directory() -> Path:
    """Return the default directory for caches: tiering's directory below the user's cache directory.

    Raises UsageError if the user has none: no HOME, and no entry in the system's list of users.
    """
    try:
        found = user_cache_path("tiering")
    except (RuntimeError, KeyError):
        found = Path()
    if not found.is_absolute():
        raise UsageError(
            "the cache's directory", expected="a home directory (HOME)", found="none for this user",
            action="Name a directory: `directory`",
        )  # fmt: skip
    return found


def cached(
    origin: Store | str | os.PathLike[str],
    size: int | str,
    directory: str | os.PathLike[str] | None = None,
    *,
    ram: int | str = 0,
    force: bool = False,
    shared_group: bool = False,
) -> CachedStore:
    """Put a cache on a local disk in front of a dataset, shared by all processes that name the same directory.

    Args:
        origin: A store, its path or URL, or a directory of images.
        size: Bound of the cache in bytes, or as "200GB". Everything in the directory counts, and the bound holds at
            every instant.
        directory: The directory of the cache; by default one below the user's cache directory.
        ram: Bound of a second tier in memory, in bytes or as "50GB", for units that the disk has no room for. It is
            removed with the last process that uses it.
        force: Accept a directory on a network file system.
        shared_group: Let the group of a new directory use it; by default only its owner can.

    Returns:
        A store of the same samples, to be closed after use.

    Raises:
        UsageError: If the directory is not a cache, is in use with another size, or is on a network file system.
        MachineError: If the directory cannot be written.
        TieringError: Further errors of open_store.

    Example:
        with tiering.cached("s3://bucket/photos.lmdb", "200GB") as store:
            for batch in tiering.Loader(store, 256):
                ...
    """
    space = CacheSpace(
        Path(directory or default_directory()).absolute(), _bytes(size), force=force, shared=shared_group
    )
    memory = CacheSpace.in_memory(space.directory, room) if (room := _bytes(ram)) else None
    return CachedStore(open_store(origin) if isinstance(origin, str | os.PathLike) else origin, space, memory)


def _bytes(size: int | str) -> int:
    return parse_capacity(size) if isinstance(size, str) else size
