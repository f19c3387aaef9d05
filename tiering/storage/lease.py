"""The lock of an output behind a URL: an object that its holder renews, and that lapses without renewal.

Conditional writes take, renew and take over the object, so only one of two runs gets it. No run trusts a clock, its own
or another's, to decide that a holder is dead: a run that finds a lock watches it. If the lock is renewed, it is held.
If it is not renewed for long enough, it has lapsed. Only a holder on this same machine needs no watching: the kernel
says whether its process still runs.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import isfinite
from pathlib import Path
from typing import Any, Final

from tiering.errors import StoreError, TieringError, UsageError
from tiering.storage.conditional import unconditional
from tiering.storage.json_text import parse_json
from tiering.storage.location import Location
from tiering.text import without_secrets

#: Seconds between renewals, and seconds without one until a lock lapses.
RENEW_SECONDS: Final = 15.0
LAPSE_SECONDS: Final = 60.0

_LOOK_SECONDS: Final = 1.0

#: Servers refuse requests whose clock is wrong by more than a quarter of an hour. If a lock lapsed longer ago than two
#: such clocks can differ, its holder can no longer renew it.
_SKEW_SECONDS: Final = 2 * 15 * 60.0

_log: Final = logging.getLogger("tiering")


@contextmanager
def leased(location: Location) -> Iterator[None]:
    """Hold the lock at a URL while the block runs; wait for a lock that another run left behind to lapse.

    Raises UsageError that names the holder if the lock is renewed, or for a server without conditional writes.
    """
    lease = _Lease(location)
    lease.take()
    done = threading.Event()
    thread = threading.Thread(target=lease.keep, args=(done,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        lease.give_back()


def about_me(token: str = "") -> bytes:
    """Return a lock's contents, which describe its holder. token: tells this lock from others of the same process."""
    about = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "command": without_secrets(" ".join(sys.argv)),
        "time": time.time(),
        "lapses": time.time() + LAPSE_SECONDS,
        "boot": _text("/proc/sys/kernel/random/boot_id"),
        "namespace": _namespace(),
        "started": _started(os.getpid()),
        "token": token,
    }
    return json.dumps(about).encode()


def held_by(location: str | Location, holder: dict[str, Any]) -> UsageError:
    """Return the error that says who holds a lock."""
    return UsageError(
        str(location), expected="one converter at a time", found=f"{_named(holder)} at work there",
        action="Wait for it, or write somewhere else.",
    )  # fmt: skip


def parsed(holder: bytes) -> dict[str, Any]:
    """Return the description of a lock's holder; {} if there is none."""
    try:
        about = parse_json(holder)
    except ValueError:
        return {}
    return about if isinstance(about, dict) else {}


class _Lease:
    """A lock object that is being taken or held. location: its URL."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._token = uuid.uuid4().hex
        self._version = ""

    def take(self) -> None:
        """Take the lock, waiting for an old one to lapse. Raises UsageError if that one is renewed."""
        while True:
            try:
                self._location.create(self._me())
            except FileExistsError:
                if self._take_over():
                    return
            else:
                self._check_server()
                self._version = self._location.read_version()[1]
                return

    def keep(self, done: threading.Event) -> None:
        """Renew the lock until done; stop if another run has taken it. Runs on a thread."""
        while not done.wait(RENEW_SECONDS):
            try:
                self._location.write_if(self._me(), self._version)
                self._version = self._location.read_version()[1]
            except (TieringError, FileNotFoundError) as error:
                holder = self._holder()
                if holder is None:
                    return  # the run itself removed it, with everything there
                if holder != self._token:
                    _log.warning("%s: this run has lost the lock, and another run may be working there", self._location)
                    return
                _log.warning("The lock could not be renewed, and will be tried again: %s", error)

    def give_back(self) -> None:
        """Remove the lock if it is still ours."""
        if self._holder() == self._token:
            self._location.remove()

    def _me(self) -> bytes:
        return about_me(self._token)

    def _holder(self) -> str | None:
        """Return the token of the lock's holder, None if there is no lock; our own if the server does not answer."""
        try:
            data, version = self._location.read_version()
        except FileNotFoundError:
            return None
        except TieringError:
            return self._token
        if parsed(data).get("token") == self._token:
            self._version = version
        return str(parsed(data).get("token", ""))

    def _check_server(self) -> None:
        """Make sure, by a write that must fail, that the server honours conditions: some ignore them."""
        try:
            self._location.create(b"{}")
        except FileExistsError:
            return
        self._location.remove()
        raise unconditional(str(self._location), "one that ignores conditions")

    def _take_over(self) -> bool:
        """Watch a lock until it lapses, and take it over; False if it disappears, or another run takes it first."""
        try:
            data, version = self._location.read_version()
        except FileNotFoundError:
            return False
        holder = parsed(data)
        wait = _seconds_to_watch(holder)
        if wait is None:
            raise held_by(self._location, holder)
        if wait:
            _log.warning(
                "%s: locked by %s. The lock lapses in %.0f s unless it is renewed: waiting for that.",
                self._location, _named(holder), wait,
            )  # fmt: skip
        end = time.monotonic() + wait
        while time.monotonic() < end:
            time.sleep(min(_LOOK_SECONDS, wait))
            try:
                data, now = self._location.read_version()
            except FileNotFoundError:
                return False
            if now != version:
                raise held_by(self._location, parsed(data))
        with suppress(StoreError):  # another run that waited was first
            self._location.write_if(self._me(), version)
        return self._holder() == self._token


def _seconds_to_watch(holder: dict[str, Any]) -> float | None:
    """Return how long a lock must stay unchanged to count as lapsed; None if its holder is known to be alive."""
    left = _number(holder.get("lapses"), _number(holder.get("time"), 0.0) + LAPSE_SECONDS) - time.time()
    if holder.get("host") == socket.gethostname():
        if holder.get("token") and holder.get("boot") == _text("/proc/sys/kernel/random/boot_id"):
            if holder.get("namespace") == _namespace():
                started = _started(holder.get("process"))
                return None if started and started == holder.get("started") else 0.0
            left = 0.0  # another container here: we cannot see its processes, but a live one renews its lock
        elif holder.get("process") == os.getpid():
            left = 0.0  # an earlier run of this pod, which had our host name
    if left < -_SKEW_SECONDS:
        return 0.0
    return min(max(left, RENEW_SECONDS * 1.2), LAPSE_SECONDS)


def _named(holder: dict[str, Any]) -> str:
    if not holder:
        return "a process that just ended"
    return f"process {holder.get('process')} on {holder.get('host')} ({holder.get('command')})"


def _number(value: Any, otherwise: float) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return float(value) if number else otherwise


def _started(process: Any) -> str:
    """Return when a process of this machine started, "" if it is gone. Process ID and start time identify a process."""
    about = _text(f"/proc/{process}/stat") if isinstance(process, int) else ""
    fields = about.rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
