"""How long to wait for a server, and what to log meanwhile. One setting: TIERING_REMOTE_TIMEOUT, in seconds."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tiering.errors import UsageError
from tiering.text import without_secrets

SETTING: Final = "TIERING_REMOTE_TIMEOUT"
DEFAULT_SECONDS: Final = 60.0

#: Log a message after this long without an answer, then at most once a minute.
NOTICE_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 60.0

#: S3 clients make five attempts before they give up; the pauses between them are counted as a sixth.
_ATTEMPTS: Final = 6

_log: Final = logging.getLogger("tiering")

#: When the message was last logged for each server (time.monotonic()), so that hundreds of requests log it once.
_said: Final[dict[str, float]] = {}


def remote_seconds() -> float:
    """Return how long a server may be silent before we give up, s. Raises UsageError for a bad setting."""
    given = os.environ.get(SETTING, "")
    try:
        seconds = float(given or DEFAULT_SECONDS)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(SETTING, rule="must be seconds, such as 60", found=given)
    return seconds


def attempt_seconds() -> float:
    """Return how long one attempt of a client may wait, s."""
    return remote_seconds() / _ATTEMPTS


@contextmanager
def noticing(url: str) -> Iterator[None]:
    """Log a message if the block, which makes a request, takes long."""
    timer = threading.Timer(NOTICE_SECONDS, say_waiting, [url])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def say_waiting(url: str) -> None:
    """Log that we are waiting for a server, at most once a minute."""
    shown = without_secrets(url)
    server = "/".join(shown.split("/")[:3])
    now = time.monotonic()
    if now - _said.get(server, -_AGAIN_SECONDS) >= _AGAIN_SECONDS:
        _said[server] = now
        _log.warning(
            "Still waiting for %s, after %.0f s. Will give up if the server stays silent for %.0f s (%s).",
            shown, NOTICE_SECONDS, remote_seconds(), SETTING,
        )  # fmt: skip
