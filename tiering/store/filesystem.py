"""The file system under a store: maps over a network one fault page by page, and deserve a warning."""

from __future__ import annotations

import warnings
from pathlib import Path

from tiering.system.mounts import NETWORK, filesystem_of


class NetworkFileSystemWarning(UserWarning):
    """A store is read through a map over a network file system."""


def warn_of_network(path: Path) -> None:
    """Warn where a path lies on a network file system, with what to do instead."""
    kind = filesystem_of(path)
    if kind in NETWORK:
        warnings.warn(
            f"{path} lies on a network file system ({kind}): shards are mapped, every page fault is a request, and a "
            "server that goes away kills the reader. Copy the store to a local disk, or keep it in an object store.",
            NetworkFileSystemWarning,
            stacklevel=3,
        )
