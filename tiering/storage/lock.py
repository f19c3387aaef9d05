"""One converter at a time on an output: a lock that names its holder and dies with it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tiering.errors import UsageError
from tiering.secrets import without_secrets
from tiering.storage.location import Location

LOCK: Final = "lock"

#: Behind a URL a lock is an object that its holder renews; one that was not renewed for this long is nobody's.
STALE_SECONDS: Final = 60.0
_RENEW_SECONDS: Final = 15.0


@contextmanager
def locked(work: Location) -> Iterator[None]:
    """Hold the lock of an output while the block runs. Raises UsageError that names who holds it.

    Locally the kernel lets go of it when the process dies, however it dies. Behind a URL the lock is best effort:
    shards appear whole and equal plans make equal shards, so that two converters would waste work and harm nothing.
    """
    if work.local:
        with _flock(work / LOCK):
            yield
    else:
        with _renewed(work / LOCK):
            yield


@contextmanager
def _flock(lock: Location) -> Iterator[None]:
    descriptor = lock.open_to_update()
    try:
        output = lock.url.rsplit("/", 2)[0]
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _held(output, lock.read()) from None
        if not lock.is_open_as(descriptor):
            # Whoever held it has finished and taken the directory away between our opening and locking.
            raise _held(output, b"{}")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _me(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _renewed(place: Location) -> Iterator[None]:
    try:
        holder = place.read()
    except FileNotFoundError:
        holder = b""
    if holder and _alive(holder):
        raise _held(place, holder)
    place.write(_me())
    done = threading.Event()

    def renew() -> None:
        while not done.wait(_RENEW_SECONDS):
            place.write(_me())

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        place.remove()


def _me() -> bytes:
    about = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "command": without_secrets(" ".join(sys.argv)),
        "time": time.time(),
    }
    return json.dumps(about).encode()


def _alive(holder: bytes) -> bool:
    about = _parsed(holder)
    if time.time() - about.get("time", 0.0) > STALE_SECONDS:
        return False
    if about.get("host") == socket.gethostname():
        return Path(f"/proc/{about.get('process')}").exists() or not Path("/proc/self").exists()
    return True


def _held(place: str | Location, holder: bytes) -> UsageError:
    about = _parsed(holder)
    who = (
        f"process {about['process']} on {about['host']} ({about['command']})" if about else "a process that just ended"
    )
    return UsageError(
        str(place), expected="one converter at a time", found=f"{who} at work there",
        action="Wait for it, or write to another place.",
    )  # fmt: skip


def _parsed(holder: bytes) -> dict[str, Any]:
    try:
        about = json.loads(holder)
    except ValueError:
        return {}
    return about if isinstance(about, dict) else {}
