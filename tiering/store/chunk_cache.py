"""ChunkCache: decoded chunks in memory, up to a bound; each is decoded once however many threads want it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock


class ChunkCache:
    """Chunks by number, the oldest given up first.

    limit: how many to hold, at least 1. A chunk that is in use stays alive with whoever uses it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._held: dict[int, Future[bytes]] = {}
        self._lock = Lock()

    def get(self, number: int, decode: Callable[[int], bytes]) -> bytes:
        """Return a chunk, decoding it if no thread has. If decoding fails, raise its error and forget the chunk."""
        with self._lock:
            held = self._held.get(number)
            mine = held is None
            if held is None:
                held = self._held[number] = Future()
                if len(self._held) > self._limit:
                    del self._held[next(iter(self._held))]
        if mine:
            try:
                held.set_result(decode(number))
            except BaseException as error:  # noqa: BLE001 - handed on to all who wait, and raised below
                with self._lock:
                    self._held.pop(number, None)
                held.set_exception(error)
        return held.result()

    def forget(self, number: int) -> None:
        """Drop a chunk that arrived damaged."""
        with self._lock:
            self._held.pop(number, None)

    def clear(self) -> None:
        """Hold nothing any more."""
        with self._lock:
            self._held = {}
