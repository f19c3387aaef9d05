"""Allow one converter at a time on an output, by a lock that names its holder and dies with it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tiering.storage.lease import about_me, held_by, leased, parsed
from tiering.storage.location import Location
from tiering.storage.uploads import abort_uploads
from tiering.storage.urls import parent_of

LOCK: Final = "lock"


@contextmanager
def locked(work: Location) -> Iterator[None]:
    """Hold the lock of an output while the block runs. Raises UsageError that names who holds it.

    work: the directory of the output's notes. Locally the kernel releases the lock when the process dies, however it
    dies. Behind a URL the lock lapses, and a run that finds an abandoned one waits for that. It then aborts uploads
    that a killed run left unfinished: they are invisible, but cost money.
    """
    if work.local:
        with _flock(work / LOCK):
            yield
    else:
        with leased(work / LOCK):
            abort_uploads(Location(parent_of(work.url)))
            yield


@contextmanager
def _flock(lock: Location) -> Iterator[None]:
    descriptor = lock.open_to_update()
    try:
        output = parent_of(parent_of(lock.url))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise held_by(output, parsed(lock.read(most=1 << 20))) from None
        if not lock.is_open_as(descriptor):
            # Between our opening and locking, the holder finished and removed the directory.
            raise held_by(output, {})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, about_me(), 0)
        yield
    finally:
        os.close(descriptor)
