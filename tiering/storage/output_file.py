"""Write a file that the user named: it appears whole or not at all.

Every `-o FILE` goes through here. A link is followed: the file that it leads to is replaced. A device or a pipe, such
as /dev/stdout, cannot be replaced and is written to directly.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiering.storage.location import Location


@contextmanager
def output_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path to write to; the file takes its own name, durably, when the block ends without an error.

    Raises:
        OSError: The file cannot be written, or its directory does not exist.

    Example:
        >>> with output_file("heat.csv") as file:  # doctest: +SKIP
        ...     heat.write_csv(file)
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if target.exists() and not target.is_file():
        yield Path(path)
        return
    with Location(str(target)).building() as temporary:
        yield temporary


def write_output(path: str | os.PathLike[str], data: str | bytes) -> None:
    """Write a whole file. data: bytes, or text to be encoded as UTF-8. Raises OSError as output_file does."""
    with output_file(path) as file:
        file.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "backslashreplace"))
