"""A directory for what is needed for a moment, below TMPDIR."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tiering.errors import MachineError, from_os_error

#: What is wrong with the place, and not with what is done in it.
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_OF_THE_PLACE: Final = (*_FULL, errno.EACCES, errno.EPERM)


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Make a directory that goes with the block.

    Raises MachineError that says how to choose another place where this one is full or cannot be written.
    """
    place = ""
    try:
        place = tempfile.gettempdir()
        with tempfile.TemporaryDirectory(prefix="tiering-") as name:
            yield Path(name)
    except MachineError as error:
        # What could not be fetched, because there was no room for it here.
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _FULL:
            raise _elsewhere(place, cause) from error
        raise
    except OSError as error:
        if not place:
            raise _elsewhere("TMPDIR", error) from error
        # The system names no file where a write fails, and what is written here is all that is written.
        inside = error.filename is None or str(os.fsdecode(error.filename)).startswith(place)
        if inside and error.errno in _OF_THE_PLACE:
            raise _elsewhere(place, error) from error
        raise


def _elsewhere(place: str, error: OSError) -> MachineError:
    return MachineError(
        place, expected="room for temporary files", found=from_os_error(error).found,
        action="Name a directory with room: TMPDIR=/path/to/it",
    )  # fmt: skip
