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
from tiering.units import parse_room


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
            action="Name a directory: --cache-dir",
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

    origin: a store, its path or URL, or a directory of images. size: bound of the cache, in bytes or as "200GB"; it
    holds at every instant, for everything in the directory. directory: of the cache, by default below the user's cache
    directory. ram: of a tier in memory beside it, for what it has no room for; gone with the last
    process that uses it. force: take a directory on a network file system, too.
    shared_group: let the group of a new directory use it; by default only its owner can.
    Returns a Store. Raises what open_store raises; UsageError for a directory that is no cache, is used with another
    size, or lies on a network file system; MachineError where it cannot be written.
    """
    space = CacheSpace(
        Path(directory or default_directory()).absolute(), _bytes(size), force=force, shared=shared_group
    )
    memory = CacheSpace.in_memory(space.directory, room) if (room := _bytes(ram)) else None
    return CachedStore(open_store(origin) if isinstance(origin, str | os.PathLike) else origin, space, memory)


def _bytes(size: int | str) -> int:
    return parse_room(size) if isinstance(size, str) else size
