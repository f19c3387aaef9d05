"""Headers: the first bytes of an extent, which name the dataset that it holds, and which filling of it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from tiering.serve.cache.files import lock_of, open_file

HEADER_BYTES: Final = 64
_NAME_BYTES: Final = 32
_PAGE: Final = 4096

#: The name of a dataset.
NAME: Final = "[0-9a-f]{32}"


def header_of(name: str, filling: bytes) -> bytes:
    """Return the header of an extent of a dataset. name: up to 32 ASCII letters; filling: 16 bytes."""
    return name.encode().ljust(_NAME_BYTES, b"\0") + filling.ljust(HEADER_BYTES - _NAME_BYTES, b"\0")


def remove_extents(directory: Path) -> None:
    """Remove all extents in a directory, whatever their size. Other files stay."""
    for path in sorted(directory.iterdir()):
        if re.fullmatch("[0-9]{5}", path.name) and owner_of(path) is not None:
            path.unlink(missing_ok=True)


def owner_of(path: Path) -> bytes | None:
    """Return the dataset that an extent's header names; empty if a process died while it made the extent.

    None if there is no extent, if it is being made right now, or if the file is not an extent.
    """
    try:
        with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
            name = file.read(HEADER_BYTES)[:_NAME_BYTES].rstrip(b"\0")
            if name:
                return name if re.fullmatch(NAME.encode(), name) else None
            left = os.fstat(file.fileno()).st_size % _PAGE == 0
            return name if left and lock_of(file.fileno()) else None
    except (FileNotFoundError, PermissionError):
        return None
