"""One converter at a time on an output: a lock that names its holder and dies with it."""

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

    work: the directory of notes of the output. Locally the kernel lets go of the lock when the process dies, however it
    dies. Behind a URL it lapses, and a run that finds one which nobody renews waits for that; uploads that a killed run
    began and did not finish are given up then, for they cost and nobody sees them.
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
            raise held_by(output, parsed(lock.read())) from None
        if not lock.is_open_as(descriptor):
            # Whoever held it has finished and taken the directory away between our opening and locking.
            raise held_by(output, {})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, about_me(), 0)
        yield
    finally:
        os.close(descriptor)
