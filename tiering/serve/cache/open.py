"""cached: put a cache in front of a dataset."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

from tiering.serve.cache.space import CacheSpace
from tiering.serve.cache.store import CachedStore
from tiering.store.base import Store
from tiering.store.open import open_store
from tiering.units import parse_bytes


def default_directory() -> Path:
    """Return where caches lie unless told otherwise: tiering's directory below the user's cache directory."""
    return user_cache_path("tiering")


def cached(
    origin: Store | str | os.PathLike[str],
    size: int | str,
    directory: str | os.PathLike[str] | None = None,
    *,
    force: bool = False,
) -> CachedStore:
    """Put a cache on a local disk in front of a dataset, shared by all processes that name the same directory.

    origin: a store, its path or URL, or a directory of images. size: bound of the cache, in bytes or as "200GB"; it
    holds at every instant, for everything in the directory. directory: of the cache, by default below the user's cache
    directory. force: take a directory on a network file system, too.
    Returns a Store. Raises what open_store raises; UsageError for a directory that is no cache, is used with another
    size, or lies on a network file system; MachineError where it cannot be written.
    """
    space = CacheSpace(
        Path(directory or default_directory()).absolute(),
        parse_bytes(size) if isinstance(size, str) else size,
        force=force,
    )
    return CachedStore(open_store(origin) if isinstance(origin, str | os.PathLike) else origin, space)
