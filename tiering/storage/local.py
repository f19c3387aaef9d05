"""Files below a local directory, reached through directory descriptors.

The directory that a user names may be reached through links. Below it, all names were made by tiering or come from a
file. A link there leads to where the user did not ask us to write, so none is followed. So a name consists of
a base, which is trusted, and parts below it, which are opened one after another with O_NOFOLLOW.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tiering.errors import StoreError, from_os_error
from tiering.storage.scratch import scratch_directory
from tiering.system.machine import raise_descriptor_limit

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def opened_directory(base: Path, parts: Sequence[str], *, create: bool = False) -> Iterator[int]:
    """Open the directory base/parts and yield its descriptor.

    create: make missing directories. Raises StoreError if a part is a link or not a directory, FileNotFoundError.
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
            # In this order: an interruption between the two must not make `finally` close the same number again, which
            # may be the descriptor of another thread by then.
            above, descriptor = descriptor, below
            os.close(above)
        yield descriptor
    finally:
        os.close(descriptor)


def open_to_write(base: Path, parts: Sequence[str], flags: int, *, create: bool = True) -> int:
    """Open or create a file for writing, never through a link, and return its descriptor.

    flags: for open(2), in addition to O_CREAT and O_NOFOLLOW; create: make the file and missing directories above it.
    Raises StoreError for a link, a device or a FIFO, FileNotFoundError without `create`.
    """
    path = base.joinpath(*parts)
    with opened_directory(base, parts[:-1], create=create) as directory:
        try:
            # Without O_NONBLOCK, opening a FIFO would wait for a reader.
            made = os.O_CREAT if create else 0
            every = flags | made | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(parts[-1], every, 0o666, dir_fd=directory)
        except FileExistsError:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        except OSError as error:
            raise _not_ours(error, path) from error
    return _regular(descriptor, path)


def open_to_read(path: Path) -> int:
    """Open a regular file for reading, following links, and return its descriptor.

    Raises FileNotFoundError; StoreError for a loop of links, and for a directory, a device, a FIFO or a socket, which
    might never end; MachineError for a file that may not be read.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        try:
            descriptor = os.open(path, flags)
        except OSError as error:
            if error.errno != errno.EMFILE or not raise_descriptor_limit():
                raise
            descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV):
            raise _foreign(path, "something that is not a regular file") from error
        if error.errno == errno.ENOTDIR:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
        raise from_os_error(error) from error
    return _regular(descriptor, path)


@contextmanager
def plainly_named(path: Path) -> Iterator[Path]:
    """Yield a path that Polars can open: a link if the name has [ or *, which Polars expands, or is not UTF-8."""
    if str(path).isprintable() and not set(str(path)) & set("*?["):
        yield path
        return
    with scratch_directory() as directory:
        link = Path(directory) / f"table{path.suffix if path.suffix[1:].isalnum() else ''}"
        link.symlink_to(path.absolute())
        yield link


def open_below(base: Path, parts: Sequence[str]) -> int:
    """Open the regular file base/parts for reading, following no link, and return its descriptor.

    Raises StoreError if a part is a link, or if it is not a regular file, and OSError.
    """
    with opened_directory(base, parts[:-1]) as directory:
        descriptor = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    return _regular(descriptor, base.joinpath(*parts))


def size(path: Path) -> int:
    """Return the size of a regular file in bytes. Raises as open_to_read does."""
    descriptor = open_to_read(path)
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def read(path: Path, most: int | None = None) -> bytes:
    """Return a whole regular file. Raises as open_to_read does, and StoreError for one of more than `most` bytes."""
    with os.fdopen(open_to_read(path), "rb") as file:
        refuse_longer(str(path), os.fstat(file.fileno()).st_size, most)
        # Some files report no size, or a wrong one.
        data = file.read(-1 if most is None else most + 1)
    refuse_longer(str(path), len(data), most)
    return data


def refuse_longer(location: str, found: int, most: int | None) -> None:
    """Raise StoreError for a file of more bytes than tiering writes there."""
    if most is not None and found > most:
        raise StoreError(
            location,
            expected=f"a file of at most {most:,} bytes",
            found=f"{found:,}",
            action="tiering writes no file here that is as large. Get the store again from its source.",
        )


def replace(base: Path, source: Sequence[str], target: Sequence[str]) -> None:
    """Rename a file within base, replacing the target; a link there is replaced, not followed."""
    with (
        opened_directory(base, source[:-1]) as here,
        opened_directory(base, target[:-1], create=True) as there,
    ):
        os.rename(source[-1], target[-1], src_dir_fd=here, dst_dir_fd=there)
        os.fsync(there)


def remove(base: Path, parts: Sequence[str]) -> None:
    """Remove a file, a link, or a directory with its contents, if it exists. No link is followed."""
    try:
        with opened_directory(base, parts[:-1]) as directory:
            found = os.stat(parts[-1], dir_fd=directory, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                shutil.rmtree(parts[-1], dir_fd=directory)
            else:
                os.unlink(parts[-1], dir_fd=directory)
    except FileNotFoundError:
        return


def _regular(descriptor: int, path: Path) -> int:
    """Return the descriptor of a regular file; close any other, and raise StoreError."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _foreign(path, "something that is not a regular file")
    return descriptor


def _make_directory(name: str, directory: int) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=directory)


def _not_ours(error: OSError, path: Path) -> Exception:
    """Return the error for a link, or for a file in place of a directory; any other error with the whole path."""
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return _foreign(path, "a symbolic link" if path.is_symlink() else "something else")
    return OSError(error.errno, error.strerror, str(path))  # Python picks the subclass for the number


def _foreign(path: Path, found: str) -> StoreError:
    return StoreError(
        str(path),
        expected="a file or directory that tiering made",
        found=found,
        action="Inside a store, tiering follows no links and uses no devices. Look at what is there, and remove it.",
    )


def sync(path: Path) -> None:
    """Make a file or a directory's entries durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
