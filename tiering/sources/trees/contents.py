"""Find out what an entry of a directory is: by its first bytes, or by the error that prevents reading it.

This module imports only the standard library; see tiering.sources.trees.entries for the reason.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from typing import Final

from tiering.images.formats import HEAD, format_of, is_image_name, unfetched, unpacked
from tiering.sources.left_out import (
    BROKEN_LINK,
    MISSING,
    NOT_AN_IMAGE,
    NOT_FETCHED,
    NOT_PACKED,
    UNREADABLE_FILE,
    ZARR_MARKS,
)

#: Where a file of DVC names the file that it stands for.
_DVC_PATH: Final = re.compile(rb"^[ -]*path: *[\"']?([^\r\n\"']+)", re.MULTILINE)
_DVC_BYTES: Final = 1 << 16


#: Metadata of a Zarr store is smaller than this, even that of a group with thousands of arrays.
ZARR_BYTES: Final = 64 << 20


def is_zarr(path: bytes, directory: int | None = None) -> bool:
    """Return whether a local directory is a Zarr store: it has Zarr metadata and no file with an image's name.

    path: of the directory, "" for an open one. About 3 us for a directory without metadata files.
    """
    for mark in ZARR_MARKS:
        name = os.path.join(path, mark)  # noqa: PTH118 - bytes paths
        try:
            about = os.stat(name, dir_fd=directory)
            if not stat.S_ISREG(about.st_mode) or about.st_size > ZARR_BYTES:
                continue
            with open(os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory), "rb") as file:  # noqa: PTH123 - a descriptor
                if not is_zarr_metadata(file.read()):
                    continue
            with os.scandir(path if directory is None else directory) as entries:
                return not any(is_image_name(os.fsencode(entry.name)) and entry.is_file() for entry in entries)
        except OSError:
            continue
    return False


def is_zarr_metadata(text: bytes) -> bool:
    """Return whether the text is Zarr metadata, and not that of another file with the same name."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "zarr_format" in found


def special(mode: int) -> str:
    """Name the type of an entry that is neither a file nor a directory."""
    if stat.S_ISFIFO(mode):
        return "FIFO"
    return "socket" if stat.S_ISSOCK(mode) else "device"


def broken(error: OSError, path: bytes, directory: int | None = None) -> tuple[str, str]:
    """Return the kind of an entry that cannot be inspected, and the reason.

    path: of the entry, relative to `directory` if that is given.
    """
    reason = (error.strerror or str(error)).lower()
    if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return UNREADABLE_FILE, reason
    try:
        target = os.readlink(path, dir_fd=directory)
    except OSError:
        # It is not a broken link, so it existed a moment ago: another process is removing files.
        return MISSING, "it vanished during the walk"
    if b"annex/objects/" in target:
        return BROKEN_LINK, "git-annex has not fetched its content"
    return BROKEN_LINK, "DVC has not fetched its content" if b".dvc/cache/" in target else reason


def look_at(path: bytes, name: bytes, directory: int | None = None) -> tuple[str, str]:
    """Check by the first bytes whether a local file is an image: return ("", "") if so, else its kind and the reason.

    path: of the file, relative to `directory` if that is given. name: its last part.
    About 6 us with a warm page cache.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
    except OSError as error:
        return broken(error, path, directory)
    try:
        head = os.pread(handle, HEAD, 0)
        if name.endswith(b".dvc"):
            return _pointed_at(os.pread(handle, _DVC_BYTES, 0), path, directory)
    except OSError as error:
        return UNREADABLE_FILE, (error.strerror or str(error)).lower()
    finally:
        os.close(handle)
    return look_at_head(head, name)


def look_at_head(head: bytes, name: bytes) -> tuple[str, str]:
    """Check by a file's first HEAD bytes whether it is an image, as look_at does."""
    if what := unfetched(head):
        return NOT_FETCHED, what
    if what := unpacked(head, name):
        return NOT_PACKED, what
    return ("", "") if format_of(head) else (NOT_AN_IMAGE, "")


def _pointed_at(text: bytes, path: bytes, directory: int | None) -> tuple[str, str]:
    """Find out whether the file that a file of DVC stands for exists."""
    base = path.rpartition(b"/")[0] or b"."
    for found in _DVC_PATH.findall(text) if b"outs:" in text else ():
        try:
            os.stat(os.path.join(base, found.strip()), dir_fd=directory)  # noqa: PTH118 - bytes paths
        except OSError:
            return NOT_FETCHED, f"DVC has not fetched {found.decode('utf-8', 'backslashreplace')}: dvc pull fetches it"
    return NOT_AN_IMAGE, ""
