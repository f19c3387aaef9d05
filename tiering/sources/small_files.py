"""Many small files by name, local or remote: their sizes and versions, and their contents."""

from __future__ import annotations

import os
import stat
from typing import Final

from tiering.errors import from_os_error
from tiering.sources.trees.local import version_of
from tiering.sources.trees.remote import as_os_error, connect, look_up
from tiering.storage.failures import asking
from tiering.storage.urls import joined

#: The most bytes of a small file.
LARGEST: Final = 16 << 20


def look_up_files(base: str, names: list[str]) -> list[tuple[int, int]]:
    """Return size and version of files below a directory, (-1, 0) for one that is missing or not a file.

    base: path or URL. About 3 us a local file with a warm cache; one request each for remote files.
    """
    if "://" in base:
        system, path = connect(base)
        return look_up(system, base, path, [name.encode("utf-8", "surrogateescape") for name in names])
    root = os.fsencode(base)
    found = []
    for name in names:
        try:
            about = os.stat(os.path.join(root, os.fsencode(name)))  # noqa: PTH116, PTH118 - 10 us less than pathlib
        except (OSError, ValueError):  # Reading it will raise the proper error.
            found.append((-1, 0))
            continue
        found.append((about.st_size, version_of(about)) if stat.S_ISREG(about.st_mode) else (-1, 0))
    return found


def read_small_files(base: str, names: list[str]) -> list[bytes | None]:
    """Return the contents of files below a directory, None for one that is missing, or larger than LARGEST.

    base: path or URL. Raises MachineError for a file that is there and cannot be read. Remote files take one request
    each, many at a time.
    """
    if "://" in base:
        system, path = connect(base)
        with asking(base):
            urls = [joined(path, name) for name in names]
            found = system.cat_ranges(urls, [0] * len(urls), [LARGEST + 1] * len(urls), on_error="return")
        return [_checked(data, name) for data, name in zip(found, names, strict=True)]
    return [_read(os.path.join(base, name)) for name in names]  # noqa: PTH118 - as above


def _read(path: str) -> bytes | None:
    try:
        descriptor = os.open(os.fsencode(path), os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(LARGEST + 1) or b""
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    except OSError as error:
        raise from_os_error(error) from error
    return data if len(data) <= LARGEST else None


def _checked(data: bytes | BaseException, name: str) -> bytes | None:
    if isinstance(data, BaseException):
        error = as_os_error(data, name)
        if isinstance(error, FileNotFoundError):
            return None
        raise from_os_error(error) from error
    return data if len(data) <= LARGEST else None
