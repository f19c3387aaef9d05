"""A directory for temporary files, below TMPDIR."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tiering.errors import MachineError, from_os_error

#: Errors that mean that another directory is needed.
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_OF_THE_DIRECTORY: Final = (*_FULL, errno.EACCES, errno.EPERM)


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Make a directory that is removed when the block ends.

    If it is full or cannot be written, raises MachineError that says how to choose another directory.
    """
    directory = ""
    try:
        directory = tempfile.gettempdir()
        with tempfile.TemporaryDirectory(prefix="tiering-") as name:
            yield Path(name)
    except MachineError as error:
        # A download failed because there was no room here.
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _FULL:
            raise _elsewhere(directory, cause) from error
        raise
    except OSError as error:
        if not directory:
            raise _elsewhere("TMPDIR", error) from error
        # If a write fails, the system names no file; all writes in the block go to this directory.
        inside = error.filename is None or str(os.fsdecode(error.filename)).startswith(directory)
        if inside and error.errno in _OF_THE_DIRECTORY:
            raise _elsewhere(directory, error) from error
        raise


def _elsewhere(directory: str, error: OSError) -> MachineError:
    return MachineError(
        directory, expected="room for temporary files", found=from_os_error(error).found,
        action="Name a directory with room: TMPDIR=/path/to/it",
    )  # fmt: skip
