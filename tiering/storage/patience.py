"""How long a server is waited for, and what is said meanwhile. One setting: TIERING_REMOTE_TIMEOUT, in seconds."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tiering.errors import UsageError
from tiering.secrets import without_secrets

SETTING: Final = "TIERING_REMOTE_TIMEOUT"
DEFAULT_SECONDS: Final = 60.0

#: After so long without an answer it is said, and then once a minute at most.
NOTICE_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 60.0

#: Clients of S3 ask five times before they give up, with pauses between.
_ATTEMPTS: Final = 6

_log: Final = logging.getLogger("tiering")

#: When it was last said of a server, by time.monotonic(), so that hundreds of requests to it say it once.
_said: Final[dict[str, float]] = {}


def remote_seconds() -> float:
    """Return for how long a server may be silent before it is given up, s. Raises UsageError for a bad setting."""
    given = os.environ.get(SETTING, "")
    try:
        seconds = float(given or DEFAULT_SECONDS)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(SETTING, expected="seconds, such as 60", found=given)
    return seconds


def attempt_seconds() -> float:
    """Return for how long one of a client's attempts may wait, s."""
    return remote_seconds() / _ATTEMPTS


@contextmanager
def noticing(url: str) -> Iterator[None]:
    """Say so where the block, which asks a server for something, takes long."""
    timer = threading.Timer(NOTICE_SECONDS, say_waiting, [url])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def say_waiting(url: str) -> None:
    """Say that a server is waited for, once a minute at most."""
    shown = without_secrets(url)
    server = "/".join(shown.split("/")[:3])
    now = time.monotonic()
    if now - _said.get(server, -_AGAIN_SECONDS) >= _AGAIN_SECONDS:
        _said[server] = now
        _log.warning(
            "Still waiting for %s, after %.0f s. A server that stays silent is given up after %.0f s (%s).",
            shown, NOTICE_SECONDS, remote_seconds(), SETTING,
        )  # fmt: skip
