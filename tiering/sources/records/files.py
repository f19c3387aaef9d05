"""Opens the files of a packed dataset, local or behind a URL."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from tiering.errors import DatasetError
from tiering.sources.trees.remote import connect, version_of
from tiering.storage.failures import remote_errors
from tiering.storage.local import plainly_named
from tiering.storage.location import Location
from tiering.storage.scratch import scratch_directory
from tiering.storage.urls import name_of
from tiering.text import display

#: Remote files are read from front to back in pieces of this size.
_PIECE: Final = 8 << 20


def file_version(path: str) -> str:
    """Return a text that changes when a file does: its size and time of change. path: path or URL."""
    with _there(path):
        if "://" not in path:
            about = Path(path).stat()
            return f"{about.st_size} {about.st_mtime_ns}"
        system, inner = connect(path)
        with remote_errors(path):
            info = system.info(inner)
        return f"{info['size']} {version_of(info)}"


@contextmanager
def opened(path: str) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file, and yield it with its size in bytes. path: path or URL."""
    with _there(path), remote_errors(path):
        if "://" not in path:
            with Path(path).open("rb") as file:
                yield file, os.fstat(file.fileno()).st_size
            return
        system, inner = connect(path)
        size = int(system.info(inner)["size"])
        with system.open(inner, "rb", block_size=_PIECE, cache_type="readahead") as remote:
            yield cast("BinaryIO", remote), size


@contextmanager
def mapped(file: BinaryIO) -> Iterator[memoryview]:
    """Map a local file of at least one byte, and yield its bytes."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages, memoryview(pages) as data:
        yield data


@contextmanager
def fetched(path: str) -> Iterator[Path]:
    """Yield a local path to a file, which Polars takes as it is. A remote one is copied to a temporary file."""
    with _there(path):
        if "://" not in path:
            with plainly_named(Path(path)) as plain:
                yield plain
            return
        with scratch_directory() as directory:
            yield Location.of(path).fetched(directory / name_of(path))


@contextmanager
def _there(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DatasetError(display(path), found="a file of the dataset is missing", action="Check the path.") from None
