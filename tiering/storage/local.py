"""Files below a local directory, reached through directory descriptors.

The directory that a user names may be reached through links. Below it every name is one that tiering made, or that
came out of a file: a link there leads somewhere nobody asked us to write, so none is followed. A name is therefore a
base, which is trusted, and parts below it, which are opened one after another with O_NOFOLLOW.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tiering.errors import StoreError
from tiering.storage.scratch import scratch_directory
from tiering.system.descriptors import raise_descriptor_limit

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def opened_directory(base: Path, parts: Sequence[str], *, create: bool = False) -> Iterator[int]:
    """Open the directory base/parts and give its descriptor.

    create: make what is missing. Raises StoreError where a part is a link or no directory, FileNotFoundError.
    """
    if create:
        base.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(base, _DIRECTORY)
    try:
        for position, part in enumerate(parts):
            if create:
                _make_directory(part, descriptor)
            try:
                below = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            except OSError as error:
                raise _not_ours(error, base.joinpath(*parts[: position + 1])) from error
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def open_to_write(base: Path, parts: Sequence[str], flags: int) -> int:
    """Open or create a file for writing, never through a link, and return its descriptor.

    flags: for open(2), beside O_CREAT and O_NOFOLLOW. Raises StoreError for a link, a device or a FIFO.
    """
    path = base.joinpath(*parts)
    with opened_directory(base, parts[:-1], create=True) as directory:
        try:
            # Without O_NONBLOCK a FIFO would wait for its reader.
            every = flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(parts[-1], every, 0o666, dir_fd=directory)
        except FileExistsError:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        except OSError as error:
            raise _not_ours(error, path) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _foreign(path, "something that is no file")
    return descriptor


def open_to_read(path: Path) -> int:
    """Open a regular file for reading and return its descriptor; links are followed.

    Raises FileNotFoundError, and StoreError for a device, a FIFO or a directory, which could be read for ever.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno != errno.EMFILE or not raise_descriptor_limit():
            raise
        descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _foreign(path, "something that is no file")
    return descriptor


@contextmanager
def plainly_named(path: Path) -> Iterator[Path]:
    """Give a path for Polars, which takes [ and * for a pattern, and no name that is not UTF-8: then a link."""
    if str(path).isprintable() and not set(str(path)) & set("*?["):
        yield path
        return
    with scratch_directory() as directory:
        link = Path(directory) / f"table{path.suffix if path.suffix[1:].isalnum() else ''}"
        link.symlink_to(path.absolute())
        yield link


def open_below(base: Path, parts: Sequence[str]) -> int:
    """Open the regular file base/parts for reading, through no link, and return its descriptor.

    Raises StoreError where a part is a link, or there is something that is no file, and OSError.
    """
    with opened_directory(base, parts[:-1]) as directory:
        descriptor = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _foreign(base.joinpath(*parts), "something that is no file")
    return descriptor


def replace(base: Path, source: Sequence[str], target: Sequence[str]) -> None:
    """Rename a file within base; what had the name of the target is replaced, and a link there is not followed."""
    with (
        opened_directory(base, source[:-1]) as here,
        opened_directory(base, target[:-1], create=True) as there,
    ):
        os.rename(source[-1], target[-1], src_dir_fd=here, dst_dir_fd=there)
        os.fsync(there)


def remove(base: Path, parts: Sequence[str]) -> None:
    """Remove a file, a link, or a directory with all it holds; nothing there is fine. No link is followed."""
    try:
        with opened_directory(base, parts[:-1]) as directory:
            found = os.stat(parts[-1], dir_fd=directory, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                shutil.rmtree(parts[-1], dir_fd=directory)
            else:
                os.unlink(parts[-1], dir_fd=directory)
    except FileNotFoundError:
        return


def _make_directory(name: str, directory: int) -> None:
    try:
        os.mkdir(name, dir_fd=directory)
    except FileExistsError:
        return


def _not_ours(error: OSError, path: Path) -> Exception:
    """Name a link, or a file in the place of a directory; any other error as it is, with the whole path."""
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return _foreign(path, "a symbolic link" if path.is_symlink() else "something else")
    return OSError(error.errno, error.strerror, str(path))  # of the subclass that the number stands for


def _foreign(path: Path, found: str) -> StoreError:
    return StoreError(
        str(path),
        expected="a file or directory that tiering made",
        found=found,
        action="tiering writes through no link and to no device inside a store: look at what is there, and remove it.",
    )
